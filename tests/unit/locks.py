"""Locks that interrupts may have left behind."""

from __future__ import annotations

import threading
from types import CodeType

from memdb import news


def in_a_wait(code: CodeType) -> bool:
    """Whether it is in Python's own way to wait for news, or in ours."""
    return code.co_filename in (threading.__file__, news.__file__)


def is_free(lock: threading.RLock) -> bool:
    """Whether a thread that comes now has it at once."""
    found: list[bool] = []

    def take() -> None:
        found.append(lock.acquire(blocking=False))
        if found[0]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return found[0]
