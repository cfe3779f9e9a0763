"""The allocator takes what it is told, where there is one."""

from __future__ import annotations

import platform
import subprocess
import sys


def test_glibc_takes_every_setting() -> None:
    # In a process of its own: the settings are for life.
    code = "from memdb.server.allocator import keep_memory; print(keep_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(platform.libc_ver()[0] == "glibc")
