"""Forks programs of the crash tests, one for each message on the socket that is its first argument, from a process
that has loaded memdb: what `python -m PROGRAM` costs beyond that is an interpreter's start, a hundred times over.

A message is ``{"module": ..., "arguments": [...], "environment": {...}}`` with two file descriptors: standard
output and standard error.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from typing import Any

from memdb import failpoints
from tests.forked.loading import load
from tests.forked.nursery import fork_for_each

LOADED = (
    *("memdb.config", "memdb.engine.database", "memdb.engine.restore", "memdb.store.cipher"),
    *("memdb.store.keyring", "memdb.store.rotation", "memdb.store.upgrade", "tests.crash.load"),
)
"""What most programs load; a program itself is loaded by each of its children."""


def main() -> None:
    load(*LOADED)
    fork_for_each(_live, 2)


def _live(asked: dict[str, Any], out: int, err: int) -> int:
    """The life of a program, as `python -m` begins it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for fd, given in ((1, out), (2, err)):
        os.dup2(given, fd)
        os.close(given)
    os.environ.clear()
    os.environ.update(asked["environment"])
    if "POWER_LOG" in os.environ:
        # `tests/crash/power/recorder.c`, with which this process was started.
        ctypes.CDLL(os.environ["LD_PRELOAD"]).power_begin()
    # Read from the environment when it was loaded, before the fork.
    failpoints.arm(os.environ.get("MEMDB_FAILPOINTS", ""))
    sys.argv = [asked["module"], *asked["arguments"]]
    try:
        runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    finally:
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    main()
