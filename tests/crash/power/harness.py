"""Records the workload, draws crashes, and has the states checked by child processes."""

from __future__ import annotations

import copy
import json
import os
import random
import re
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from tests.crash.forked_program import run_program
from tests.crash.power.disk import Fate, load
from tests.crash.power.log import Event, Expected, read_log
from tests.crash.power.states import Crash, Recording, State, draw, states

ROOT: Final = Path(__file__).resolve().parents[3]
CHECK_TIMEOUT_S: Final = 60.0
_RANDOM: Final = re.compile(r"[0-9a-f]{32}|(?<=-)[0-9a-f]{8}\b|(?<=-)[0-9]+\b")
"""What differs between names of one kind."""
_FDS: Final = 1 << 20
KEPT_MAX: Final = 5
"""Failing states of a run that are kept."""


@dataclass(slots=True)
class Result:
    """Figures over all states of a run."""

    states: int = 0
    recordings: int = 0
    events: int = 0
    acknowledged: int = 0
    """Steps acknowledged before the crash, over all states."""
    bad: int = 0
    faults: list[str] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    began_s: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        rate = self.states / (time.monotonic() - self.began_s)
        return (
            f"states {self.states}  bad {self.bad}  recordings {self.recordings}  "
            f"events {self.events}  acknowledged steps looked for {self.acknowledged}  "
            f"{rate:.0f} states/s"
        )


def build_recorder(where: Path) -> Path:
    """Compile `recorder.c`."""
    library = where / "recorder.so"
    source = Path(__file__).with_name("recorder.c")
    command = ["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-lpthread"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return library


def record(
    recorder: Path, where: Path, seed: int, mutant: str = "", durability: str = "durable"
) -> Recording:
    """Run the workload in a new directory; what it did."""
    root = where / "root"
    root.mkdir(parents=True)
    events = _recorded(recorder, where, "workload", str(seed), mutant=mutant, durability=durability)
    expected = Expected(relaxed=durability == "relaxed")
    recording = Recording(str(root), events, expected=expected)
    differing = _differing(recording, where)
    assert not differing, f"the model of the disk differs from the disk: {differing}"
    shutil.rmtree(where)
    return recording


def record_recovery(recorder: Path, where: Path, state: State) -> Recording:
    """Open the database of a state; what that did to the disk, and what was found."""
    root = where / "root"
    where.mkdir(parents=True)
    state.materialise(root)
    initial = load(root)
    events = _recorded(recorder, where, "reopen")
    shutil.rmtree(where)
    return Recording(str(root), events, initial, copy.deepcopy(state.expected))


def naming_steps(recording: Recording, *, all_kinds: bool) -> list[int]:
    """Moments right after something was named, renamed or removed and before that was synced: for each
    kind of name the first and the last; or the first of directories and renames only.
    """
    kinds: dict[str, list[int]] = {}
    opened: set[str] = set()
    for n, event in enumerate(recording.events):
        is_new = event.kind == "O" and event.aux & os.O_CREAT and event.path not in opened
        if event.kind == "O":
            opened.add(event.path)
        if event.names or is_new:
            opened.discard(event.path)
            names = f"{event.kind} {event.path} {event.other}".replace(recording.root, "")
            kinds.setdefault(_RANDOM.sub("*", names), []).append(n + 1)
    if not all_kinds:
        return sorted(steps[0] for kind, steps in kinds.items() if kind[0] in "MR")
    return sorted({step for steps in kinds.values() for step in (steps[0], steps[-1])})


def record_after_kill(recorder: Path, where: Path, recording: Recording, at: int) -> Recording:
    """The program is killed after ``at`` events, power stays, and another opens what the first has left;
    ``where`` is where it was recorded.
    """
    where.mkdir(parents=True)
    before = recording.events[:at]
    concerned: list[str] = []
    for state in states(recording, [Crash(at, Fate(1.0, 1.0, ordered=True, seed=0))]):
        state.materialise(where / "root")
        concerned = sorted(
            {name.split()[1] for name in state.expected.next if not name.startswith("space ")}
        )
    # Its descriptors are other ones than those that the first had open.
    events = [
        replace(event, fd=event.fd + _FDS)
        for event in _recorded(recorder, where, "reopen", *concerned)
    ]
    shutil.rmtree(where)
    return replace(recording, events=before + events)


def _recorded(
    recorder: Path,
    where: Path,
    program: str,
    *arguments: str,
    mutant: str = "",
    durability: str = "durable",
) -> list[Event]:
    """Run a program on ``where/root`` under the recorder."""
    data, mark = where / "root" / "srv" / "data", where / "mark"
    done = run_program(
        f"tests.crash.power.{program}",
        *(str(data), str(mark), *arguments),
        timeout_s=120,
        LD_PRELOAD=str(recorder),
        POWER_ROOT=str(where / "root"),
        POWER_LOG=str(where / "log"),
        POWER_MARK=str(mark),
        MEMDB_POWER_MUTANT=mutant,
        MEMDB_POWER_DURABILITY=durability,
    )
    done.check_returncode()
    return read_log(where / "log")


def _differing(recording: Recording, where: Path) -> list[str]:
    """Files of which the model, with all that was written, holds something else than the disk."""
    end = Crash(len(recording.events), Fate(1.0, 1.0, ordered=True, seed=0))
    for state in states(recording, [end]):
        state.materialise(where / "model")
    trees = [
        {
            str(path.relative_to(tree)): path.read_bytes() if path.is_file() else b""
            for path in tree.rglob("*")
            if path.name != "lock.mdb"  # written through a mapping
        }
        for tree in (where / "root", where / "model")
    ]
    return sorted(name for name in trees[0] | trees[1] if trees[0].get(name) != trees[1].get(name))


class Checker:
    """One `check.py`, started anew after a state that killed it."""

    def __init__(self, where: Path) -> None:
        self.folder = where
        self._process: subprocess.Popen[bytes] | None = None
        self.asked: Crash | None = None
        self.asked_s = 0.0

    def start(self) -> subprocess.Popen[bytes]:
        """The process."""
        if self._process is None:
            with (self.folder.parent / f"{self.folder.name}.err").open("wb") as told:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tests.crash.power.check"],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=told,
                )
        return self._process

    def ask(self, crash: Crash | None, expected: dict[str, Any]) -> None:
        """Have what is in `folder` checked; ``crash`` is for whoever asks."""
        process = self.start()
        assert process.stdin is not None
        self.asked, self.asked_s = crash, time.monotonic()
        line = {"path": str(self.folder / "srv" / "data"), "expected": expected}
        process.stdin.write(json.dumps(line).encode() + b"\n")
        process.stdin.flush()

    def answer(self) -> list[str]:
        """The faults; a process that died or hung is one."""
        process = self.start()
        assert process.stdout is not None
        self.asked = None
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)
            silent = not waiting.select(CHECK_TIMEOUT_S)
        line = b"" if silent else process.stdout.readline()
        if line:
            faults: list[str] = json.loads(line)
            return faults
        self.close()
        told = (self.folder.parent / f"{self.folder.name}.err").read_text("utf-8", "replace")
        how = "hangs" if silent else f"ended with {process.returncode}"
        return [f"the process {how}: {told[-300:].strip()}"]

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@contextmanager
def checkers(where: Path, count: int = 1) -> Iterator[list[Checker]]:
    """Checkers for the length of a block."""
    crew = [Checker(where / f"state-{n}") for n in range(count)]
    try:
        yield crew
    finally:
        for checker in crew:
            checker.close()


