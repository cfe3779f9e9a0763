"""The whole system, once: two films become memory, questions find their moments, and a crash costs
nothing.

1. Weights and media are fetched, the films built (both cached).
2. ``memdb serve`` starts; ``memdb-ingest`` reads both cameras at once into user *alice*.
3. ``memdb-ask`` asks every question; each answer is compared with the script.
4. A second ingest, of one of the films for user *bob*, is under way when the server dies by SIGKILL,
   and the ingest with it.  The server starts again on the same data and port: every clip that the
   ingest recorded as acknowledged must be there, alice's answers must be the same, the ingest goes
   on where the ledger stands, and no number may be stored twice or be missing.  Bob saw what alice's
   camera saw, so he must then hold the same clips and get the same answers about it.
5. ``memdb verify`` reads everything once more.

Exit code 0 and ``DEMO OK`` only if all of this held and enough answers were right.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from subprocess import Popen
from typing import TYPE_CHECKING, Any, Final

import memdb_client
from memdb.errors import MemdbError, NotFound
from memdb.types.times import as_ns
from perception.artefacts import ARTEFACTS
from perception.weights import fetch_many
from reasoner.demo.check import Checked, differences, expected_moment
from reasoner.demo.media import build_films
from reasoner.demo.processes import (
    Children,
    child_failed,
    free_port,
    kill,
    listens,
    stop,
    wait_until,
)
from reasoner.demo.script import FILMS, HELD_OUT, QUESTIONS, Film, Question
from reasoner.table import render
from reasoner.wall_clock import time_range

if TYPE_CHECKING:
    from memdb.types.clip import StoredClip
    from memdb.types.database import User

START: Final = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""When both films begin, in event time."""

RIGHT_SHARE_MIN: Final = 7 / 8
ACKS_BEFORE_KILL: Final = 3
SERVER_START_TIMEOUT_S: Final = 30.0
INGEST_TIMEOUT_S: Final = 300.0
ASK_TIMEOUT_S: Final = 120.0
SERVER_LOG: Final = "server.log"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m reasoner.demo",
        description="The whole system on real video and speech.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--held-out", action="store_true", help="also ask the held-out questions (reported apart)"
    )
    options = parser.parse_args(arguments)
    # Ended from outside, the demo still ends its children.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with (
        tempfile.TemporaryDirectory(prefix="memdb-demo-") as folder,
        Children(Path(folder)) as children,
    ):
        demo = Demo(Path(folder), children)
        try:
            demo.run(held_out=options.held_out)
        except MemdbError as error:
            demo.failures.append(str(error))
            print(children.log_tail(SERVER_LOG), file=sys.stderr)
        return demo.report()


