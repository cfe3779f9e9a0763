"""A file system as far as it matters when power goes: what is on the disk for sure, and what may be.

Bytes: an fsync or fdatasync of a file makes all that was written to it durable, a write through an
O_DSYNC descriptor itself.  Anything else may have reached the disk or not, in sectors of 512 bytes,
in any order between sectors; one sector goes through its versions in order.  The length of a file
does likewise, and what lies within it and was never written is zeros.

Names: creating, renaming and removing become durable by an fsync of the directory; a rename is one
step, also between directories.  An fsync of a file does not make its name durable.
"""

from __future__ import annotations

import copy
import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.crash.power.log import Event

SECTOR: Final = 512


@dataclass(slots=True)
class Write:
    """Bytes on their way to the disk; ``must``: already there."""

    offset: int
    data: bytes = field(repr=False)
    must: bool
    size: int
    """Length of the file after it."""


@dataclass(slots=True, eq=False)
class File:
    """A file: what is durable, and what came after in order."""

    base: bytearray = field(default_factory=bytearray, repr=False)
    pending: list[Write] = field(default_factory=list)
    size: int = 0
    """Length as the program sees it."""

    def write(self, offset: int, data: bytes, *, must: bool) -> None:
        """Write bytes."""
        self.size = max(self.size, offset + len(data))
        self.pending.append(Write(offset, data, must, self.size))

    def resize(self, size: int) -> None:
        """Truncate or extend; what is cut off reads as zeros if the file grows again."""
        zeros = bytes(max(0, self.size - size))
        self.size = size
        self.pending.append(Write(size, zeros, False, size))

    def sync(self) -> None:
        """Make all durable."""
        if self.pending:
            self.base = self.content(None, 1.0)
            self.pending = []

    def content(self, chosen: random.Random | None, likely: float) -> bytearray:
        """What the disk may hold: all that is pending (1.0), nothing of it (0.0), or each sector as
        chance has it.
        """
        last = len(self.pending)
        must = max((n + 1 for n, write in enumerate(self.pending) if write.must), default=0)
        whole = chosen is None and likely == 1.0
        if not self.pending or (likely == 0.0 and not must):
            return self.base
        size_at = must if likely == 0.0 else last
        if chosen is not None and chosen.random() >= likely:
            size_at = chosen.randint(must, last)
        size = self.pending[size_at - 1].size if size_at else len(self.base)
        found = bytearray(max(size, len(self.base), *(write.size for write in self.pending)))
        found[: len(self.base)] = self.base
        until = {} if whole else self._musts()
        for n, write in enumerate(self.pending):
            if whole:
                found[write.offset : write.offset + len(write.data)] = write.data
                continue
            at, end = write.offset, write.offset + len(write.data)
            while at < end:
                sector = at // SECTOR
                stop = min((sector + 1) * SECTOR, end)
                if (sector, True) not in until:
                    least = until.get((sector, False), 0)
                    until[sector, True] = _cut(chosen, likely, least, last)
                if n < until[sector, True]:
                    found[at:stop] = write.data[at - write.offset : stop - write.offset]
                at = stop
        del found[size:]
        return found

    def _musts(self) -> dict[tuple[int, bool], int]:
        """(sector, False) -> how many of the pending writes are on the disk there for sure."""
        musts: dict[tuple[int, bool], int] = {}
        for n, write in enumerate(self.pending):
            if write.must:
                end = write.offset + len(write.data)
                for sector in range(write.offset // SECTOR, -(-end // SECTOR)):
                    musts[sector, False] = n + 1
        return musts


def _cut(chosen: random.Random | None, likely: float, least: int, last: int) -> int:
    if chosen is None:
        return last if likely == 1.0 else least
    return last if chosen.random() < likely else chosen.randint(least, last)


@dataclass(slots=True, eq=False)
class Directory:
    """A directory: its names for sure, and as the program sees them."""

    base: dict[str, Node] = field(default_factory=dict)
    live: dict[str, Node] = field(default_factory=dict, repr=False)


Node = File | Directory
Change = tuple[tuple[Directory, str, Node | None], ...]
"""One step of names: (directory, name, what it now means)."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of what is pending.

    bytes_likely, names_likely: the chance of each piece to have reached the disk; 0 and 1 are for
    sure.  ordered: names reach it in order, so that some last ones are missing.
    """

    bytes_likely: float
    names_likely: float
    ordered: bool
    seed: int


def load(path: Path) -> Directory:
    """What lies in a directory, as durable."""
    found = Directory()
    for entry in path.iterdir():
        node: Node
        if entry.is_dir():
            node = load(entry)
        else:
            content = bytearray(entry.read_bytes())
            node = File(content, size=len(content))
        found.base[entry.name] = found.live[entry.name] = node
    return found


class Disk:
    """The file system below one directory, fed with events."""

    def __init__(self, root: str, initial: Directory | None = None) -> None:
        """root: the path of the directory in the events.  initial: what is on the disk already."""
        self._root_path = root
        self._root = copy.deepcopy(initial) if initial is not None else Directory()
        self._pending: list[Change] = []
        self._open: dict[int, tuple[Node, bool]] = {}
        """fd -> what it is of, and whether its writes are synced."""

    def apply(self, event: Event) -> None:
        """Let an event happen."""
        match event.kind:
            case "O":
                self._opened(event)
            case "C":
                self._open.pop(event.fd, None)
            case "W":
                file, synced = self._file(event.fd)
                file.write(event.offset, event.data, must=synced)
            case "T":
                self._file(event.fd)[0].resize(event.offset)
            case "A":
                file, _ = self._file(event.fd)
                file.resize(max(file.size, event.offset))
            case "S":
                self._synced(self._open[event.fd][0])
            case "M":
                parent, name = self._place(event.path)
                self._change((parent, name, Directory()))
            case "U" | "D":
                parent, name = self._place(event.path)
                self._change((parent, name, None))
            case "R":
                parent, name = self._place(event.path)
                other, new = self._place(event.other)
                self._change((parent, name, None), (other, new, parent.live[name]))
            case _:
                assert event.kind == "!", event.kind

    def materialise(self, where: Path, fate: Fate) -> None:
        """Write what the disk holds after a crash now into a new directory."""
        chosen = random.Random(fate.seed)
        entries: dict[int, dict[str, Node]] = {}
        for change in self._surviving(chosen, fate):
            for parent, name, node in change:
                seen = entries.setdefault(id(parent), dict(parent.base))
                if node is None:
                    seen.pop(name, None)
                else:
                    seen[name] = node
        likely = fate.bytes_likely
        draw = None if likely in (0.0, 1.0) else chosen

        def put(directory: Directory, path: Path) -> None:
            path.mkdir()
            for name, node in entries.get(id(directory), directory.base).items():
                if isinstance(node, Directory):
                    put(node, path / name)
                elif name == "lock.mdb" and draw is not None:
                    # Written through a mapping, never synced: anything may stand there.
                    (path / name).write_bytes(draw.randbytes(node.size))
                else:
                    (path / name).write_bytes(node.content(draw, likely))

        put(self._root, where)

    def _surviving(self, chosen: random.Random, fate: Fate) -> list[Change]:
        if fate.ordered and 0.0 < fate.names_likely < 1.0:
            return self._pending[: chosen.randint(0, len(self._pending))]
        return [change for change in self._pending if chosen.random() < fate.names_likely]

    def _file(self, fd: int) -> tuple[File, bool]:
        node, synced = self._open[fd]
        assert isinstance(node, File), "only files are written"
        return node, synced

    def _place(self, path: str) -> tuple[Directory, str]:
        """The directory that holds a name, and the name."""
        node: Node = self._root
        *parents, name = path.removeprefix(self._root_path).strip("/").split("/")
        for parent in parents:
            assert isinstance(node, Directory), path
            node = node.live[parent]
        assert isinstance(node, Directory), path
        return node, name

    def _opened(self, event: Event) -> None:
        parent, name = self._place(event.path)
        if not name:
            node: Node = self._root
        elif name in parent.live:
            node = parent.live[name]
        else:
            assert event.aux & os.O_CREAT, f"{event.path} was not made"
            node = File()
            self._change((parent, name, node))
        if isinstance(node, File) and event.aux & os.O_TRUNC and node.size:
            node.resize(0)
        self._open[event.fd] = node, bool(event.aux & os.O_DSYNC)

    def _synced(self, node: Node) -> None:
        if isinstance(node, File):
            node.sync()
            return
        # And what came before to the same names, or it would come after.
        names: set[tuple[int, str]] = set()
        durable: list[Change] = []
        waiting: list[Change] = []
        for change in reversed(self._pending):
            touched = {(id(parent), name) for parent, name, _ in change}
            if any(parent is node for parent, _, _ in change) or not names.isdisjoint(touched):
                names |= touched
                durable.append(change)
            else:
                waiting.append(change)
        self._pending = waiting[::-1]
        for change in reversed(durable):
            for parent, name, target in change:
                if target is None:
                    parent.base.pop(name, None)
                else:
                    parent.base[name] = target

    def _change(self, *change: tuple[Directory, str, Node | None]) -> None:
        for parent, name, node in change:
            if node is None:
                del parent.live[name]
            else:
                parent.live[name] = node
        self._pending.append(change)
