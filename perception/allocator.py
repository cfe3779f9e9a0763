"""glibc's allocator, set for an agent whose networks ask for the same memory with every picture.

By its own thresholds it gives the memory of each layer back to the system and asks for it again: 15,000 page faults a
picture of 1280x720 in an agent, a fifth of the encoder's processor time.
"""

from __future__ import annotations

import ctypes
from typing import Final

MAPPED_BYTES_MIN: Final = 32 << 20
"""What is larger is the system's own mapping, and given back at once.  The most that mallopt(3) promises to take: an
older glibc refuses more, and with the other thresholds set alone it would map all from 128 KB on, for good."""
KEPT_BYTES: Final = 256 << 20
"""So much that is free at the end of a heap stays with it."""

# Parameters of mallopt(3).
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


def keep_memory() -> bool:
    """Set it for the life of the process; whether there was one to set."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False  # another C library: correct without it, only slower
    settings = (
        (_M_MMAP_THRESHOLD, MAPPED_BYTES_MIN),
        (_M_TRIM_THRESHOLD, KEPT_BYTES),
        # Heaps of threads are parted in pieces of 64 MB, which come and go with a layer.
        (_M_ARENA_MAX, 1),
    )
    taken = [mallopt(name, value) for name, value in settings]  # each, whatever became of one
    return all(answer == 1 for answer in taken)
