"""Tells when acknowledgements stay away and when they come again: an ingest waits patiently for a
server that went away, and silence looks like a hang.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

STALL_AFTER_S: Final = 5.0


class StallWatch:
    """Looks at one camera's acknowledgements; one line when they stall, one when they go on."""

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
        self._is_stalled = False

    def look(self, waiting: int, writes: int) -> None:
        """waiting: clips not acknowledged.  writes: acknowledgements so far."""
        now_s = self._clock_s()
        if not waiting or writes != self._writes:
            if self._is_stalled:
                self._report_line(f"{self._camera}: the server acknowledges again")
            self._is_stalled = False
            self._writes, self._since_s = writes, now_s
        elif not self._is_stalled and now_s - self._since_s >= STALL_AFTER_S:
            self._is_stalled = True
            clips = "1 clip" if waiting == 1 else f"{waiting} clips"
            self._report_line(f"{self._camera}: waiting for the server, {clips} not acknowledged")