def check_all(
    recording: Recording,
    count: int,
    seed: int,
    *,
    crew: Sequence[Checker],
    keep: Path,
    result: Result,
    begin: int = 0,
    stop_at_first: bool = False,
) -> None:
    """Draw ``count`` crashes of a recording (see `draw`), and have each state checked."""
    result.recordings += 1
    result.events += len(recording.events)

    def take(checker: Checker) -> None:
        crash = checker.asked
        assert crash is not None, "it was asked"
        faults = checker.answer()
        shutil.rmtree(checker.folder, ignore_errors=True)
        result.states += 1
        if faults:
            result.bad += 1
            result.faults += [f"{crash}: {fault}" for fault in faults[:3]]
            if len(result.kept) < KEPT_MAX:
                result.kept.append(_keep(recording, crash, keep / f"state-{result.bad}", faults))

    for state in states(recording, draw(recording.events, seed, count, begin=begin)):
        checker = _free(crew)
        if checker.asked is not None:
            take(checker)
        if stop_at_first and result.bad:
            break
        state.materialise(checker.folder)
        result.acknowledged += state.expected.acknowledged
        checker.ask(state.crash, state.expected.to_json())
    for checker in crew:
        if checker.asked is not None:
            take(checker)


def check_recoveries(
    recorder: Path,
    recording: Recording,
    count: int,
    of_each: int,
    seed: int,
    *,
    crew: Sequence[Checker],
    keep: Path,
    result: Result,
) -> None:
    """Power goes, and goes again while the database recovers from ``count`` of the crashes: those in the
    middle of an erasure or of the creation, where there is something to recover.
    """
    chosen = random.Random(seed)
    drawn = states(recording, draw(recording.events, seed, 20 * count))
    fit = [state.crash for state in drawn if state.expected.whole or not state.expected.now]
    crashes = sorted(chosen.sample(fit, min(count, len(fit))), key=lambda crash: crash.after)
    for state in states(recording, crashes):
        recovery = record_recovery(recorder, recorder.parent / "recovery", state)
        check_all(
            recovery,
            of_each,
            state.crash.fate.seed,
            crew=crew,
            keep=keep / f"after-{state.crash.after}",
            result=result,
        )


def _free(crew: Sequence[Checker]) -> Checker:
    """A checker that is free, or has answered, or was asked first."""
    for checker in crew:
        if checker.asked is None:
            return checker
    with selectors.DefaultSelector() as waiting:
        for checker in crew:
            waiting.register(checker.start().stdout or -1, selectors.EVENT_READ, checker)
        for key, _ in waiting.select(CHECK_TIMEOUT_S):
            found: Checker = key.data
            return found
    return min(crew, key=lambda checker: checker.asked_s)


def _keep(recording: Recording, crash: Crash, where: Path, faults: Sequence[str]) -> Path:
    """Make a failing state again, with what was wrong and how it came about."""
    where.mkdir(parents=True)
    for state in states(recording, [crash]):
        state.materialise(where / "root")
        (where / "expected.json").write_text(json.dumps(state.expected.to_json()))
    (where / "faults.txt").write_text(
        "\n".join((str(crash), *faults, "", *_last(recording, crash)))
    )
    return where


def _last(recording: Recording, crash: Crash) -> Iterator[str]:
    """The events before the crash."""
    for event in recording.events[max(0, crash.after - 60) : crash.after]:
        size = len(event.data)
        told = event.data[:200].decode("utf-8", "replace") if event.kind == "!" else f"{size} bytes"
        yield f"{event.kind} fd {event.fd} {event.path} {event.other} at {event.offset}: {told}"
