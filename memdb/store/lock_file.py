"""The lock file of an open environment: LMDB's table of who reads, which it writes through a mapping.

A page of a mapping that the disk has no room for is no error: it ends the process (SIGBUS), whoever it serves.  So
no page of the file is touched before it is on the disk: the first when the environment is opened, the others once
so many read at once that they are needed, which is seldom and would be 16 KiB of each user.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Final

from memdb.errors import ResourceExhausted

LOCK_FILE: Final = "lock.mdb"
READERS_MAX: Final = 256
"""Reads of one environment at once; LMDB refuses more."""
_PAGE_BYTES: Final = 4096
_READER_BYTES: Final = 64
_ALL_BYTES: Final = READERS_MAX * _READER_BYTES + _PAGE_BYTES
"""Of the whole table; what comes before the readers takes less than a page."""
_READERS_AT_FIRST: Final = 56
"""Fewer than fit the first page: LMDB keeps an ended one for the next."""


def make_lock_file(folder: Path) -> None:
    """Have the file in ``folder``, its first page on the disk; raises `OSError`.

    Only while the environment is closed: to close any descriptor of the file lets go of LMDB's locks on it.
    """
    fd = _opened(folder)
    try:
        os.posix_fallocate(fd, 0, _PAGE_BYTES)
    finally:
        os.close(fd)


def _opened(folder: Path) -> int:
    return os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


class LockFile:
    """That of an open environment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.readers = _READERS_AT_FIRST
        """Who may read at once before `extend` is to be called; once it was, only LMDB says how many may."""
        self._lock = threading.Lock()
        self._fd: int | None = None
        """Kept: see `make_lock_file`."""

    def extend(self, readers: int) -> None:
        """Have all of the file on the disk, for ``readers`` at once.

        Raises `ResourceExhausted` (``READERS``): the disk is full.
        """
        with self._lock:
            if readers <= self.readers:
                return
            try:
                if self._fd is None:
                    self._fd = _opened(self._folder)
                os.posix_fallocate(self._fd, 0, _ALL_BYTES)
            except OSError as error:
                raise ResourceExhausted(
                    f"too many reads at once for the table that there is, and no larger one: {error.strerror}",
                    reason="READERS",
                    value=self.readers,
                ) from error
            self.readers = sys.maxsize

    def close(self) -> None:
        """The environment is closed."""
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None
