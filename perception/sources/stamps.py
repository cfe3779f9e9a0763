"""Time stamps that jump: a camera that starts anew, has its clock set, or counts past what its stamps can hold; and
streams without any.

Media time is counted from the first picture on.  A stream whose stamps jump back would show nothing until they
come to where they were, which is hours; one whose stamps jump ahead would be hours ahead for good.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Final

from av.packet import Packet

BACK_S: Final = 1.0
"""By less, stamps may go back: pictures that lean on later ones are sent after them."""
AHEAD_S: Final = 60.0
"""A live stream may leave out so much, beside the time that it was silent for."""
STEP_S: Final = 1.0
"""More from one packet to the next is a pause."""
LEAD_S: Final = 10.0
"""So much of a live stream at least is looked at for how far it is at which time of the clock: its last packets may
have come late, since those before a silence are told from what follows them only when that is there."""


class Jumps:
    """What the streams of one medium know of each other's jumps.

    Pictures and sound jump together, each at its own packet, and neither ends where the other does: if each went
    on where it ended itself, they would be further apart at each join of a recording that is put together of many.
    """

    def __init__(self) -> None:
        self.shift_s = 0.0
        """Of the newest jump."""
        self.count = 0
        """Jumps so far."""
        self._end_s: float | None = None
        self._at_s = 0.0

    def reached(self, end_s: float, at_s: float) -> None:
        """A packet ends at ``end_s``, its stamps mended, and came at ``at_s`` of the clock."""
        if self._end_s is None or end_s > self.now_s(at_s):
            self._end_s, self._at_s = end_s, at_s

    def now_s(self, at_s: float) -> float:
        """Where the medium is at ``at_s`` of the clock: where the longest stream ended, and the time since."""
        return (self._end_s or 0.0) + at_s - self._at_s

    def jumped(self, shift_s: float) -> None:
        """A stream went over to this shift, as the first."""
        self.shift_s, self.count = shift_s, self.count + 1


class _Lead:
    """How far a live stream was ahead of the clock, by the promptest of its packets of late."""

    def __init__(self) -> None:
        self._now_s = self._before_s = -math.inf
        self._since_s = -math.inf

    def look(self, last_s: float, at_s: float) -> None:
        """A packet is at ``last_s``, its stamps mended, and came at ``at_s`` of the clock."""
        if last_s - self._since_s > LEAD_S:
            self._before_s, self._now_s, self._since_s = self._now_s, -math.inf, last_s
        self._now_s = max(self._now_s, last_s - at_s)

    @property
    def most_s(self) -> float:
        """Minus infinity before the first packet."""
        return max(self._before_s, self._now_s)


class Stamps:
    """Moves the stamps of one stream's packets, from a jump on, to where those before it ended.

    Of a recording this depends on its packets alone.  Its pauses are left as they are; a live stream goes on by as
    much as the clock did.
    """

    def __init__(
        self,
        *,
        is_live: bool,
        jumps: Jumps | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """jumps: of the medium, where it has other streams."""
        self._is_live = is_live
        self._jumps = jumps or Jumps()
        self._clock_s = clock_s
        self._shift_s = 0.0
        self._jumps_seen = 0
        self._last_s: float | None = None
        self._at_s = 0.0
        self._held: Packet[Any] | None = None
        """Of a recording, one that jumps or comes after a pause: whether the stream does is told by the next."""
        self._lead = _Lead()
        self._step_s = 0.0
        """From one packet to the next: transport streams do not tell how long a picture stands."""

    def mend(self, packet: Packet[Any]) -> list[Packet[Any]]:
        """Take the next packet, in the order of the medium; what is at its time now, in order."""
        held, self._held = self._held, None
        if held is not None:
            if self._is_wrong(held, packet):
                # One stamp alone, by a bit that a radio link turned, say.
                return [self._stepped(held), *self._mended(packet)]
            return [*self._mended(held), *self.mend(packet)]
        ahead_s = None if self._is_live else self._ahead_s(packet)
        if ahead_s is not None and not -BACK_S <= ahead_s <= STEP_S:
            self._held = packet
            return []
        return self._mended(packet)

    def _stepped(self, packet: Packet[Any]) -> Packet[Any]:
        """The packet, where the one after the last is to be expected."""
        assert self._last_s is not None
        assert packet.time_base is not None
        packet.dts = packet.pts = round((self._last_s + self._step_s) / float(packet.time_base))
        return packet

    def _is_wrong(self, held: Packet[Any], after: Packet[Any]) -> bool:
        """Whether the one that follows it goes on where the one before it was: not one behind a pause, nor behind
        another jump.
        """
        held_s, after_s = self._ahead_s(held), self._ahead_s(after)
        if held_s is None or after_s is None or not -BACK_S <= after_s <= AHEAD_S:
            return False
        return held_s < 0 or after_s < held_s - BACK_S

    def _ahead_s(self, packet: Packet[Any]) -> float | None:
        """From the last packet to this one; None where that is not to be told."""
        if packet.dts is None or packet.time_base is None or self._last_s is None:
            return None
        return packet.dts * float(packet.time_base) + self._shift_s - self._last_s

    def _mended(self, packet: Packet[Any]) -> list[Packet[Any]]:
        if packet.dts is None or packet.time_base is None:
            return [packet]
        base_s = float(packet.time_base)
        raw_s = packet.dts * base_s
        at_s = self._clock_s() if self._is_live else 0.0
        before_s = self._last_s
        if before_s is not None:
            self._look(raw_s, before_s, at_s)
        self._last_s, self._at_s = raw_s + self._shift_s, at_s
        self._lead.look(self._last_s, at_s)
        if before_s is not None and 0 < self._last_s - before_s <= STEP_S:
            self._step_s = self._last_s - before_s
        lasts_s = packet.duration * base_s if packet.duration else self._step_s
        self._jumps.reached(self._last_s + lasts_s, at_s)
        if (
            self._is_live
            and packet.pts is not None
            and abs(packet.pts - packet.dts) * base_s > AHEAD_S
        ):
            # Pictures lean on later ones, but no live one for so long: when it is to be shown is wrong.
            packet.pts = packet.dts
        if self._shift_s:
            shift = round(self._shift_s / base_s)
            packet.dts += shift
            if packet.pts is not None:
                packet.pts += shift
        return [packet]

    def _look(self, raw_s: float, last_s: float, at_s: float) -> None:
        """Choose another shift where this stamp jumped."""
        jumps = self._jumps
        if self._jumps_seen != jumps.count:
            # Another stream jumped.  This one did too where its stamp is nearer to the others' so.
            now_s = jumps.now_s(at_s)
            if abs(raw_s + jumps.shift_s - now_s) < abs(raw_s + self._shift_s - now_s):
                self._shift_s, self._jumps_seen = jumps.shift_s, jumps.count
        passed_s = at_s - self._at_s
        ahead_s = raw_s + self._shift_s - last_s
        if ahead_s < -BACK_S or (self._is_live and ahead_s > AHEAD_S + passed_s):
            on_s = at_s + self._lead.most_s if self._is_live else jumps.now_s(at_s)
            self._shift_s = on_s - raw_s
            jumps.jumped(self._shift_s)
            self._jumps_seen = jumps.count


class Arrivals:
    """Stamps the packets of a live stream that has no time stamps with the time that they come at.

    FFmpeg counts the pictures of such a stream, 25 a second: those of a camera that sends 5 would be told at a fifth of
    their time.
    """

    def __init__(self) -> None:
        self._began_s: float | None = None

    def mend(self, packet: Packet[Any]) -> list[Packet[Any]]:
        """Take the next packet, as it comes; the first is at the time that the stream says it begins at."""
        if not packet.size or packet.time_base is None:
            return [packet]
        at_s = time.monotonic()
        if self._began_s is None:
            self._began_s = at_s
        begin = packet.stream.start_time or 0
        packet.dts = begin + round((at_s - self._began_s) / float(packet.time_base))
        packet.pts = packet.dts
        return [packet]
