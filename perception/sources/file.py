"""Files, URLs and sound cards through FFmpeg (PyAV): frames on a grid and 16 kHz mono sound from one
pass over the packets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.container import InputContainer
from av.error import ExitError, HTTPClientError, HTTPServerError
from av.packet import Packet
from av.stream import Disposition

from memdb.errors import InvalidArgument
from perception.encoders.base import Frame
from perception.errors import SourceNotFound, SourceUnreadable
from perception.sources.base import (
    AUDIO_RATE_HZ,
    HOLE_NS,
    NS_PER_S,
    AudioChunk,
    MediaItem,
    Samples,
    VideoFrame,
)
from perception.sources.stamps import Arrivals, Stamps
from perception.sources.upright import upright

if TYPE_CHECKING:
    # PyAV's packets are generic to type checkers only.
    _VideoPacket = Packet[av.VideoStream]
    _AudioPacket = Packet[av.AudioStream]
    _Decode = Callable[[Packet[Any]], list[Any]]

FRAME_WIDTH_MAX: Final = 1280
"""Wider pictures are scaled down when they are decoded; no encoder looks closer."""

RATE_HZ_MAX: Final = 30.0

DEVICES: Final = ("alsa", "pulse", "oss")
"""Kinds of sound cards: ``alsa:default``, ``alsa:hw:1,0``, ``oss:/dev/dsp``; FFmpeg is built with some of them."""

_LIVE_SCHEMES: Final = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "srt", "udp", "rtp"})
_NO_TIMESTAMPS: Final = 0x80
"""FFmpeg's ``AVFMT_NOTIMESTAMPS``: a format of pictures, or of raw video, alone."""
_OPEN_TIMEOUT_S: Final = 10.0
_READ_TIMEOUT_S: Final = 30.0
_DRIFT_SAMPLES: Final = AUDIO_RATE_HZ // 5
"""Where sound and its time stamps part by more than this, silence is put in or sound left out."""
_SILENCE_SAMPLES: Final = 10 * AUDIO_RATE_HZ
_GROUPS_KEPT: Final = 2
"""Keyframe groups decoded before the first frame wanted: pictures may lean on the group before."""

_ABSENT: Final = (
    FileNotFoundError,
    ConnectionError,
    TimeoutError,
    ExitError,
    HTTPClientError,
    HTTPServerError,
)


