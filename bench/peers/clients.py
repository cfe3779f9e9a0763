"""Client processes that ask an engine questions as fast as the answers come.

Of a server each thread is a client with a connection of its own, on four processes (one for a lone client); of an
embedded engine all are threads of the one process that has it open.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from bench.peers.peer import Peer
from bench.peers.process import memory_mb
from bench.peers.registry import ALL
from bench.peers.work import Work

PROCESSES = 4
_REPLY_S = 600.0


class ClientFailed(Exception):
    """A client process met an error; its words."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round of questions."""

    per_s: float
    latencies_ms: list[float]


class Clients:
    """The processes, until it is left."""

    def __init__(self, name: str, peer: Peer, work: Work) -> None:
        context = multiprocessing.get_context("spawn")
        self._beam_of_all = peer.beam_of_all
        self._links: list[Connection] = []
        self._processes = []
        for _ in range(PROCESSES if peer.form == "server" else 1):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(name, peer.folder, peer.settings, work.folder, theirs)
            )
            process.start()
            theirs.close()
            self._links.append(ours)
            self._processes.append(process)
        self.opened_s = max(_told(link) for link in self._links)
        """From nothing to the first answer of the slowest: the restart of an embedded engine."""

    def set_beam(self, beam: int) -> None:
        """Search that wide from now on."""
        links = self._links[:1] if self._beam_of_all else self._links
        for link in links:
            link.send(("beam", beam))
        for link in links:
            _told(link)

    def answers(self, kind: str, count: int) -> list[list[int]]:
        """Answers to the first questions of a kind, one after the other."""
        self._links[0].send(("answers", kind, count))
        found: list[list[int]] = _told(self._links[0])
        return found

    def first_ms(self, kind: str) -> list[float]:
        """Time of each question of a kind, asked once one after the other: what was cold is warm then."""
        self._links[0].send(("first", kind))
        spent: list[float] = _told(self._links[0])
        return spent

    def round(self, kind: str, clients: int, seconds: float) -> Round:
        """Ask from so many clients at once."""
        links = self._links[:1] if clients < len(self._links) else self._links
        for link in links:
            link.send(("round", kind, clients // len(links), seconds))
        for link in links:
            _told(link)  # connected and warm
        for link in links:
            link.send("go")
        rates, latencies = [], []
        for link in links:
            asked, spent = _told(link)
            rates.append(asked)
            latencies += spent
        return Round(sum(rates), latencies)

    def memory_mb(self) -> float:
        """Of an embedded engine's process."""
        return memory_mb([process.pid for process in self._processes if process.pid])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for link in self._links:
            link.close()  # a process whose link ends, ends
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()


def _told(link: Connection) -> Any:
    if not link.poll(_REPLY_S):
        raise ClientFailed(f"no answer within {_REPLY_S:g} s")
    try:
        word, value = link.recv()
    except EOFError as error:
        raise ClientFailed("it ended") from error
    if word == "failed":
        raise ClientFailed(value)
    return value


def _serve(
    name: str, folder: Path, settings: dict[str, int], work_folder: Path, link: Connection
) -> None:
    """The process: does what it is told until the link ends."""
    try:
        begin = time.perf_counter()
        peer = ALL[name].load()(folder)
        peer.settings = settings
        work = Work(work_folder)
        connection = peer.connect()
        peer.ask(connection, work.question(peer.kinds[0], 0))
        link.send(("done", time.perf_counter() - begin))
        client = _Client(peer, work, connection)
        while True:
            link.send(("done", client.do(link.recv(), link)))
    except EOFError:
        return
    except Exception as error:
        link.send(("failed", f"{type(error).__name__}: {error}"))


class _Client:
    """One process's part."""

    def __init__(self, peer: Peer, work: Work, connection: Any) -> None:
        self._peer = peer
        self._work = work
        self._connection = connection

    def do(self, order: Any, link: Connection) -> object:
        """What one order asks for."""
        word, *arguments = order
        if word == "beam":
            self._peer.set_beam(self._connection, *arguments)
            return None
        if word == "answers":
            kind, count = arguments
            ask = self._peer.ask
            return [
                ask(self._connection, self._work.question(kind, number)) for number in range(count)
            ]
        if word == "first":
            return self._first(*arguments)
        return self._round(link, *arguments)

    def _first(self, kind: str) -> list[float]:
        spent = []
        for number in range(len(self._work.questions)):
            question = self._work.question(kind, number)
            begin = time.perf_counter()
            self._peer.ask(self._connection, question)
            spent.append((time.perf_counter() - begin) * 1e3)
        return spent

    def _round(
        self, link: Connection, kind: str, threads: int, seconds: float
    ) -> tuple[float, list[float]]:
        peer, work = self._peer, self._work
        own = peer.form == "server"
        connections = [peer.connect() if own else self._connection for _ in range(threads)]
        spent: list[list[float]] = [[] for _ in connections]
        failures: list[Exception] = []
        begun = threading.Event()
        warm = threading.Barrier(threads + 1)
        until = [0.0]

        def go(place: int) -> None:
            connection = connections[place]
            rng = np.random.default_rng((os.getpid(), place))
            try:
                if own and peer.beams and not peer.beam_of_all:
                    peer.set_beam(connection, peer.beam)
                peer.ask(connection, work.question(kind, place))
                warm.wait()
                begun.wait()
                while time.perf_counter() < until[0]:
                    question = work.question(kind, int(rng.integers(len(work.questions))))
                    start = time.perf_counter()
                    peer.ask(connection, question)
                    spent[place].append((time.perf_counter() - start) * 1e3)
            except Exception as error:  # told to the process that started us, by the main thread
                failures.append(error)
                warm.abort()

        running = [threading.Thread(target=go, args=(place,)) for place in range(threads)]
        for thread in running:
            thread.start()
        try:
            warm.wait()
        except threading.BrokenBarrierError:
            raise failures[0] from None
        link.send(("done", None))
        link.recv()
        begin = time.perf_counter()
        until[0] = begin + seconds
        begun.set()
        for thread in running:
            thread.join()
        took = time.perf_counter() - begin
        if failures:
            raise failures[0]
        if own:
            for connection in connections:
                peer.disconnect(connection)
        latencies = [each for one in spent for each in one]
        return len(latencies) * peer.asked_at_once(kind) / took, latencies
