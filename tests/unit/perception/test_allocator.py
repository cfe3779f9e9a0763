"""Memory that is asked for again and again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from perception.allocator import MAPPED_BYTES_MIN

PROGRAM = """
import resource, threading
import numpy as np
from perception.allocator import keep_memory

assert keep_memory()

def layers() -> None:
    # As of a network: each lets go of what the one before has made.
    for _ in range(20):
        made = [np.ones(mib << 20, np.uint8) for mib in (24, 20, 16)]
        del made

def look() -> None:
    layers()
    first = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    layers()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - first)

thread = threading.Thread(target=look)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_was_let_go_of_is_used_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    # 30,620 where each layer is new memory.
    assert int(done.stdout) < 2_000


def test_an_older_glibc_takes_the_threshold_as_well() -> None:
    # mallopt(3): DEFAULT_MMAP_THRESHOLD_MAX, where a long has 8 bytes.  What is refused is worse than nothing set.
    assert MAPPED_BYTES_MIN <= 4 * 1024 * 1024 * 8
