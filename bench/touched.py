"""Memory that the machine has, not only may have.

A virtual machine whose host takes back what is free (free page reporting of the balloon, in blocks of 2 MB, some
seconds after it was freed) pays for each page when it is next written: 2 to 10 us where a page that is there takes 0.1
to 0.6.  A clip of 200 kB is 49 pages of the page cache, so that is more than all the rest of a write, and it meets
whoever writes much at once: writes of 2 MB and more get blocks of 2 MB, smaller ones what is left of blocks in use.
So whoever compares ways of writing touches as much as they will take before each round.
"""

from __future__ import annotations

import mmap
import os
import time
from contextlib import suppress

import numpy as np

PAGE_BYTES = 4096


def touch(size: int) -> float:
    """Write to ``size`` bytes of the machine's free memory, but no more than half of it, and free them; us of
    processor time a page.
    """
    size = max(
        PAGE_BYTES, min(size, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    )
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        with suppress(AttributeError, OSError):  # where there are none, one by one
            memory.madvise(mmap.MADV_HUGEPAGE)
        pages = np.frombuffer(memory, np.uint8)[::PAGE_BYTES]
        begin = time.thread_time()
        pages[:] = 1
        spent = time.thread_time() - begin
        count = len(pages)
        del pages  # or the map could not be closed
    return 1e6 * spent / count