class Demo:
    """One run: its programs, its findings and its times."""

    def __init__(
        self,
        folder: Path,
        children: Children,
        *,
        films: Sequence[Film] = FILMS,
        questions: Sequence[Question] = QUESTIONS,
        acks_before_kill: int = ACKS_BEFORE_KILL,
    ) -> None:
        """``folder``: where the data and the logs go."""
        self.failures: list[str] = []
        self._script = tuple(films)
        self._questions = tuple(questions)
        self._acks_before_kill = acks_before_kill
        # The second ingest reads one camera, so that the demo stays short.
        self._crash_camera = films[0].camera
        self._folder = folder
        self._data = folder / "data"
        self._children = children
        self._port = free_port()
        self._films: dict[str, Path] = {}
        self._phases_s: dict[str, float] = {}

    @property
    def _address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def run(self, *, held_out: bool = False) -> None:
        """Every phase in turn; what is wrong goes to ``failures``."""
        with self._phase("media and weights"):
            self._prepare()
        with self._phase("server"):
            server = self._start_server()
        with self._phase("ingest"):
            self._ingest_all("alice", list(self._films))
        with self._phase("questions"):
            before = self._ask("alice", self._questions)
            print(_table(before))
            self._check_right(before)
        if held_out:
            with self._phase("held-out questions"):
                checked = self._ask("alice", HELD_OUT)
                print(_table(checked))
                print(f"held out: {sum(c.is_right for c in checked)} of {len(checked)} right")
        with self._phase("kill, restart, resume"):
            server = self._crash(server, before)
        with self._phase("verify"):
            if (code := stop(server)) != 0:
                self.failures.append(f"the server ended with {code} on SIGTERM")
            self._verify()

    def report(self) -> int:
        """Print times and the verdict; the exit code."""
        times = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self._phases_s.items())
        print(f"\nseconds: {times}, in all {sum(self._phases_s.values()):.1f}")
        for failure in self.failures:
            print(f"FAILED: {failure}")
        print("DEMO FAILED" if self.failures else "DEMO OK", flush=True)
        return 1 if self.failures else 0

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        print(f"\n== {name}", flush=True)
        start_s = time.monotonic()
        try:
            yield
        finally:
            self._phases_s[name] = time.monotonic() - start_s

    # --- programs -------------------------------------------------------------------------------

    def _prepare(self) -> None:
        weights = [name for name, artefact in ARTEFACTS.items() if artefact.kind == "weights"]
        with ThreadPoolExecutor(1) as pool:
            fetching = pool.submit(fetch_many, weights)
            self._films = build_films(self._script)
            fetching.result()
        for film in self._script:
            path = self._films[film.camera]
            size_mb = path.stat().st_size / 1e6
            print(f"{film.camera}: {film.duration_s:.0f} s, {size_mb:.1f} MB, {path}")

    def _start_server(self) -> Popen[bytes]:
        arguments = ["serve", "--data", str(self._data), "--listen", self._address]
        start_s = time.monotonic()
        server = self._children.start("memdb", arguments, log=SERVER_LOG)
        wait_until(lambda: listens(self._port) or server.poll() is not None, SERVER_START_TIMEOUT_S)
        if server.poll() is not None or not listens(self._port):
            raise child_failed("memdb serve", "did not start")
        print(f"memdb serve: pid {server.pid}, {self._address}, {time.monotonic() - start_s:.1f} s")
        return server

    def _start_ingest(self, user: str, cameras: Sequence[str], ack_log: Path) -> Popen[bytes]:
        arguments = ["--server", self._address, "--user", user]
        for camera in cameras:
            arguments += ["--camera", f"{camera}={self._films[camera]}"]
        arguments += ["--start", START.isoformat(), "--ack-log", str(ack_log)]
        return self._children.show("memdb-ingest", arguments, log="ingest.log")

    def _ingest_all(self, user: str, cameras: Sequence[str]) -> list[dict[str, Any]]:
        """Ingest the cameras to the end; the acknowledgements of this run."""
        ack_log = self._folder / f"{user}.acks"
        process = self._start_ingest(user, cameras, ack_log)
        wait_until(lambda: process.poll() is not None, INGEST_TIMEOUT_S)
        if process.poll() != 0:
            raise child_failed("memdb-ingest", f"ended with {process.poll()}")
        return _read_acks(ack_log)

    def _ask(self, user: str, questions: Sequence[Question]) -> list[Checked]:
        arguments = ["--server", self._address, "--user", user, "--json"]
        arguments += [question.text for question in questions]
        lines = self._children.run("memdb-ask", arguments, timeout_s=ASK_TIMEOUT_S).splitlines()
        start_ns = as_ns(START, "start")
        return [
            Checked(question, expected_moment(question, self._script, start_ns), json.loads(line))
            for question, line in zip(questions, lines, strict=True)
        ]

    def _verify(self) -> None:
        report = json.loads(
            self._children.run("memdb", ["verify", str(self._data)], timeout_s=ASK_TIMEOUT_S)
        )
        print(
            f"memdb verify: {report['clips']} clips, {report['values_checked']} values, "
            f"{len(report['discrepancies'])} discrepancies"
        )
        if not report["ok"]:
            self.failures.append(f"memdb verify: {report['discrepancies']}")

    # --- the crash ------------------------------------------------------------------------------

    def _crash(self, server: Popen[bytes], before: Sequence[Checked]) -> Popen[bytes]:
        ack_log = self._folder / "bob-broken-off.acks"
        ingest = self._start_ingest("bob", [self._crash_camera], ack_log)
        wait_until(
            lambda: len(_read_acks(ack_log)) >= self._acks_before_kill or ingest.poll() is not None,
            INGEST_TIMEOUT_S,
        )
        was_running = ingest.poll() is None
        kill(server)
        # It would wait for its server and go on by itself; here it loses all it had in memory too.
        kill(ingest)
        acks = _read_acks(ack_log)
        print(f"killed the server (SIGKILL) with {len(acks)} clips acknowledged to the ingest")
        if not was_running or not acks:
            self.failures.append("the ingest was not under way when the server was killed")
        server = self._start_server()
        with memdb_client.connect(self._address) as db:
            bob = db.user("bob")
            self._check_acknowledged(bob, acks)
            again = self._ask("alice", self._questions)
            self._check_same("alice's answers after the crash", before, again, same_user=True)
            next_seq = bob.stream(self._crash_camera).ledger().next_seq
            self._check_resumed(next_seq, self._ingest_all("bob", [self._crash_camera]))
            self._check_whole(bob, db.user("alice"))
        shared = [
            item for item in before if item.is_right and item.expected.camera == self._crash_camera
        ]
        answers = self._ask("bob", [item.question for item in shared])
        self._check_same("bob's answers", shared, answers, same_user=False)
        return server

    # --- findings -------------------------------------------------------------------------------

    def _check_right(self, checked: Sequence[Checked]) -> None:
        right = sum(item.is_right for item in checked)
        print(f"{right} of {len(checked)} answers are the right moment")
        if right < RIGHT_SHARE_MIN * len(checked):
            self.failures.append(f"only {right} of {len(checked)} answers are the right moment")

    def _check_acknowledged(self, user: User, acks: Sequence[dict[str, Any]]) -> None:
        """Every acknowledged clip is found by its number, with its times and all its bytes."""
        clips = _clips(user, self._crash_camera)
        stored = {(clip.stream, clip.epoch, clip.seq): clip for clip in clips}
        lost = []
        for ack in acks:
            clip = stored.get((ack["stream"], ack["epoch"], ack["seq"]))
            if clip is None or (clip.start_ns, clip.end_ns) != (ack["start_ns"], ack["end_ns"]):
                lost.append(f"{ack['stream']} {ack['seq']}")
            elif not user.short_memory([clip.id])[0].size:
                lost.append(f"{ack['stream']} {ack['seq']} (short-term memory)")
        there = len(acks) - len(lost)
        print(f"after the restart: {there} of {len(acks)} acknowledged clips are there")
        self.failures.extend(f"acknowledged, then lost: {text}" for text in lost)

    def _check_resumed(self, next_seq: int, acks: Sequence[dict[str, Any]]) -> None:
        """The second run sent the numbers that the ledger lacked, each once."""
        seqs = [ack["seq"] for ack in acks]
        sent = f"sent {seqs[0]} to {seqs[-1]}" if seqs else "had nothing to send"
        print(f"the ledger stood at {next_seq}; the resumed ingest {sent}")
        if seqs != list(range(next_seq, next_seq + len(seqs))):
            self.failures.append(f"resumed at {next_seq} with clips {seqs}")

    def _check_whole(self, bob: User, alice: User) -> None:
        """Bob's interrupted memory holds what alice's uninterrupted one does, once each."""
        ours, theirs = (
            [(c.epoch, c.seq, c.start_ns, c.end_ns) for c in _clips(user, self._crash_camera)]
            for user in (bob, alice)
        )
        ledger = bob.stream(self._crash_camera).ledger()
        print(f"{len(ours)} clips, {len(ledger.gaps)} gaps; without a crash {len(theirs)} clips")
        if len(set(ours)) != len(ours) or ledger.clips != len(ours):
            self.failures.append(f"clips are stored twice: {ours}")
        if ledger.gaps:
            self.failures.append(f"clips are missing: {ledger.gaps}")
        if ours != theirs:
            self.failures.append(f"{ours} is not {theirs}")

    def _check_same(
        self, what: str, before: Sequence[Checked], after: Sequence[Checked], *, same_user: bool
    ) -> None:
        other = differences(before, after, same_user=same_user)
        print(f"{what}: {len(before) - len(other)} of {len(before)} are the same")
        self.failures.extend(f"{what} differ: {question}" for question in other)


