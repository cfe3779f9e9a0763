"""Blocks of the disk laid out behind the end of a data file, before large commits write there.

A file system looks for the blocks of a file that grows page by page as it is written, and writes down where they are
when it is synced.  Asked for many at once it does so once: of commits of some megabytes ext4 takes a third less of the
processor then (docs/tried.md).

Invariants:

- Blocks alone: size, content and what is on the disk after a power loss are those without them.
- A part of what the file has, at most `BLOCKS_BYTES_MAX`, and none where the disk has not many times as much; they are
  given back when the file is closed, and those of a process that was killed when it is closed after the next write.
- None where commits go into pages that were freed, as under retention: the file has to have grown since the large
  commit before.
- Whatever the system refuses costs the time that would have been saved, and no more.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from memdb.config import EngineConfig
from memdb.store import libc

COMMIT_BYTES_MIN: Final = 1 << 20
"""Of a commit; a smaller one waits for the disk, not for the processor."""
BLOCKS_BYTES_MAX: Final = 64 << 20
FILE_PARTS: Final = 8
"""Of its size one is laid out: a thousand users who wrote much once have an eighth more of the disk while open."""
FREE_PARTS_MIN: Final = 64
"""As many times what is laid out has to be free."""
_KEEP_SIZE: Final = 1
"""FALLOC_FL_KEEP_SIZE: the size of the file stays."""
TYPES: Final = frozenset({0xEF53, 0x58465342})
"""File systems that only note which blocks are meant: ext4, xfs.  One in memory would fill them with zeros, and btrfs
writes elsewhere all the same."""
_BLOCK_BYTES: Final = 512
"""As `os.stat` counts them."""
_UNTOLD_BYTES: Final = 1 << 20
"""Of blocks that say where the others are."""
_STATFS_BYTES: Final = 256
"""More than the system fills; the type comes first."""


class BlocksAhead:
    """Those of one data file."""

    def __init__(self, data_file: Path, config: EngineConfig) -> None:
        self._data_file = data_file
        self._config = config
        self._end = 0
        """Of what was laid out, or refused; nothing is asked for before commits come near it."""
        self._size: int | None = None
        """That the large commit before found."""
        self._is_taken: bool | None = None
        """Whether this file system takes it; None until it was asked."""

    def lay_out(self, bytes_hint: int) -> None:
        """A commit of about ``bytes_hint`` bytes is going to be written."""
        if bytes_hint < COMMIT_BYTES_MIN or self._is_taken is False:
            return
        with suppress(OSError):
            size = self._data_file.stat().st_size
            grew, self._size = self._size is not None and size > self._size, size
            # Another commit may be on its way, which is not in the size yet.
            if grew and size + 2 * bytes_hint > self._end:
                self._lay_out(size, min(size // FILE_PARTS, BLOCKS_BYTES_MAX), 2 * bytes_hint)

    def _lay_out(self, size: int, wanted: int, needed: int) -> None:
        call = _fallocate()
        if self._is_taken is None:
            self._is_taken = call is not None and type_of(self._data_file) in TYPES
        if wanted < needed or not self._is_taken or call is None:
            return
        self._end = size + wanted
        free = os.statvfs(self._data_file)
        if (
            free.f_bavail * free.f_frsize
            < self._config.disk_free_bytes_min + FREE_PARTS_MIN * wanted
        ):
            return
        descriptor = os.open(self._data_file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            call(descriptor, _KEEP_SIZE, size, wanted)
        finally:
            os.close(descriptor)

    def give_back(self) -> None:
        """The file is closed: nobody writes to it any more.  Also what a process left that was killed."""
        self._end = 0
        with suppress(OSError):
            found = self._data_file.stat()
            if found.st_blocks * _BLOCK_BYTES <= found.st_size + _UNTOLD_BYTES:
                return
            descriptor = os.open(self._data_file, os.O_WRONLY | os.O_CLOEXEC)
            try:
                # To the size that it has: what lies behind is let go of.
                os.ftruncate(descriptor, found.st_size)
            finally:
                os.close(descriptor)


def _fallocate() -> Callable[..., int] | None:
    """Linux's call; None where the system has none."""
    return libc.function("fallocate", ctypes.c_int, ctypes.c_int, libc.OFFSET, libc.OFFSET)


def type_of(file: Path) -> int:
    """Of the file system, 0 where it is not told."""
    call = libc.function("statfs", ctypes.c_char_p, ctypes.c_char_p)
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if call is None or call(os.fsencode(file), buffer) != 0:
        return 0
    return ctypes.c_long.from_buffer(buffer).value
