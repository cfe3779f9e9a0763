"""A large commit's pages on their way to the disk while LMDB still copies the next ones.

LMDB hands all of a commit to the kernel and then waits until it is on the disk: one of them has nothing to do while
the other works.  Meanwhile a thread asks the kernel, over and over, to begin with what it has.  That says nothing of
what is on the disk: LMDB's own wait is what a commit rests on, and it hears of any error, as ever.
"""

from __future__ import annotations

import _thread
import ctypes
import os
import threading
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


@contextmanager
def early(file: Path, size: int) -> Iterator[None]:
    """While the block writes about ``size`` bytes into a file, have them begin to go to the disk."""
    call = _sync_file_range() if size >= BYTES_MIN else None
    if call is None:
        yield
        return
    over = threading.Lock()
    over.acquire()
    try:
        with suppress(RuntimeError):  # no thread to be had
            _thread.start_new_thread(_begin_over_and_over, (call, file, over))
        yield
    finally:
        over.release()


def _begin_over_and_over(call: Callable[..., int], file: Path, over: threading.Lock) -> None:
    # A descriptor of its own: whoever commits does not wait for this thread, and may close the file.
    with suppress(OSError):
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while not over.acquire(timeout=STEP_S):
                if call(descriptor, 0, 0, _BEGIN) != 0:
                    return  # not of this file system; the commit is none the worse
        finally:
            os.close(descriptor)