class FileSource:
    """A media file, a URL that FFmpeg opens (``rtsp``, ``rtmp``, ``http``, ...), or a microphone
    (``alsa:default``, see `DEVICES`).

    Raises `SourceNotFound` when there is nothing there, `SourceUnreadable` when it is no media, or has
    neither pictures nor, where it is listened to, sound.
    """

    def __init__(self, address: str, *, rate_hz: float = 1.0, with_audio: bool = True) -> None:
        if not 0.0 < rate_hz <= RATE_HZ_MAX:
            raise InvalidArgument(
                f"rate lies in (0, {RATE_HZ_MAX:g}]",
                reason="OUT_OF_RANGE",
                field="rate",
                value=rate_hz,
            )
        self.address = address
        self.period_ns = round(NS_PER_S / rate_hz)
        self._container = _open(address)
        # A picture on the sleeve of a record is none of what it plays.
        videos = [
            stream
            for stream in self._container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]
        audio = self._container.streams.audio
        self._video = videos[0] if videos else None
        self._audio = audio[0] if with_audio and audio else None
        if self._video is None and self._audio is None:
            self._container.close()
            raise SourceUnreadable(
                "no video stream, and its sound is not listened to"
                if audio
                else "neither a video nor an audio stream",
                reason="NO_VIDEO",
                field="source",
                value=address,
            )
        if self._video is not None:
            self._video.thread_type = "AUTO"
        self._is_live = (
            _scheme(address) in _LIVE_SCHEMES
            or _device(address) is not None
            or self._container.duration is None
        )
        # A raw stream that is stored somewhere has a length in bytes, and does not come as it is made.
        self._is_unstamped = (
            self._is_live
            and bool(self._container.format.flags & _NO_TIMESTAMPS)
            and self._container.size <= 0
        )
        self._closed = False
        self._is_reading = False
        self._has_decoded = False
        self.damaged = 0
        """Packets so far that nothing could be made of: they are passed over, as every player does."""

    @property
    def is_live(self) -> bool:
        """By its scheme, or because it has no length."""
        return self._is_live

    @property
    def keeps_time(self) -> bool:
        """By its scheme, because it is a microphone, or because its time is that of its coming, as of a camera's
        pictures one by one (``http``); a recording without a length waits.
        """
        return (
            _scheme(self.address) in _LIVE_SCHEMES
            or _device(self.address) is not None
            or self._is_unstamped
        )

    @property
    def may_come_back(self) -> bool:
        """Whether it shows something else when it is opened again: what is live, but for a recording without a length
        (of a browser, or one that was cut off), which begins anew.
        """
        return self._is_live and not Path(self.address).is_file()

    @property
    def has_video(self) -> bool:
        """Whether it has pictures, beside one on its sleeve."""
        return self._video is not None

    @property
    def has_audio(self) -> bool:
        """Whether it has an audio stream, and sound was asked for."""
        return self._audio is not None

    def items(self, *, frames_from_ns: int = 0) -> Iterator[MediaItem]:
        """See `Source.items`; may be called once."""
        self._is_reading = True
        try:
            yield from self._items(frames_from_ns)
        finally:
            self._container.close()

    def close(self) -> None:
        """End the iteration at its next packet; the medium is let go of then."""
        self._closed = True
        if not self._is_reading:
            self._container.close()

    def _items(self, frames_from_ns: int) -> Iterator[MediaItem]:
        frames = (
            None
            if self._video is None
            else _FrameGrid(self._video, self.period_ns, frames_from_ns, self._decoded)
        )
        sound = _Sound(self._decoded) if self._audio is not None else None
        streams = [stream for stream in (self._video, self._audio) if stream is not None]
        stamps = {
            stream.index: Arrivals() if self._is_unstamped else Stamps(is_live=self._is_live)
            for stream in streams
        }
        try:
            for packet in self._container.demux(streams):
                if self._closed:
                    return
                stamps[packet.stream.index].mend(packet)
                if frames is not None and packet.stream is self._video:
                    yield from frames.decode(cast("_VideoPacket", packet))
                    zero_s = frames.zero_s
                    if sound is not None and zero_s is not None and sound.zero_s is None:
                        yield from sound.begin(zero_s)
                elif sound is not None:
                    if frames is None and sound.zero_s is None:
                        sound.begins()
                    yield from sound.decode(cast("_AudioPacket", packet))
        except av.FFmpegError as error:
            if self._closed:
                return
            raise SourceUnreadable(
                f"reading broke off: {_reason(error, _READ_TIMEOUT_S)}",
                field="source",
                value=self.address,
            ) from error
        if self.damaged and not self._has_decoded:
            raise SourceUnreadable(
                f"nothing can be decoded of it, {self.damaged} packets",
                field="source",
                value=self.address,
            )
        if sound is not None:
            yield from sound.finish()

    def _decoded(self, packet: Packet[Any]) -> list[Any]:
        """The frames of a packet; none of a damaged one, such as a radio link makes many of."""
        try:
            frames = packet.decode()
        except av.FFmpegError:
            self.damaged += 1
            return []
        self._has_decoded = self._has_decoded or bool(frames)
        return list(frames)


