"""Children that live one life each, forked from a process that has the modules they need (`tests.forked.loading`)."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable


def born(life: Callable[[], int]) -> int:
    """Fork a child that lives and ends with the status that its life returns, with 1 and a traceback
    where it raises; its process id.
    """
    pid = os.fork()
    if pid != 0:
        return pid
    status = 1
    try:
        status = life()
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        # Whatever happened: nothing of its parent's may run on in it.
        sys.stderr.flush()
        os._exit(status)


def ended(pid: int) -> int:
    """Wait until a child is dead; its exit status."""
    return ended_after(pid)[0]


def ended_after(pid: int) -> tuple[int, float]:
    """Wait until a child is dead; its exit status, and the seconds of processor that it took, with those of every
    process that it waited for."""
    _, status, taken = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), taken.ru_utime + taken.ru_stime
