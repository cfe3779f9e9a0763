"""A live camera's time and the wall clock that part: the camera's clock drifts, or the machine's was set.

Event time of a live source is that of its first picture by the wall clock, and from there on the source's own.  Over
months a camera's clock is minutes off, and a machine that starts without the time is years off until it is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from perception.sources.base import NS_PER_S

SLIP_NS: Final = 30 * NS_PER_S
"""More than a source may hold back, or send at once: a group of pictures, or those that wait to be looked at."""


class ClockSlip:
    """Compares the media time of one live source with the wall clock, from its first picture or sound on."""

    def __init__(self, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._wall_ns = wall_ns
        self._began_ns: int | None = None

    def look(self, media_ns: int) -> int | None:
        """By how much the wall clock went further than the source did, where that is too much.

        media_ns: of what was just read.
        """
        began_ns = self._wall_ns() - media_ns
        if self._began_ns is None:
            self._began_ns = began_ns
        slip_ns = began_ns - self._began_ns
        return slip_ns if abs(slip_ns) > SLIP_NS else None
