"""Wall time and time that passes, as arguments, so that tests own them.

Wall times are UTC nanoseconds since the Unix epoch.
"""

from __future__ import annotations

import sys
import time
from typing import Protocol


class Clock(Protocol):
    """Where `memdb` takes the time from; operations carry the result, so replay never reads a
    clock.
    """

    def now_ns(self) -> int:
        """Current UTC time in nanoseconds since the epoch."""
        ...

    def steady_ns(self) -> int:
        """Nanoseconds since some moment before this process began; nobody can set it."""
        ...


class SystemClock:
    """The machine's clock."""

    __slots__ = ()

    def now_ns(self) -> int:
        return time.time_ns()

    def steady_ns(self) -> int:
        if sys.platform == "linux":
            # Goes on while the machine sleeps, which CLOCK_MONOTONIC does not.
            return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return time.monotonic_ns()


class ManualClock:
    """A clock that moves only when told."""

    __slots__ = ("_now_ns", "_steady_ns")

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_ns = now_ns
        self._steady_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def steady_ns(self) -> int:
        return self._steady_ns

    def advance(self, delta_ns: int) -> None:
        """Let ``delta_ns`` pass; negative: `jump`."""
        self._now_ns += delta_ns
        self._steady_ns += max(0, delta_ns)

    def jump(self, delta_ns: int) -> None:
        """Set the wall clock by ``delta_ns``; no time passes."""
        self._now_ns += delta_ns
