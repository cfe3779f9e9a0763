"""The lock file of an open environment: LMDB's table of who reads, which it writes through a mapping.

A page of a mapping that the disk has no room for is no error: it ends the process (SIGBUS), whoever it serves.  So
no page of the file is touched before it is on the disk: the first when the environment is opened, the others once
so many read at once that they are needed, which is seldom and would be 16 KiB of each user.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

from memdb.errors import ResourceExhausted

LOCK_FILE: Final = "lock.mdb"
_PAGE_BYTES: Final = 4096
_ALL_BYTES: Final = 5 * _PAGE_BYTES
"""For 256 readers: 64 bytes each, and some for all."""
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
        self.readers_max = _READERS_AT_FIRST
        """Who may read at once before `extend` is to be called."""
        self._lock = threading.Lock()
        self._fd: int | None = None
        """Kept: see `make_lock_file`."""

    def extend(self, readers: int) -> None:
        """Have all of the file on the disk, for ``readers`` at once.

        Raises `ResourceExhausted` (``READERS``): the disk is full.
        """
        with self._lock:
            if readers <= self.readers_max:
                return
            try:
                if self._fd is None:
                    self._fd = _opened(self._folder)
                os.posix_fallocate(self._fd, 0, _ALL_BYTES)
            except OSError as error:
                raise ResourceExhausted(
                    f"too many reads at once for the table that there is, and no larger one: {error.strerror}",
                    reason="READERS",
                    value=self.readers_max,
                ) from error
            self.readers_max = _ALL_BYTES  # as many as LMDB lets read at once

    def close(self) -> None:
        """The environment is closed."""
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None
