"""A large commit's pages on their way to the disk while LMDB still copies the next ones.

LMDB hands all of a commit to the kernel and then waits until it is on the disk: one of them has nothing to do while
the other works.  Meanwhile a thread asks the kernel, over and over, to begin with what it has.  That says nothing of
what is on the disk: LMDB's own wait is what a commit rests on, and it hears of any error, as ever.

Several commits may stand at LMDB's door; one thread asks for all of them.
"""

from __future__ import annotations

import _thread
import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from memdb.store import libc

BYTES_MIN: Final = 3 << 20
"""Of a commit; a smaller one is handed over before the disk has begun."""
STEP_S: Final = 0.0005
_BEGIN: Final = 2
"""SYNC_FILE_RANGE_WRITE: begin to write, wait for nothing."""


def _sync_file_range() -> Callable[..., int] | None:
    """Linux's call; None where the system has none."""
    offset = libc.OFFSET
    return libc.function("sync_file_range", ctypes.c_int, offset, offset, ctypes.c_uint)


class EarlyWriting:
    """Of one data file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._commits: set[object] = set()
        """Those that are being written."""
        self._has_thread = False

    @contextmanager
    def of(self, size: int) -> Iterator[None]:
        """While the block writes about ``size`` bytes into the file, have them begin to go to the disk."""
        call = _sync_file_range() if size >= BYTES_MIN else None
        if call is None:
            yield
            return
        commit = object()
        try:
            self._begin(commit, call)
            yield
        finally:
            # One call of C: who is interrupted has made it, or is nowhere in it.
            self._commits.discard(commit)

    def _begin(self, commit: object, call: Callable[..., int]) -> None:
        with self._lock:
            self._commits.add(commit)
            if self._has_thread:
                return
            self._has_thread = True
            try:
                _thread.start_new_thread(self._ask_over_and_over, (call,))
            except (RuntimeError, MemoryError):  # no thread to be had: the commit is none the worse
                self._has_thread = False

    def _ask_over_and_over(self, call: Callable[..., int]) -> None:
        # A descriptor of its own: whoever commits does not wait for this thread, and may close the file.
        with suppress(OSError, MemoryError):
            descriptor = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                while self._is_wanted():
                    if call(descriptor, 0, 0, _BEGIN) != 0:
                        break  # not of this file system; the commit is none the worse
                else:
                    return
            finally:
                os.close(descriptor)
        self._has_thread = False

    def _is_wanted(self) -> bool:
        """Whether a commit is still being written after a moment; else there is no thread any more."""
        time.sleep(STEP_S)
        with self._lock:
            if not self._commits:
                self._has_thread = False
            return bool(self._commits)
