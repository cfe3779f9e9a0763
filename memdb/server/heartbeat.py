"""How late the event loop is: whatever blocks it holds up every call of every user.

A timer every `PERIOD_S`; how much later than it was due it comes is how long the loop did something
else.  Either the loop computed that long itself, which is a fault of ours, or it was ready and not let: by
threads that held the interpreter, or by other processes.  The loop's own processor time tells the two apart.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from memdb.eventlog import event_log
from memdb.server.metrics import Counter, Gauge, Histogram, Metric

PERIOD_S: Final = 0.05
STALL_S: Final = 0.05
"""Later than this is a stall."""
LOG_INTERVAL_S: Final = 10.0
"""At most one warning in so long, which tells how many stalls there were since the one before."""

log = event_log("memdb.server")


class Heartbeat:
    """The beat of one event loop; all of it runs there."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        busy: Callable[[], float] = time.thread_time,
    ) -> None:
        """clock, busy: seconds that pass, and those that this thread computed."""
        self._clock = clock
        self._busy = busy
        self._due = 0.0
        self._busy_then = 0.0
        self._logged = -LOG_INTERVAL_S
        self._unlogged = 0
        self._timer: asyncio.TimerHandle | None = None
        self._lateness = Histogram(
            "memdb_loop_lateness_seconds",
            "How much later than due a timer of the event loop came.",
            (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
        )
        self._longest = Gauge(
            "memdb_loop_lateness_max_seconds", "The largest lateness since the start."
        )
        self._stalls = Counter(
            "memdb_loop_stalls_total", "Timers of the event loop that were more than 50 ms late."
        )
        self._own = Counter(
            "memdb_loop_busy_seconds_total", "Processor time that the event loop's thread took."
        )

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is known of the loop."""
        return self._lateness, self._longest, self._stalls, self._own

    @property
    def stalls(self) -> int:
        """How many timers were more than `STALL_S` late."""
        return int(self._stalls.value)

    def start(self) -> None:
        """Begin to beat, on the loop that runs."""
        self._busy_then = self._busy()
        self._set()

    def stop(self) -> None:
        """Beat no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def beat(self) -> None:
        """Note how late it is."""
        late_s = max(self._clock() - self._due, 0.0)
        busy = self._busy()
        own_s, self._busy_then = busy - self._busy_then, busy
        self._lateness.observe(late_s)
        self._own.add(own_s)
        self._longest.value = max(self._longest.value, late_s)
        if late_s > STALL_S:
            self._stalls.add(1)
            self._tell(late_s, own_s)

    def _tell(self, late_s: float, own_s: float) -> None:
        self._unlogged += 1
        now = self._clock()
        if now - self._logged < LOG_INTERVAL_S:
            return
        log.warning(
            "the event loop was late",
            extra={
                "fields": {
                    "late_ms": round(late_s * 1e3, 1),
                    "loop_busy_ms": round(own_s * 1e3, 1),
                    "stalls": self._unlogged,
                }
            },
        )
        self._logged, self._unlogged = now, 0

    def _set(self) -> None:
        self._due = self._clock() + PERIOD_S
        self._timer = asyncio.get_running_loop().call_later(PERIOD_S, self._beat)

    def _beat(self) -> None:
        self.beat()
        self._set()
