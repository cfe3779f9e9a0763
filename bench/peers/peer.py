"""What the driver asks of an engine; each engine is a class of its own file.

A *server* is a process of its own that every client connects to; an *embedded* one lives in the client's process; an
*index* does as well, and keeps nothing until it is saved.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from bench.peers.process import Child, free_port
from bench.peers.rows import KINDS, Question, Rows


class Peer:
    """An engine in a folder of its own.

    Connections are whatever the engine's library makes of them; only the engine's own methods look into one.
    """

    title: ClassVar[str]
    """As people write it."""
    form: ClassVar[str] = "embedded"
    """server, embedded or index."""
    acknowledges: ClassVar[str]
    """What has happened when `insert` returns, by the engine's documentation and configuration."""
    synced: ClassVar[bool] = False
    """Whether that outlives a loss of power."""
    beams: ClassVar[tuple[int, ...]] = ()
    """Widths of the search to try, ascending; the first that finds 95 % is taken.  Empty: it has none."""
    beam_of_all: ClassVar[bool] = False
    """Whether the width is a property of the collection, and not of a client's question."""
    kinds: ClassVar[tuple[str, ...]] = KINDS
    asked: ClassVar[bool] = True
    """Whether it is filled and asked, and not only given records with tensors."""
    tensors: ClassVar[bool] = True
    """Whether a record can hold 67,584 bytes."""
    bound: ClassVar[bool] = False
    """Whether it is no engine but what one is made of, and keeps nothing."""
    batch: ClassVar[int] = 512
    """Records of an insert while it is filled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.beam = self.beams[0] if self.beams else 0
        self.settings: dict[str, int] = {}
        """What a client in another process has to know, such as the port."""

    # --- a server's process; nothing where there is none

    def start(self) -> None:
        """Start it; returns once it answers."""

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it."""

    def stand_by(self) -> bool:
        """Start what takes over where this one stops, and is the one that `start` waits for then; False where the
        engine has nothing of the kind.
        """
        return False

    def standby_pids(self) -> list[int]:
        """The processes that stand by."""
        return []

    def pids(self) -> list[int]:
        """The processes that hold the data."""
        return [os.getpid()]

    def before_questions(self, connection: Any, question: Question) -> None:
        """Make ready what is only there while questions are asked."""

    def after_questions(self) -> None:
        """And end it."""

    # --- data

    def create(self) -> Any:
        """Make the tables; a connection."""
        raise NotImplementedError

    def connect(self) -> Any:
        """A connection of one client."""
        raise NotImplementedError

    def disconnect(self, connection: Any) -> None:
        """Give a connection back."""

    def batches(self, rows: Rows) -> Iterator[Rows]:
        """The inserts that bring all of ``rows`` in."""
        for begin in range(0, len(rows), self.batch):
            yield rows.taken(slice(begin, begin + self.batch))

    def before_load(self, connection: Any) -> None:
        """What its manual tells to do before many records come that nobody asks for meanwhile."""

    def insert(self, connection: Any, rows: Rows) -> None:
        """Add records; returns when the engine has acknowledged all."""
        raise NotImplementedError

    def finish(self, connection: Any) -> None:
        """Build the index, or wait until it is built, as the engine's manual tells."""

    def set_beam(self, connection: Any, beam: int) -> None:
        """Search that wide from now on."""
        self.beam = beam

    def ask(self, connection: Any, question: Question) -> list[int]:
        """Ids of the ten best, best first."""
        raise NotImplementedError

    def asked_at_once(self, kind: str) -> int:
        """How many questions one `ask` of a kind answers."""
        return 1

    def takes_many(self, connection: Any) -> bool:
        """Whether it can be asked a `many`."""
        return False

    def present(self, connection: Any, rows: Rows) -> int:
        """How many of some records can be read back; all are of one user and stream."""
        raise NotImplementedError

    def tensor(self, connection: Any, row_id: int) -> bytes:
        """The tensor of a record."""
        raise NotImplementedError


class ServerPeer(Peer):
    """An engine that is a process of its own."""

    form = "server"
    _child: Child | None = None
    _standby: Child | None = None

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.settings["port"] = free_port()

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return self.settings["port"]

    def run(
        self,
        command: list[str],
        *,
        environment: dict[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        """Start the process, unless one stood by; returns once `answers`."""
        self._child, self._standby = self._standby, None
        if self._child is None:
            self._child = Child(
                command, self.folder.with_suffix(".log"), environment=environment, folder=folder
            )
        self._child.ready(self.answers)

    def answers(self) -> bool:
        """Whether it takes requests."""
        raise NotImplementedError

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._child is not None:
            self._child.stop(number)
            self._child = None

    def standby_pids(self) -> list[int]:
        return [] if self._standby is None else [self._standby.pid]

    def pids(self) -> list[int]:
        assert self._child is not None
        return [self._child.pid]


def beside_python(name: str) -> str:
    """A command that the packages of this environment brought."""
    return str(Path(sys.executable).parent / name)


def site_packages() -> Path:
    """Where this environment has its packages."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return Path(sys.prefix) / "lib" / version / "site-packages"
