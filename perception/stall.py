"""Tells when acknowledgements stay away and when they come again: an ingest waits patiently for a
server that went away, and silence looks like a hang.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

STALL_AFTER_S: Final = 5.0
TELL_EVERY_S: Final = 600.0
"""While it lasts, for whoever reads the newest lines of a log of months."""


class StallWatch:
    """Looks at one camera's acknowledgements; a line when they stall, one now and then, one when they go on."""

    def __init__(
        self,
        camera: str,
        report_line: Callable[[str], None],
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._camera = camera
        self._report_line = report_line
        self._clock_s = clock_s
        self._writes = -1
        self._since_s = 0.0
        self._told_s = 0.0
        self._left_out_before = 0
        self.is_stalled = False
        """Whether nothing was acknowledged for `STALL_AFTER_S`, at the last look."""

    def look(self, waiting: int, writes: int, left_out: int = 0) -> None:
        """waiting: clips not acknowledged.  writes: acknowledgements so far.  left_out: clips given up so far."""
        now_s = self._clock_s()
        if not waiting or writes != self._writes:
            if self.is_stalled:
                lost = max(0, left_out - self._left_out_before)
                missing = f"; {_clips(lost)} left out meanwhile" if lost else ""
                self._report_line(f"{self._camera}: the server acknowledges again{missing}")
            self.is_stalled = False
            self._writes, self._since_s = writes, now_s
            self._left_out_before = left_out
        elif now_s - self._since_s >= STALL_AFTER_S and (
            not self.is_stalled or now_s - self._told_s >= TELL_EVERY_S
        ):
            lost = max(0, left_out - self._left_out_before)
            self.is_stalled, self._told_s = True, now_s
            self._report_line(
                f"{self._camera}: waiting for the server, {_clips(waiting)} not acknowledged"
                + (f", {_clips(lost)} left out" if lost else "")
            )


def _clips(count: int) -> str:
    return "1 clip" if count == 1 else f"{count} clips"
