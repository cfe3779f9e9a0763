"""``python -m bench.peers.driver NAME WORK FOLDER OUT``: the whole work with one engine, in its own environment.

Says on stdout what it is at; on stderr is whatever an engine's libraries say.  Writes one JSON object into OUT:
``state`` (ran or failed), ``reason``, ``facts`` and ``figures``.  Records in, index built, restart, questions from 1, 8
and 32 clients, single records and a SIGKILL; then records with a tensor each, SIGKILL right after the last
acknowledgement.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers import isolation
from bench.peers.clients import Clients
from bench.peers.peer import Peer
from bench.peers.process import NotReady, disk_mb, memory_mb, wait_until
from bench.peers.registry import ALL
from bench.peers.rows import KINDS, Rows, tensor_of
from bench.peers.syncs import count_syncs
from bench.peers.work import Work, recall
from bench.touched import touch

RECALL = 0.95
BATCH = 64
"""Records with a tensor in one insert."""
TOUCHED = 4
"""Times as much memory as a batch's tensors take is there before it: for a log, a store, and copies."""
TENSOR_READS = 100
SYNCED_SINGLES = 20
_RESTART_S = 600.0
_ANOTHER_S = 60.0
"""For questions of another kind, once one was answered: who filters after the search may find nothing for ever."""
_SINGLE, _TENSORS = "single", "tensors"


