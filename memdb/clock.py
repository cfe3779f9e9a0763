"""Wall time as an argument, so that tests own it.

All times are UTC nanoseconds since the Unix epoch.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where `memdb` takes the time from; operations carry the result, so replay never reads a
    clock.
    """

    def now_ns(self) -> int:
        """Current UTC time in nanoseconds since the epoch."""
        ...


class SystemClock:
    """The machine's clock."""

    __slots__ = ()

    def now_ns(self) -> int:
        return time.time_ns()


class ManualClock:
    """A clock that moves only when told."""

    __slots__ = ("_now_ns",)

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns

    def advance(self, delta_ns: int) -> None:
        """Move by ``delta_ns`` (negative: a clock that was set back)."""
        self._now_ns += delta_ns
