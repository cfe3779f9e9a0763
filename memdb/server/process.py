"""What a process that serves asks of the system: its allocator, its collector, its open files.

Keeping memory between messages: a clip is 200 KB and a message of clips up to 1 MB.  By default
glibc maps such blocks anew each time, and every page of a fresh map costs a fault when it is first
written: measured on an ingest
stream of 16-frame clips, half of the server's system time.  Told to serve them from its heap and
to keep up to `KEPT_BYTES` of it when they are freed, it uses the same pages again.
"""

from __future__ import annotations

import ctypes
import gc
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

MAPPED_BYTES_MIN: Final = 1 << 20
"""Blocks from this size on are mapped and given back at once, as all from 128 KiB were.  Above our
client's messages; below what LMDB and the indexes reserve for each open user (2 MiB for a list of
dirty pages, 1 MiB for one of free pages, room for 256 vectors), which must not be memory until it
is used."""
KEPT_BYTES: Final = 8 << 20
"""Freed memory at the end of the heap that is kept.  No more than a few messages: what is free there is
handed out to whoever asks, and LMDB's lists of 3 MiB, cleared in such memory, are resident for as
long as their user is open (measured: 3.3 MB for each open user with 64 MiB kept, 0.16 MB with 8)."""
GROWTH_BYTES: Final = 128 << 10
"""What the heap grows by beyond what is asked for."""

GC_THRESHOLDS: Final = (50_000, 50, 100)

# Parameters of mallopt(3).
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


def collect_seldom() -> None:
    """Let Python look for cycles less often.

    Opening a user makes tens of thousands of objects that stay, which by default sets off collections
    that walk over everything there is: seen as first answers of 90 ms instead of 30.
    """
    gc.set_threshold(*GC_THRESHOLDS)


@contextmanager
def collecting_later() -> Iterator[None]:
    """Let Python look for cycles only from `begin_collecting` on, at the latest when it is left.

    What a start loads is half a million objects that stay; to walk over them took 12 ms of it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def begin_collecting() -> None:
    """Look for cycles from now on, but not among what is there: a full collection walks over what came since."""
    gc.freeze()
    gc.enable()


def raise_file_limit() -> int:
    """Let the process open as many files as the system lets it ask for; how many that is.

    Every open user takes `memdb.engine.slots.FILES_PER_USER`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # a hard limit beyond what the kernel takes
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def keep_memory() -> bool:
    """Set glibc's allocator for the life of the process; whether there was one to set.

    Called once, before the threads start: arenas that exist stay.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False  # another C library: correct without it, only slower
    settings = (
        (_M_MMAP_THRESHOLD, MAPPED_BYTES_MIN),
        (_M_TRIM_THRESHOLD, KEPT_BYTES),
        (_M_TOP_PAD, GROWTH_BYTES),
        # What one thread frees another one uses again.
        (_M_ARENA_MAX, 1),
    )
    taken = [
        mallopt(name, value) for name, value in settings
    ]  # each of them, whatever became of one
    return all(answer == 1 for answer in taken)
