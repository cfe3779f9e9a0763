"""The threads of numpy's BLAS in a process of `memdb`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COUNT = """
import os
from memdb.cli.main import main
main(["config", "print"])
import numpy
print(len(os.listdir("/proc/self/task")))
"""


def threads(**changes: str) -> int:
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"} | changes
    run = subprocess.run(
        [sys.executable, "-c", COUNT], capture_output=True, text=True, check=True, env=environment
    )
    return int(run.stdout.splitlines()[-1])


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or (os.cpu_count() or 1) < 2,
    reason="looks at /proc, and at a second processor",
)
def test_blas_has_one_thread_unless_told_otherwise() -> None:
    assert threads() == 1
    assert threads(OPENBLAS_NUM_THREADS="2") == 2
