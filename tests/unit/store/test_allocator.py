"""What LMDB frees after a large commit stays with the process for the next one."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from memdb.store import allocator, libc

PROGRAM = """
import ctypes, resource, sys, threading
from memdb.store import allocator, libc

allocate = libc.function("malloc", ctypes.c_size_t, returns=ctypes.c_void_p)
free = libc.function("free", ctypes.c_void_p, returns=None)

def commit():
    blocks = [allocate(200_000) for _ in range(40)]
    for block in blocks:
        ctypes.memset(block, 1, 200_000)
    for block in blocks:
        free(block)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        commit()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, flush=True)

def all_of_it():
    commit()
    faults()
    allocator.learn(int(sys.argv[1]))
    commit()
    faults()

thread = threading.Thread(target=all_of_it)
thread.start()
thread.join()
"""


def faults(bytes_hint: int, **environment: str) -> tuple[int, int]:
    """Page faults of ten commits' memory before and after a commit of so many bytes is told of."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("another C library")
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_"))
    }
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(bytes_hint)],
        env=kept | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    before, after = map(int, told.stdout.split())
    return before, after


def test_pages_are_not_the_kernels_to_make_for_each_commit() -> None:
    before, after = faults(allocator.COMMIT_BYTES_MIN)
    assert before > 10_000, "ten times 8 MB, or this tells nothing"
    assert after < before // 10


def test_who_commits_little_has_the_thresholds_that_there_are() -> None:
    _, after = faults(allocator.COMMIT_BYTES_MIN - 1)
    assert after > 10_000


def test_what_the_application_has_set_stays() -> None:
    _, after = faults(allocator.COMMIT_BYTES_MIN, MALLOC_TRIM_THRESHOLD_="131072")
    assert after > 10_000


def test_it_is_done_once_and_without_memory_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def none(size: int) -> None:
        asked.append(size)

    monkeypatch.setattr(allocator, "_has_learned", False)
    monkeypatch.setattr(libc, "function", lambda *_, **__: none)
    allocator.learn(allocator.COMMIT_BYTES_MIN)
    allocator.learn(allocator.COMMIT_BYTES_MIN)
    assert asked == [allocator.BLOCK_BYTES]
