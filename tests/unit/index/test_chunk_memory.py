"""Rows that are not there yet take no memory, whatever the allocator has to give again."""

from __future__ import annotations

import os
import subprocess
import sys

KEEPING = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
"""As a busy server: large pieces come from what was freed, and somebody has written to it."""
PROGRAM = """
import ctypes, os
import numpy as np
from memdb.index.matrix import CHUNK_ROWS_MIN, Matrix

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

used = [np.ones(CHUNK_ROWS_MIN * 1536, np.uint16) for _ in range(128)]
del used
before = resident()
matrices = [Matrix(1536) for _ in range(64)]
for matrix in matrices:
    matrix.append(np.ones((1, 1536), np.float32))
assert sum(int(matrix.take(np.array([0])).sum()) for matrix in matrices) == 64 * 1536
ctypes.CDLL(None).malloc_trim(0)
print(resident() - before)
"""


def test_chunks_do_not_hold_what_was_freed() -> None:
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **KEEPING},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    # Or the 96 MB of the first arrays were the chunks' now, for one row in each.
    assert int(told.stdout) < -(64 << 20)
