"""A large checkpoint read ahead, by a process that may open its user later: every byte is in memory, and was compared.

What `memdb.index.checked_file` has mapped at first, and reads into memory once it answers.  Whether the file is still
the one of its user's directory is told by its stamp, and whether it is right by who loads it, as of any.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from memdb.index.checkpoint import (
    MOMENT,
    BadCheckpoint,
    KeptRows,
    KeptUser,
    Part,
    check_stated,
    read_table,
)
from memdb.index.checkpoint_reader import read_moment, read_planes, spaces_of
from memdb.index.planes import Planes

Stamp = tuple[int, int, int, int]
"""Device, number, bytes and time of change of a file: one that is replaced has another."""


def stamp_of(stat: os.stat_result) -> Stamp:
    """Of a file."""
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


class WarmFile:
    """What a file keeps that keeps every row of a user."""

    def __init__(self, path: Path, stop: Callable[[], bool]) -> None:
        """stop: asked before each hundred megabytes or so whether to leave the rest.

        Raises `BadCheckpoint` for a file that has no moment, or is no whole one, or was left, and `OSError`.
        """

        def rows(part: Part) -> Planes:
            if stop():
                raise BadCheckpoint("not read to its end")
            return read_planes(file, part)

        with path.open("rb", buffering=0) as file:
            self.stamp: Final = stamp_of(os.fstat(file.fileno()))
            parts, self._owner, self._revision = read_table(file)
            if not parts or parts[-1].kind != MOMENT:
                raise BadCheckpoint("without a moment")
            self._log_content = read_moment(file, parts[-1])
            self._spaces: Mapping[int, KeptRows] = spaces_of(file, parts[:-1], rows)
        self._rows = sum(len(one.clip_no) for one in self._spaces.values())
        if self._rows != parts[-1].rows:
            raise BadCheckpoint("a moment of other rows")

    @property
    def size(self) -> int:
        """Of the file, and nearly as many of memory."""
        return self.stamp[2]

    def read(self, owner: bytes, revision: int) -> KeptUser:
        """What the file keeps; raises `BadCheckpoint` for one of another user, or of a later revision."""
        check_stated(self._owner, self._revision, owner, revision)
        return KeptUser(self._revision, self._log_content, self._rows, dict(self._spaces))

    def copied(self, planes: Planes) -> Planes:
        """The same rows, which are in memory."""
        return planes

    def close(self) -> None:
        """Nothing is left open."""
