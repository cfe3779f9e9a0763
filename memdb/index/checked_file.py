"""A large checkpoint that answers the first questions: its rows mapped, and compared on the way."""

from __future__ import annotations

import mmap
import os
import threading
from collections import deque
from pathlib import Path
from typing import Final

import numpy as np
import xxhash

from memdb.index.checkpoint import (
    MOMENT,
    PLANES,
    BadCheckpoint,
    KeptUser,
    Part,
    check_stated,
    read_table,
)
from memdb.index.checkpoint_reader import read_moment, read_planes, spaces_of, width_of_planes
from memdb.index.native_checksum import native_checksum
from memdb.index.planes import Planes

_BUFFER_BYTES: Final = 1 << 19
"""Through which a block is compared with its checksum: as much as a core's cache holds."""
_ELEMENT_BYTES: Final = 2
"""Rows that are mapped begin at multiples of it; blocks of other kinds are of any length."""


class CheckedFile:
    """A large file that keeps every row of a user, and a thread that compares its rows with their checksums while the
    caller has other things to do.  Its mapped rows stay valid once it is closed.
    """

    def __init__(self, path: Path) -> None:
        """Raises `BadCheckpoint` for a file that has no moment or is otherwise none of this layout, `OSError`, and
        `RuntimeError` where there is no thread to be had.
        """
        self._file = path.open("rb", buffering=0)
        self._failure: Exception | None = None
        self._checked: list[Part] = []
        self._left = False
        self._sources: dict[int, Part] = {}
        """What rows that were mapped are of, by the id of their planes."""
        try:
            self._parts, self._owner, self._revision = read_table(self._file)
            _check_moment(self._parts)
            self._planes = [part for part in self._parts if part.kind == PLANES]
            # Two threads take them: ours, and who reads.
            self._unchecked = deque(self._planes)
            self._thread = threading.Thread(
                target=self._check, name="memdb-checkpoint", daemon=True
            )
            self._thread.start()
        except BaseException:
            self._file.close()
            raise

    def read(self, owner: bytes, revision: int) -> KeptUser:
        """What the file keeps, its planes mapped; raises as `read_checkpoint`."""
        check_stated(self._owner, self._revision, owner, revision)
        content = read_moment(self._file, self._parts[-1])
        spaces = spaces_of(self._file, self._parts[:-1], self._mapped)
        self._check()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        if len(self._checked) != len(self._planes):
            raise BadCheckpoint("a block could not be compared with its checksum")
        rows = sum(len(one.clip_no) for one in spaces.values())
        if rows != self._parts[-1].rows:
            raise BadCheckpoint("a moment of other rows")
        return KeptUser(self._revision, content, rows, spaces)

    def copied(self, planes: Planes) -> Planes:
        """The same rows, read into memory and compared with their checksum once more; raises as `read_checkpoint`."""
        part = self._sources.get(id(planes))
        return planes if part is None else read_planes(self._file, part)

    def close(self) -> None:
        """Leave the rest."""
        self._left = True
        self._thread.join()
        self._file.close()

    def _mapped(self, part: Part) -> Planes:
        width = width_of_planes(part)
        if part.offset % _ELEMENT_BYTES:
            return read_planes(self._file, part)
        begin = part.offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        # One for each block, so that it goes with the last who looks at its rows.
        try:
            mapped = mmap.mmap(
                self._file.fileno(),
                part.offset + part.length - begin,
                mmap.MAP_SHARED,
                mmap.PROT_READ,
                offset=begin,
            )
        except ValueError as error:
            raise BadCheckpoint("a block is cut off") from error
        shape, count = (part.rows, width), part.rows * width
        head = np.frombuffer(mapped, "<u2", count, part.offset - begin).reshape(shape)
        tail = np.frombuffer(mapped, "<i2", count, part.offset - begin + 2 * count).reshape(shape)
        planes = Planes(head, tail, part.residual_max, part.norm_max)
        self._sources[id(planes)] = part
        return planes

    def _check(self) -> None:
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        try:
            while self._unchecked and not self._left:
                part = self._unchecked.popleft()
                self._check_part(part, buffer)
                self._checked.append(part)
        except IndexError:
            pass  # the other thread took the last
        except (BadCheckpoint, OSError) as error:
            self._failure = error

    def _check_part(self, part: Part, buffer: memoryview) -> None:
        native = native_checksum()
        if native is not None:
            found = native(self._file.fileno(), part.offset, part.length)
        else:
            found = self._checksum(part, buffer)
        if found is None:
            raise BadCheckpoint("a block is cut off")
        if found != part.checksum:
            raise BadCheckpoint("a block does not match its checksum")

    def _checksum(self, part: Part, buffer: memoryview) -> int | None:
        """Of the part; None where the file is shorter, or nobody waits for it any more."""
        checksum, at, end = xxhash.xxh3_64(), part.offset, part.offset + part.length
        while at < end and not self._left:
            read = os.preadv(self._file.fileno(), [buffer[: end - at]], at)
            if not read:
                return None
            checksum.update(buffer[:read])
            at += read
        return checksum.intdigest() if at == end else None


def _check_moment(parts: list[Part]) -> None:
    if not parts or parts[-1].kind != MOMENT:
        raise BadCheckpoint("without a moment")
