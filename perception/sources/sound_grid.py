"""The sound of an audio stream, on the 16 kHz grid of media time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, cast

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.packet import Packet

from perception.sources.base import AUDIO_RATE_HZ, HOLE_NS, NS_PER_S, AudioChunk, Samples

if TYPE_CHECKING:
    # PyAV's packets are generic to type checkers only.
    _AudioPacket = Packet[av.AudioStream]
    _Decode = Callable[[Packet[Any]], list[Any]]

_DRIFT_SAMPLES: Final = AUDIO_RATE_HZ // 5
"""Where sound and its time stamps part by more than this, silence is put in or sound left out."""
_SILENCE_SAMPLES: Final = 10 * AUDIO_RATE_HZ
_HOLES_KEPT: Final = 1024
"""More than there are between a picture and the sound that is read before it; a live source goes on for months."""


class SoundGrid:
    """The audio stream on the 16 kHz grid of media time, without holes."""

    def __init__(self, decode: _Decode) -> None:
        self._decoded = decode
        self._resampler = _resampler()
        self._form: tuple[str, str, int] | None = None
        """Of the sound that the resampler takes."""
        self._early: list[_AudioPacket] = []
        self._next_sample: int | None = None
        self.zero_s: float | None = None
        """Time stamp of media time 0, in seconds, once it is known."""
        self._begins = False
        self._first_sample: int | None = None
        self._holes: deque[tuple[int, int]] = deque(maxlen=_HOLES_KEPT)
        """The first sample of each, and the first behind it."""

    @property
    def until_ns(self) -> int:
        """Media time up to which there was sound."""
        return _ns(self._next_sample or 0)

    def is_whole(self, start_ns: int, end_ns: int) -> bool:
        """Whether there is sound all along, without a hole; what was read last may be missing yet.

        To be asked of later and later stretches.  The sound may be far ahead: pictures are decoded on many threads, and
        come when later ones have been read.
        """
        if self._first_sample is None or _ns(self._first_sample) > start_ns:
            return False
        while self._holes and _ns(self._holes[0][1]) <= start_ns:
            self._holes.popleft()
        is_broken = bool(self._holes) and _ns(self._holes[0][0]) < end_ns
        return not is_broken and end_ns - self.until_ns < HOLE_NS

    def begins(self) -> None:
        """Media time 0 is the first sound."""
        self._begins = True

    def begin(self, zero_s: float) -> Iterator[AudioChunk]:
        """Fix media time 0, and give what came before it was known."""
        self.zero_s = zero_s
        early, self._early = self._early, []
        for packet in early:
            yield from self.decode(packet)

    def decode(self, packet: _AudioPacket) -> Iterator[AudioChunk]:
        """What there is to be heard by this packet."""
        if self.zero_s is None and not self._begins:
            self._early.append(packet)
            return
        for frame in self._decoded(packet):
            assert isinstance(frame, av.AudioFrame)
            time_s = frame.time
            if self.zero_s is None:
                self.zero_s = time_s or 0.0
            expected = None if time_s is None else round((time_s - self.zero_s) * AUDIO_RATE_HZ)
            form = (frame.format.name, frame.layout.name, frame.sample_rate)
            if form != self._form:
                # A transport stream may change it on its way; a resampler takes one.
                yield from self.finish()
                self._form, self._resampler = form, _resampler()
            for resampled in self._resampler.resample(frame):
                yield from self._placed(_samples(resampled), expected)
                expected = None

    def finish(self) -> Iterator[AudioChunk]:
        """What is still held back, at the end."""
        if self._next_sample is not None:
            for resampled in self._resampler.resample(None):
                yield from self._placed(_samples(resampled), None)

    def _placed(self, samples: Samples, expected: int | None) -> Iterator[AudioChunk]:
        if self._next_sample is None:
            self._next_sample = self._first_sample = expected or 0
        drift = 0 if expected is None else expected - self._next_sample
        if drift > _DRIFT_SAMPLES:
            # A hole in the recording: silence keeps what follows at its time.
            # In pieces: it may be of a day, where a stamp is wrong.
            is_hole = drift * NS_PER_S >= HOLE_NS * AUDIO_RATE_HZ
            if is_hole:
                self._holes.append((self._next_sample, self._next_sample + drift))
            for begin in range(0, drift, _SILENCE_SAMPLES):
                silence = np.zeros(min(_SILENCE_SAMPLES, drift - begin), np.float32)
                yield AudioChunk(self._next_sample, silence, is_hole)
                self._next_sample += len(silence)
        elif drift < -_DRIFT_SAMPLES:
            samples = samples[min(-drift, len(samples)) :]
        if len(samples):
            yield AudioChunk(self._next_sample, np.ascontiguousarray(samples, np.float32))
            self._next_sample += len(samples)


def _ns(sample: int) -> int:
    """Media time of a sample."""
    return sample * NS_PER_S // AUDIO_RATE_HZ


def _resampler() -> AudioResampler:
    return AudioResampler(format="flt", layout="mono", rate=AUDIO_RATE_HZ)


def _samples(frame: av.AudioFrame) -> Samples:
    return cast(Samples, frame.to_ndarray().reshape(-1))
