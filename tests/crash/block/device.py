"""A block device whose cache is lost when power goes: what was flushed stays, any part of the rest may be there.

A flush makes all writes before it durable.  Those since then reached the medium or did not, in any order: write by
write, or torn apart into sectors of 512 bytes; one sector goes through its versions in order.

One exception, of the file systems and not of memdb's: an ext4 superblock has 1,024 bytes and one checksum, so that
half of one cannot be mounted.  Its two sectors go together, and so do the eight of btrfs's.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.crash.block.log import Event

SECTOR: Final = 512
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of what was not flushed: the chance of each piece to have reached the medium (0 and 1 are for
    sure), and whether a piece is a sector or a write.
    """

    likely: float
    torn: bool
    seed: int


@dataclass(slots=True)
class Device:
    """The device, fed with events."""

    durable: bytearray = field(repr=False)
    """What is on the medium for sure."""
    pending: list[Event] = field(default_factory=list, repr=False)
    _chunks: set[int] = field(default_factory=set, repr=False)
    """Which pieces of it were ever written: the rest is zeros."""
    together: tuple[range, ...] = ()
    """Sectors that are never torn apart."""

    @classmethod
    def of(cls, image: Path, together: tuple[range, ...]) -> Device:
        """What an image holds, as durable."""
        made = cls(bytearray(image.stat().st_size), together=together)
        with image.open("rb") as file:
            for begin, end in _extents(file.fileno()):
                file.seek(begin)
                made._put(begin, file.read(end - begin))
        return made

    def apply(self, event: Event) -> None:
        """Let an event happen."""
        if event.kind == "W":
            self.pending.append(event)
        elif event.kind == "S":
            for write in self.pending:
                self._put(write.offset, write.data)
            self.pending = []

    def materialise(self, image: Path, fate: Fate) -> None:
        """Write what the medium holds after a crash now into a file."""
        with image.open("wb") as file:
            fd = file.fileno()
            os.truncate(fd, len(self.durable))
            whole = memoryview(self.durable)
            for chunk in sorted(self._chunks):
                os.pwrite(fd, whole[chunk * _CHUNK : (chunk + 1) * _CHUNK], chunk * _CHUNK)
            for offset, data in self.survivors(fate):
                os.pwrite(fd, data, offset)

    def survivors(self, fate: Fate) -> Iterator[tuple[int, bytes]]:
        """What of the unflushed writes reached the medium: (offset, bytes), in order."""
        chosen = random.Random(fate.seed)
        if not fate.torn:
            for write in self.pending:
                if chosen.random() < fate.likely:
                    yield write.offset, write.data
            return
        until: dict[int, int] = {}
        for number, write in enumerate(self.pending):
            for at in range(write.offset, write.offset + len(write.data), SECTOR):
                piece = self._piece(at // SECTOR)
                if piece not in until:
                    lost = chosen.random() >= fate.likely
                    until[piece] = (
                        chosen.randint(0, len(self.pending)) if lost and fate.likely else 0
                    )
                    if not lost:
                        until[piece] = len(self.pending)
                if number < until[piece]:
                    yield at, write.data[at - write.offset : at - write.offset + SECTOR]

    def _piece(self, sector: int) -> int:
        for sectors in self.together:
            if sector in sectors:
                return sectors.start
        return sector

    def _put(self, offset: int, data: bytes) -> None:
        self.durable[offset : offset + len(data)] = data
        self._chunks.update(range(offset // _CHUNK, -(-(offset + len(data)) // _CHUNK)))


def _extents(fd: int) -> Iterator[tuple[int, int]]:
    """Where a sparse file has content."""
    size = os.fstat(fd).st_size
    end = 0
    while end < size:
        try:
            begin = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:  # no more of it
            return
        end = os.lseek(fd, begin, os.SEEK_HOLE)
        yield begin, end
