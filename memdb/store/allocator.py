"""What LMDB frees after a large commit stays with the heap for the next one.

LMDB holds the pages of a commit in memory of the C library's allocator, and frees them with it.  glibc gives what is
free at the end of a heap back to the system beyond a threshold, of 128 KB at first; then each page of the next commit
is the kernel's to clear again: with 41 clips of 200 kB in a commit half of all processor time.  It learns, though, from
what is freed: with a block that had a mapping of its own, of up to 32 MiB, the threshold becomes twice that
(mallopt(3), M_MMAP_THRESHOLD).  Whether an application has freed such a block is chance: so one is, once, before the
first large commit.  No page of it is touched.

Nothing is set: a process that has set its thresholds itself, as a server of memdb has, goes on with them.
"""

from __future__ import annotations

import ctypes
from typing import Final

from memdb.store import libc

COMMIT_BYTES_MIN: Final = 4 << 20
"""Of a commit before which it is done; who makes smaller ones alone gets along with the threshold that there is."""
BLOCK_BYTES: Final = (32 << 20) - (64 << 10)
"""With what the allocator adds it is still one that it learns from."""

_has_learned = False


def learn(bytes_hint: int) -> None:
    """A commit of about so many bytes is going to be written."""
    global _has_learned  # noqa: PLW0603 - of the process, as the allocator is
    if _has_learned or bytes_hint < COMMIT_BYTES_MIN:
        return
    _has_learned = True
    allocate = libc.function("malloc", ctypes.c_size_t, returns=ctypes.c_void_p)
    free = libc.function("free", ctypes.c_void_p, returns=None)
    if allocate is None or free is None:
        return
    block = allocate(BLOCK_BYTES)
    if block:  # else there is no room for it, and nothing to learn from
        free(block)