class _FrameGrid:
    """The first picture of each period."""

    def __init__(
        self, stream: av.VideoStream, period_ns: int, from_ns: int, decode: _Decode
    ) -> None:
        self._decoded = decode
        self._period_ns = period_ns
        self._next_slot = -(-from_ns // period_ns)
        self._skipped: list[list[_VideoPacket]] | None = [] if from_ns > 0 else None
        self.zero_s: float | None = None
        """Time stamp of the first picture, in seconds."""
        if stream.start_time is not None and stream.time_base is not None:
            self.zero_s = float(stream.start_time * stream.time_base)

    def decode(self, packet: _VideoPacket) -> Iterator[VideoFrame]:
        if self._skipped is not None:
            yield from self._skip(packet)
            return
        yield from self._frames(packet)

    def _skip(self, packet: _VideoPacket) -> Iterator[VideoFrame]:
        """Keep undecoded packets of the newest keyframe groups until the first one that is
        wanted.
        """
        assert self._skipped is not None
        if packet.is_keyframe or not self._skipped:
            self._skipped = [*self._skipped[-(_GROUPS_KEPT - 1) :], []]
        self._skipped[-1].append(packet)
        is_end = packet.dts is None
        if is_end or self._slot(packet.pts, packet.time_base) >= self._next_slot:
            groups, self._skipped = self._skipped, None
            for group in groups:
                for held in group:
                    yield from self._frames(held)

    def _frames(self, packet: _VideoPacket) -> Iterator[VideoFrame]:
        for frame in self._decoded(packet):
            assert isinstance(frame, av.VideoFrame)
            if self.zero_s is None:
                self.zero_s = frame.time or 0.0
            slot = self._slot(frame.pts, frame.time_base)
            if slot < self._next_slot:
                continue
            self._next_slot = slot + 1
            scale = min(1.0, FRAME_WIDTH_MAX / frame.width)
            small = frame.reformat(
                width=max(2, round(frame.width * scale)),
                height=max(2, round(frame.height * scale)),
                format="rgb24",
            )
            pixels = upright(cast(Frame, small.to_ndarray()), frame)
            yield VideoFrame(slot * self._period_ns, pixels)

    def _slot(self, pts: int | None, time_base: object) -> int:
        """The period that a time stamp lies in; a picture without one is the next wanted."""
        if pts is None or time_base is None:
            return -1
        # In nanoseconds, rounded: n/30 s must not fall short of the period that it begins.
        time_ns = round((pts * float(time_base) - (self.zero_s or 0.0)) * NS_PER_S)  # type: ignore[arg-type]
        return (time_ns + 1000) // self._period_ns


class _Sound:
    """The audio stream on the 16 kHz grid of media time, without holes."""

    def __init__(self, decode: _Decode) -> None:
        self._decoded = decode
        self._resampler = AudioResampler(format="flt", layout="mono", rate=AUDIO_RATE_HZ)
        self._early: list[_AudioPacket] = []
        self._next_sample: int | None = None
        self.zero_s: float | None = None
        """Time stamp of media time 0, in seconds, once it is known."""
        self._begins = False

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
        if self.zero_s is None and not self._begins:
            self._early.append(packet)
            return
        for frame in self._decoded(packet):
            assert isinstance(frame, av.AudioFrame)
            time_s = frame.time
            if self.zero_s is None:
                self.zero_s = time_s or 0.0
            expected = None if time_s is None else round((time_s - self.zero_s) * AUDIO_RATE_HZ)
            for resampled in self._resampler.resample(frame):
                yield from self._placed(_samples(resampled), expected)
                expected = None

    def finish(self) -> Iterator[AudioChunk]:
        if self._next_sample is not None:
            for resampled in self._resampler.resample(None):
                yield from self._placed(_samples(resampled), None)

    def _placed(self, samples: Samples, expected: int | None) -> Iterator[AudioChunk]:
        if self._next_sample is None:
            self._next_sample = expected or 0
        drift = 0 if expected is None else expected - self._next_sample
        if drift > _DRIFT_SAMPLES:
            # A hole in the recording: silence keeps what follows at its time.
            # In pieces: it may be of a day, where a stamp is wrong.
            is_hole = drift * NS_PER_S >= HOLE_NS * AUDIO_RATE_HZ
            for begin in range(0, drift, _SILENCE_SAMPLES):
                silence = np.zeros(min(_SILENCE_SAMPLES, drift - begin), np.float32)
                yield AudioChunk(self._next_sample, silence, is_hole)
                self._next_sample += len(silence)
        elif drift < -_DRIFT_SAMPLES:
            samples = samples[min(-drift, len(samples)) :]
        if len(samples):
            yield AudioChunk(self._next_sample, np.ascontiguousarray(samples, np.float32))
            self._next_sample += len(samples)


def _samples(frame: av.AudioFrame) -> Samples:
    return cast(Samples, frame.to_ndarray().reshape(-1))


def may_appear(address: str) -> bool:
    """Whether what is absent may be there later by itself: a microphone, or what is at the other end of a network."""
    return bool(_scheme(address)) or _device(address) is not None


def _open(address: str) -> InputContainer:
    scheme, device = _scheme(address), _device(address)
    if not scheme and device is None and not Path(address).exists():
        raise SourceNotFound("no such file", field="source", value=address)
    if device is not None and device not in av.formats_available:
        raise SourceUnreadable(
            f"this build of FFmpeg knows no {device}", field="source", value=address
        )
    options = {"rtsp_transport": "tcp"} if scheme in {"rtsp", "rtsps"} else {}
    name = address if device is None else address.removeprefix(f"{device}:")
    try:
        return av.open(
            name, format=device, options=options, timeout=(_OPEN_TIMEOUT_S, _READ_TIMEOUT_S)
        )
    except (OSError, av.FFmpegError) as error:
        kind = SourceNotFound if isinstance(error, _ABSENT) else SourceUnreadable
        raise kind(
            f"cannot be opened: {_reason(error, _OPEN_TIMEOUT_S)}", field="source", value=address
        ) from error


def _reason(error: OSError | av.FFmpegError, timeout_s: float) -> str:
    """What went wrong, in words; a timeout of ours is an "immediate exit" to FFmpeg."""
    if isinstance(error, ExitError):
        return f"nothing came for {timeout_s:g} s"
    return error.strerror or str(error)


def _device(address: str) -> str | None:
    """The kind of sound card that an address names; None for a file of that name, and for any other."""
    head, separator, _ = address.partition(":")
    is_device = separator and head in DEVICES and not Path(address).exists()
    return head if is_device else None


def _scheme(address: str) -> str:
    head, separator, _ = address.partition("://")
    return head.lower() if separator else ""
