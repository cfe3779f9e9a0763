"""Ctrl-C in Python's own way to a lock: whoever comes next must find it free."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType

_WAITS_S = 10.0


def free_after_each_interrupt(call: Callable[[], object], comes_next: Callable[[], object]) -> int:
    """Interrupt a call at each place of `threading`'s functions where one may come; how many there are.

    comes_next: what takes the lock as well, on another thread.
    """
    for times in range(1, 100):
        if not _interrupted(call, times):
            return times - 1
        next_one = threading.Thread(target=comes_next, daemon=True)
        next_one.start()
        next_one.join(_WAITS_S)
        assert not next_one.is_alive(), f"interrupted at place {times}: the lock is nobody's"
    raise AssertionError("it has no end")


def _interrupted(call: Callable[[], object], times: int) -> bool:
    left = times

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal left
        if event in ("call", "c_return") and frame.f_code.co_filename == threading.__file__:
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False
