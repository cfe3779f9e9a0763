"""Forks programs of the crash tests, one for each message on the socket that is its first argument, from a process
that has loaded memdb: what `python -m PROGRAM` costs beyond that is an interpreter's start, a hundred times over.

A message is ``{"module": ..., "arguments": [...], "environment": {...}}`` with three file descriptors: standard
output, standard error, and where the program's process id is told, and its status when it is dead.
"""

from __future__ import annotations

import ctypes
import json
import os
import runpy
import signal
import socket
import sys
from functools import partial
from typing import Any

from memdb import failpoints
from tests.crash.forked import born, ended, load

LOADED = (
    *("memdb.config", "memdb.engine.database", "memdb.engine.restore", "memdb.store.cipher"),
    *("memdb.store.keyring", "memdb.store.rotation", "memdb.store.upgrade", "tests.crash.load"),
)
"""What most programs load; a program itself is loaded by each of its children."""
MESSAGE_BYTES_MAX = 1 << 20


def main() -> None:
    load(*LOADED)
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        keepers: list[int] = []
        while True:
            message, fds, _, _ = socket.recv_fds(asked, MESSAGE_BYTES_MAX, 3)
            keepers = [pid for pid in keepers if os.waitpid(pid, os.WNOHANG) == (0, 0)]
            if not message:
                break
            keepers.append(born(partial(_kept, json.loads(message), asked.fileno(), *fds)))
            for fd in fds:
                os.close(fd)
    for pid in keepers:
        ended(pid)


def _kept(asked: dict[str, Any], listening: int, out: int, err: int, told: int) -> int:
    """Between the two, so that each program is waited for as soon as it is dead."""
    os.close(listening)
    pid = born(partial(_live, asked, out, err, told))
    os.close(out)
    os.close(err)
    os.write(told, b"%d\n" % pid)
    os.write(told, b"%d\n" % ended(pid))
    return 0


def _live(asked: dict[str, Any], out: int, err: int, told: int) -> int:
    """The life of a program, as `python -m` begins it."""
    os.close(told)
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
