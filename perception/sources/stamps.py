"""Time stamps that jump: a camera that starts anew, has its clock set, or counts past what its stamps can hold; and
streams without any.

Media time is counted from the first picture on.  A stream whose stamps jump back would show nothing until they
come to where they were, which is hours; one whose stamps jump ahead would be hours ahead for good.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from av.packet import Packet

BACK_S: Final = 1.0
"""By less, stamps may go back: pictures that lean on later ones are sent after them."""
AHEAD_S: Final = 60.0
"""A live stream may leave out so much, beside the time that it was silent for."""


class Stamps:
    """Moves the stamps of one stream's packets, from a jump on, to where those before it ended.

    Of a recording this depends on its packets alone.  Its pauses are left as they are; a live stream goes on by as
    much as the clock did.
    """

    def __init__(self, *, is_live: bool, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._is_live = is_live
        self._clock_s = clock_s
        self._shift_s = 0.0
        self._last_s: float | None = None
        self._at_s = 0.0

    def mend(self, packet: Packet[Any]) -> None:
        """Take the next packet, in the order of the medium."""
        if packet.dts is None or packet.time_base is None:
            return
        base_s = float(packet.time_base)
        stamp_s = packet.dts * base_s + self._shift_s
        at_s = self._clock_s() if self._is_live else 0.0
        if self._last_s is not None:
            passed_s = at_s - self._at_s
            ahead_s = stamp_s - self._last_s
            if ahead_s < -BACK_S or (self._is_live and ahead_s > AHEAD_S + passed_s):
                self._shift_s += passed_s - ahead_s
                stamp_s = self._last_s + passed_s
        self._last_s, self._at_s = stamp_s, at_s
        if self._shift_s:
            shift = round(self._shift_s / base_s)
            packet.dts += shift
            if packet.pts is not None:
                packet.pts += shift


class Arrivals:
    """Stamps the packets of a live stream that has no time stamps with the time that they come at.

    FFmpeg counts the pictures of such a stream, 25 a second: those of a camera that sends 5 would be told at a fifth of
    their time.
    """

    def __init__(self, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._began_s: float | None = None

    def mend(self, packet: Packet[Any]) -> None:
        """Take the next packet, as it comes; the first is at the time that the stream says it begins at."""
        if not packet.size or packet.time_base is None:
            return
        at_s = self._clock_s()
        if self._began_s is None:
            self._began_s = at_s
        begin = packet.stream.start_time or 0
        packet.dts = begin + round((at_s - self._began_s) / float(packet.time_base))
        packet.pts = packet.dts
