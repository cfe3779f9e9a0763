"""The pictures of a video stream, on the grid of media time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, cast

import av
from av.packet import Packet
from av.video.reformatter import VideoReformatter

from perception.encoders.base import Frame
from perception.sources.base import HOLE_NS, NS_PER_S, VideoFrame
from perception.sources.sound_grid import SoundGrid
from perception.sources.upright import Upright

if TYPE_CHECKING:
    # PyAV's packets are generic to type checkers only.
    _VideoPacket = Packet[av.VideoStream]
    _Decode = Callable[[Packet[Any]], list[Any]]

FRAME_WIDTH_MAX: Final = 1280
"""Wider pictures are scaled down when they are decoded; no encoder looks closer."""

LATE_S: Final = 1.0
"""A picture that is later than this is behind a pause, or its stamp is wrong."""
_RATE_HZ: Final = 25
"""Where a stream tells neither times nor a rate, as FFmpeg takes it."""
_GROUPS_KEPT: Final = 2
"""Keyframe groups decoded before the first frame wanted: pictures may lean on the group before."""


class FrameGrid:
    """The first picture of each period, and where none came although the recording went on, the one before."""

    def __init__(
        self,
        stream: av.VideoStream,
        period_ns: int,
        from_ns: int,
        decode: _Decode,
        *,
        is_live: bool = False,
        sound: SoundGrid | None = None,
    ) -> None:
        """is_live: nobody waits for the picture after one that comes late, which would tell whether its stamp is wrong.

        sound: of a recording; where it goes on for `HOLE_NS` or more without a picture, the last one stands.  A
        recorded screen, or a record with a picture to it, has a picture only where something changes.
        """
        self._decoded = decode
        self._period_ns = period_ns
        self._next_slot = -(-from_ns // period_ns)
        self._skipped: list[list[_VideoPacket]] | None = [] if from_ns > 0 else None
        self._sound = sound
        self._last: tuple[int, av.VideoFrame] | None = None
        """The newest picture, and its period."""
        # One for all: a picture that makes its own starts threads for it, which it keeps as long as it is there.
        self._scaler = VideoReformatter()
        self._upright = Upright()
        self._step_s = 1.0 / float(stream.guessed_rate or _RATE_HZ)
        self._time_s = 0.0
        """Where a picture without a time stamp would be."""
        self._is_live = is_live
        self._held: tuple[float, av.VideoFrame] | None = None
        """Of a recording, one behind a pause, and its time: whether there is one is told by the next."""
        self.pictures = 0
        """Decoded so far."""
        self.zero_s: float | None = None
        """Time stamp of the first picture, in seconds."""
        if stream.start_time is not None and stream.time_base is not None:
            self.zero_s = float(stream.start_time * stream.time_base)

    def decode(self, packet: _VideoPacket) -> Iterator[VideoFrame]:
        """What there is to be seen by this packet."""
        if self._skipped is not None:
            yield from self._skip(packet)
            return
        yield from self._frames(packet)

    def finish(self) -> Iterator[VideoFrame]:
        """The medium has ended; its sound may go on beyond its last picture."""
        if self._held is not None:
            yield from self._placed(*self._held)
        if self._sound is not None:
            yield from self._standing(self._slot(self._sound.until_ns / NS_PER_S))

    def _skip(self, packet: _VideoPacket) -> Iterator[VideoFrame]:
        """Keep undecoded packets of the newest keyframe groups until the first one that is
        wanted.
        """
        assert self._skipped is not None
        if packet.is_keyframe or not self._skipped:
            self._skipped = [*self._skipped[-(_GROUPS_KEPT - 1) :], []]
        self._skipped[-1].append(packet)
        is_end = packet.dts is None
        if is_end or self._is_wanted(packet):
            groups, self._skipped = self._skipped, None
            for group in groups:
                for held in group:
                    yield from self._frames(held)

    def _is_wanted(self, packet: _VideoPacket) -> bool:
        if packet.pts is None or packet.time_base is None:
            return False
        at_s = packet.pts * float(packet.time_base)
        return self._slot(at_s - (self.zero_s or 0.0)) >= self._next_slot

    def _frames(self, packet: _VideoPacket) -> Iterator[VideoFrame]:
        for frame in self._decoded(packet):
            assert isinstance(frame, av.VideoFrame)
            self.pictures += 1
            time_s = self._time_s if frame.time is None else frame.time
            held, self._held = self._held, None
            if held is not None:
                # Pictures come in order, or nearly: where this one is before it, its stamp alone was wrong.
                is_wrong = self._time_s - LATE_S <= time_s < held[0] - LATE_S
                yield from self._placed(self._time_s if is_wrong else held[0], held[1])
            if not self._is_live and self.pictures > 1 and time_s > self._time_s + LATE_S:
                self._held = time_s, frame
                continue
            yield from self._placed(time_s, frame)

    def _placed(self, time_s: float, frame: av.VideoFrame) -> Iterator[VideoFrame]:
        """What there is to be seen by a picture of this time."""
        self._time_s = time_s + self._step_s
        if self.zero_s is None:
            self.zero_s = time_s
        slot = self._slot(time_s - self.zero_s)
        yield from self._standing(slot)
        if self._sound is not None:
            self._last = (slot, frame)
        if slot >= self._next_slot:
            self._next_slot = slot + 1
            yield VideoFrame(slot * self._period_ns, self._pixels(frame))

    def _standing(self, before_slot: int) -> Iterator[VideoFrame]:
        """The last picture again, in each period from it on, where the sound says that the recording went on."""
        if self._last is None or self._sound is None or before_slot <= self._next_slot:
            return
        slot, frame = self._last
        start_ns, end_ns = (slot + 1) * self._period_ns, before_slot * self._period_ns
        if end_ns - start_ns < HOLE_NS or not self._sound.is_whole(start_ns, end_ns):
            return
        pixels = self._pixels(frame)
        while self._next_slot < before_slot:
            at, self._next_slot = self._next_slot, self._next_slot + 1
            yield VideoFrame(at * self._period_ns, pixels)

    def _pixels(self, frame: av.VideoFrame) -> Frame:
        """Upright, (height, width, 3), no wider than one looks."""
        scale = min(1.0, FRAME_WIDTH_MAX / frame.width)
        small = self._scaler.reformat(
            frame,
            width=max(2, round(frame.width * scale)),
            height=max(2, round(frame.height * scale)),
            format="rgb24",
            # Each camera has a thread that waits for it.
            threads=1,
        )
        return self._upright.turned(cast(Frame, small.to_ndarray()), frame)

    def _slot(self, time_s: float) -> int:
        """The period that a media time lies in."""
        # In nanoseconds, rounded: n/30 s must not fall short of the period that it begins.
        return (round(time_s * NS_PER_S) + 1000) // self._period_ns