class Driver:
    """The work with one engine; figures are there as far as it came."""

    def __init__(self, name: str, work: Work, folder: Path) -> None:
        self._name = name
        self._kind = ALL[name].load()
        self._work = work
        self._folder = folder
        self.figures: dict[str, float] = {}
        self.facts: dict[str, object] = {
            "title": self._kind.title,
            "form": self._kind.form,
            "acknowledges": self._kind.acknowledges,
            "synced": self._kind.synced,
            "bound": self._kind.bound,
        }

    def run(self) -> None:
        """Everything."""
        self.figures["yardstick_ms"] = _yardstick_ms()
        if self._kind.asked:
            self._filled_and_asked()
        if self._kind.tensors and self._work.size.tensors:
            self._say("records with tensors and SIGKILL")
            peer = self._made("tensors")
            try:
                self._with_tensors(peer)
            finally:
                peer.stop(signal.SIGKILL)

    def _filled_and_asked(self) -> None:
        self._say("filling")
        peer = self._made("records")
        try:
            self._fill(peer)
            self._say("restart and questions")
            self._restart(peer)
            self._questions(peer)
            if not self._kind.bound:
                self._say("single records and SIGKILL")
                self._singles(peer)
        finally:
            peer.after_questions()
            peer.stop(signal.SIGKILL)

    def _say(self, what: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {self._name}: {what}", flush=True)

    def _made(self, name: str) -> Peer:
        folder = self._folder / name
        folder.mkdir(parents=True)
        return self._kind(folder)

    def _fill(self, peer: Peer) -> None:
        peer.start()
        connection = peer.create()
        rows = self._work.rows()
        begin = time.perf_counter()
        peer.before_load(connection)
        for batch in peer.batches(rows):
            peer.insert(connection, batch)
        acknowledged = time.perf_counter()
        peer.finish(connection)
        indexed = time.perf_counter()
        self.figures["load_per_s"] = len(rows) / (indexed - begin)
        self.figures["load_acknowledged_per_s"] = len(rows) / (acknowledged - begin)
        peer.disconnect(connection)

    def _restart(self, peer: Peer) -> None:
        if peer.form != "server":
            return
        self._stopped_and_started(peer, "restart")
        if peer.stand_by():
            self.figures["standby_rss_mb"] = memory_mb(peer.standby_pids())
            self._stopped_and_started(peer, "takeover")

    def _stopped_and_started(self, peer: Peer, what: str) -> None:
        """From the end of the process that served to the first answer of each kind."""
        peer.stop()
        begin = time.perf_counter()
        peer.start()
        timeout_s = _RESTART_S
        for kind in peer.kinds:
            if kind in KINDS:
                try:
                    self._answered(peer, kind, timeout_s)
                except NotReady:
                    if timeout_s == _RESTART_S:
                        raise
                    continue
                timeout_s = _ANOTHER_S
                self.figures[f"{what}_{kind}_s"] = time.perf_counter() - begin

    def _answered(self, peer: Peer, kind: str, timeout_s: float) -> None:
        """Raises `NotReady`."""
        question = self._work.question(kind, 0)
        wanted = int(np.count_nonzero(self._work.exact(kind)[0] >= 0))

        def whole() -> bool:
            connection = peer.connect()
            try:
                found = len(peer.ask(connection, question))
            finally:
                peer.disconnect(connection)
            # An engine that filters after the search may never find all, but something.
            return found >= wanted if kind == "big" else found > 0

        wait_until(whole, timeout_s)

    def _questions(self, peer: Peer) -> None:
        connection = peer.connect() if peer.form == "server" else None
        kinds = list(peer.kinds)
        if connection is not None:
            peer.before_questions(connection, self._work.question(peer.kinds[0], 0))
            kinds += ["many"] if peer.takes_many(connection) else []
            peer.disconnect(connection)
        with Clients(self._name, peer, self._work) as clients:
            if peer.form != "server":
                self.figures[f"restart_{peer.kinds[0]}_s"] = clients.opened_s
            if "user" in kinds:
                first = clients.first_ms("user")
                self.figures["user_first_p50_ms"] = float(np.percentile(first, 50))
            if "big" in kinds:
                # Of every engine: what is made or read in the background, for those that are asked, is there then.
                clients.round("big", 1, self._work.size.warm_s)
            self._tune(peer, kinds, clients)
            self._rates(kinds, clients)
            self.figures["rss_mb"] = (
                memory_mb(peer.pids()) if peer.form == "server" else clients.memory_mb()
            )
        peer.after_questions()
        self.figures["disk_mb"] = disk_mb(peer.folder)
        self.facts["settings"] = {
            name: value for name, value in peer.settings.items() if "port" not in name
        }

    def _tune(self, peer: Peer, kinds: list[str], clients: Clients) -> None:
        """Take the first width that finds enough, among all records, where it is that matters."""
        judged = self._work.size.judged
        for beam in peer.beams or (0,):
            if beam:
                clients.set_beam(beam)
                self.facts["beam"] = beam
            if "big" not in kinds:
                break
            found = clients.answers("big", judged)
            self.figures["recall_big"] = recall(found, self._work.exact("big"))
            if self.figures["recall_big"] >= RECALL:
                break
        # The first of many questions is the one that is asked alone.
        alone = "big" if "big" in kinds else "user"
        for kind, same in (("user", "user"), ("user_time", "user_time"), ("many", alone)):
            if kind in kinds:
                found = clients.answers(kind, judged)
                self.figures[f"recall_{kind}"] = recall(found, self._work.exact(same))

    def _rates(self, kinds: list[str], clients: Clients) -> None:
        """Kinds take turns in short rounds, so that a slow phase of the machine meets all."""
        size = self._work.size
        rates: dict[str, list[float]] = {}
        latencies: dict[str, list[float]] = {}
        for _ in range(size.rounds):
            for count in size.clients:
                for kind in kinds:
                    found = clients.round(kind, count, size.seconds)
                    rates.setdefault(f"{kind}_c{count}", []).append(found.per_s)
                    latencies.setdefault(f"{kind}_c{count}", []).extend(found.latencies_ms)
        for name, values in rates.items():
            self.figures[f"{name}_per_s"] = float(np.median(values))
        for kind in kinds:
            lone = latencies[f"{kind}_c{size.clients[0]}"]
            self.figures[f"{kind}_p50_ms"] = float(np.percentile(lone, 50))
            self.figures[f"{kind}_p99_ms"] = float(np.percentile(lone, 99))

    def _singles(self, peer: Peer) -> None:
        rows = self._work.single_rows()
        spent = self._killed(peer, _SINGLE)
        self.figures["single_p50_ms"] = float(np.percentile(spent, 50))
        begin = time.perf_counter()
        kept, connection = self._kept(peer, rows)
        self.figures["after_kill_s"] = time.perf_counter() - begin
        self.figures["kept_of_singles"] = kept
        self.facts["kept_singles"] = f"{kept} of {len(rows)}"
        count = min(SYNCED_SINGLES, len(rows))
        again = Rows(
            rows.ids[:count] + 1_000_000,
            rows.vectors[:count],
            rows.users[:count],
            rows.streams[:count] + 1,
        )

        def one_by_one() -> None:
            for index in range(count):
                peer.insert(connection, again.taken(slice(index, index + 1)))

        synced = count_syncs(peer.pids(), one_by_one)
        if synced is not None:
            self.facts["syncs"] = f"{synced} for {count} single records"
        peer.disconnect(connection)

    def _with_tensors(self, peer: Peer) -> None:
        size = self._work.size
        peer.start()
        connection = peer.create()
        if peer.form != "server":
            peer.disconnect(connection)
        spent = self._killed(peer, _TENSORS, connection)
        total_s = sum(spent) / 1e3
        self.figures["tensors_per_s"] = size.tensors / total_s
        self.figures["tensors_mb_per_s"] = size.tensors * len(tensor_of(0)) / 1e6 / total_s
        everyone = self._work.tensor_rows(0, min(size.tensors, 1))
        wanted = Rows(
            np.arange(size.tensors), everyone.vectors, everyone.users, everyone.streams, [b""]
        )
        kept, connection = self._kept(peer, wanted)
        self.facts["kept_tensors"] = f"{kept} of {size.tensors}"
        self.figures["kept_tensors_share"] = kept / size.tensors
        reads = []
        rng = np.random.default_rng(5)
        for row_id in rng.integers(size.tensors, size=TENSOR_READS if kept else 0).tolist():
            begin = time.perf_counter()
            read = peer.tensor(connection, row_id)
            reads.append((time.perf_counter() - begin) * 1e3)
            if read != tensor_of(row_id):
                raise ValueError(f"the tensor of record {row_id} is not what was written")
        if reads:
            self.figures["tensor_read_p50_ms"] = float(np.percentile(reads, 50))
        peer.disconnect(connection)
        self.figures["tensors_disk_mb"] = disk_mb(peer.folder)

    def _killed(self, peer: Peer, what: str, connection: Any = None) -> list[float]:
        """ms of each insert; whatever holds the data is killed right after the last acknowledgement."""
        if peer.form == "server":
            connection = connection or peer.connect()
            spent = _inserted(peer, connection, self._work, what)
            peer.stop(signal.SIGKILL)
            return spent
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        child = context.Process(
            target=_insert_and_die, args=(self._name, peer.folder, self._work.folder, what, theirs)
        )
        child.start()
        theirs.close()
        try:
            found: list[float] = ours.recv()
        finally:
            child.join()
        return found

    def _kept(self, peer: Peer, rows: Rows) -> tuple[int, Any]:
        """How many are there after a start, and the connection that says so."""
        peer.start()
        found: list[tuple[int, Any]] = []

        def told() -> bool:
            connection = peer.connect()
            found.append((peer.present(connection, rows), connection))
            return True

        if peer.form == "server":
            wait_until(told, _RESTART_S)
        else:
            told()
        return found[0]


def _inserted(peer: Peer, connection: Any, work: Work, what: str) -> list[float]:
    spent = []
    for rows in _batches(work, what):
        if what == _TENSORS:
            # Of every engine: what the host has to give first is no engine's doing.
            touch(TOUCHED * len(rows) * len(tensor_of(0)))
        begin = time.perf_counter()
        peer.insert(connection, rows)
        spent.append((time.perf_counter() - begin) * 1e3)
    return spent


def _batches(work: Work, what: str) -> Iterator[Rows]:
    if what == _SINGLE:
        rows = work.single_rows()
        for index in range(len(rows)):
            yield rows.taken(slice(index, index + 1))
        return
    for begin in range(0, work.size.tensors, BATCH):
        yield work.tensor_rows(begin, min(begin + BATCH, work.size.tensors))


def _insert_and_die(
    name: str, folder: Path, work_folder: Path, what: str, link: Connection
) -> None:
    peer = ALL[name].load()(folder)
    connection = peer.connect()
    link.send(_inserted(peer, connection, Work(work_folder), what))
    os.kill(os.getpid(), signal.SIGKILL)


def _yardstick_ms() -> float:
    """A scan of 100 MB by numpy: how quick the machine was when this engine had its turn."""
    rows = np.ones((16_384, 1536), np.float32)
    vector = np.ones(1536, np.float32)
    spent = []
    for _ in range(9):
        begin = time.perf_counter()
        rows @ vector
        spent.append((time.perf_counter() - begin) * 1e3)
    return float(np.median(spent))


def main() -> int:
    """Run; returns the exit status, 0 also where the engine failed, since the result says so."""
    parser = argparse.ArgumentParser("python -m bench.peers.driver")
    parser.add_argument("name", choices=list(ALL))
    for path in ("work", "folder", "out"):
        parser.add_argument(path, type=Path)
    options = parser.parse_args()
    if isolation.apart():
        isolation.raise_loopback()
    result: dict[str, object] = {"state": "ran"}
    driver: Driver | None = None
    try:
        driver = Driver(options.name, Work(options.work), options.folder)
        driver.run()
    except (
        Exception
    ) as error:  # one engine's failure is a line of the table, not the end of the run
        traceback.print_exc()
        result = {"state": "failed", "reason": f"{type(error).__name__}: {error}"[:500]}
    if driver is not None:
        result |= {"figures": driver.figures, "facts": driver.facts}
    options.out.write_text(json.dumps(result), "utf-8")
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # an engine's threads may not let the interpreter end