def _clips(user: User, camera: str) -> list[StoredClip]:
    """The camera's clips; none before its first write was acknowledged."""
    try:
        return user.clips(stream=camera)
    except NotFound:
        return []


def _read_acks(path: Path) -> list[dict[str, Any]]:
    """The acknowledgements recorded so far; a line still being written is not one yet."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines if line]


def _table(checked: Sequence[Checked]) -> str:
    headings = ("", "question", "camera", "from–to (UTC)", "arm", "score", "support", "ms")
    rows = []
    for item in checked:
        found = item.evidence
        mark = "✓" if item.is_right else "✗"
        ms = f"{item.answer['durations_ms']['total']:.1f}"
        if found is None:
            rows.append((mark, item.question.text, "–", "–", "–", "–", item.answer["answer"], ms))
            continue
        said = " ".join(f'"{text}"' for text in found["said"])
        labels = f"[{', '.join(found['labels'])}]" if found["labels"] else ""
        support = f"{said} {labels}" if found["arm"] != "seen" else f"{labels} {said}"
        when = time_range(found["start_ns"], found["end_ns"])[11:]
        rows.append(
            (
                mark,
                item.question.text,
                found["camera"],
                when,
                found["arm"],
                f"{found['score']:.2f}",
                support,
                ms,
            )
        )
    wrong = [
        f"✗ {item.question.text} expected {item.expected}" for item in checked if not item.is_right
    ]
    table = render(headings, rows, (1, 52, 12, 21, 4, 5, 58, 7))
    return "\n".join([table, *wrong])
