"""Files, URLs and sound cards through FFmpeg (PyAV): frames on a grid and 16 kHz mono sound from one
pass over the packets.
"""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import av
from av.container import InputContainer
from av.error import ExitError, HTTPClientError, HTTPServerError, InvalidDataError
from av.packet import Packet
from av.stream import Discard, Disposition

from memdb.errors import InvalidArgument
from perception.errors import SourceNotFound, SourceUnreadable
from perception.sources.address import LIVE_SCHEMES, device, is_file, resolved, scheme, shown
from perception.sources.base import NS_PER_S, MediaItem
from perception.sources.frame_grid import FrameGrid
from perception.sources.sight import Sight
from perception.sources.sound_grid import SoundGrid
from perception.sources.sound_tracks import heard_of
from perception.sources.stamps import Arrivals, Jumps, Stamps
from perception.sources.unreadable import likely

if TYPE_CHECKING:
    # PyAV's packets are generic to type checkers only.
    _VideoPacket = Packet[av.VideoStream]
    _AudioPacket = Packet[av.AudioStream]

RATE_HZ_MAX: Final = 30.0

_NO_TIMESTAMPS: Final = 0x80
"""FFmpeg's ``AVFMT_NOTIMESTAMPS``: a format of pictures, or of raw video, alone."""
_OPEN_TIMEOUT_S: Final = 10.0
_READ_TIMEOUT_S: Final = 30.0

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
    (``alsa:default``, see `perception.sources.address.DEVICES`).

    Raises `SourceNotFound` when there is nothing there, `SourceUnreadable` when it is no media, or has
    neither pictures nor, where it is listened to, sound.
    """

    def __init__(
        self,
        address: str,
        *,
        rate_hz: float = 1.0,
        with_audio: bool = True,
        sound_track: int | str | None = None,
    ) -> None:
        self.period_ns = round(NS_PER_S / checked_rate(rate_hz))
        self.address = address
        self._container = _open(address)
        # A picture on the sleeve of a record is none of what it plays.
        videos = [
            stream
            for stream in self._container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]
        audio = self._container.streams.audio
        self._video = videos[0] if videos else None
        self._audio = None
        if with_audio and audio:
            try:
                self._audio = heard_of(audio, sound_track)
            except SourceUnreadable as error:
                self._container.close()
                error.field, error.value = "source", shown(address)
                raise
        if self._video is None and self._audio is None:
            self._container.close()
            raise SourceUnreadable(
                "no video stream, and its sound is not listened to"
                if audio
                else "neither a video nor an audio stream",
                reason="NO_VIDEO",
                field="source",
                value=shown(address),
            )
        for stream in self._container.streams:
            if stream not in (self._video, self._audio):
                # Not even fetched: a playlist names the same film in several sizes.
                stream.discard = Discard.all
        if self._video is not None:
            self._video.thread_type = "AUTO"
        self._is_live = (
            scheme(address) in LIVE_SCHEMES
            or device(address) is not None
            # Of a file that tells no length (of a browser, cut off, a list of files) the end is there all the same.
            or (self._container.duration is None and not is_file(address))
        )
        # A raw stream that is stored somewhere has a length in bytes, and does not come as it is made.
        self._is_unstamped = (
            self._is_live
            and bool(self._container.format.flags & _NO_TIMESTAMPS)
            and self._container.size <= 0
        )
        self._sight = (
            Sight(_READ_TIMEOUT_S) if self.keeps_time and self._video is not None else None
        )
        self._closing = threading.Lock()
        """What PyAV says of the streams of a container that is closed lies in memory that is no more."""
        self._closed = False
        self._is_reading = False
        self._has_decoded = False
        self.damaged = 0
        """Packets so far that nothing could be made of: they are passed over, as every player does."""

    @property
    def is_live(self) -> bool:
        """By its scheme, or because it has no length and is no file."""
        return self._is_live

    @property
    def keeps_time(self) -> bool:
        """By its scheme, because it is a microphone, or because its time is that of its coming, as of a camera's
        pictures one by one (``http``); what comes through a pipe waits.
        """
        return (
            scheme(self.address) in LIVE_SCHEMES
            or device(self.address) is not None
            or self._is_unstamped
        )

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
        with self._closing:
            if self._closed:
                return
            self._is_reading = True
        try:
            yield from self._items(frames_from_ns)
        finally:
            self._container.close()

    def close(self) -> None:
        """End the iteration at its next packet; the medium is let go of then."""
        with self._closing:
            self._closed = True
            if not self._is_reading:
                self._container.close()

    def _items(self, frames_from_ns: int) -> Iterator[MediaItem]:
        sound = SoundGrid(self._decoded) if self._audio is not None else None
        frames = None
        if self._video is not None:
            stands = None if self._is_live else sound
            frames = FrameGrid(
                self._video,
                self.period_ns,
                frames_from_ns,
                self._decoded,
                is_live=self._is_live,
                sound=stands,
            )
        try:
            for packet in self._packets():
                if self._closed:
                    return
                if frames is not None and packet.stream is self._video:
                    yield from frames.decode(cast("_VideoPacket", packet))
                    zero_s = frames.zero_s
                    if sound is not None and zero_s is not None and sound.zero_s is None:
                        yield from sound.begin(zero_s)
                elif sound is not None:
                    if frames is None and sound.zero_s is None:
                        sound.begins()
                    yield from sound.decode(cast("_AudioPacket", packet))
                if self._sight is not None and frames is not None:
                    self._sight.look(frames.pictures)
        except av.FFmpegError as error:
            if self._closed:
                return
            raise self._unreadable(
                f"reading broke off: {_reason(error, _READ_TIMEOUT_S)}{_hint(error, self.address)}"
            ) from error
        if sound is not None:
            yield from sound.finish()
        if frames is not None:
            yield from frames.finish()
            if not frames.pictures:
                raise self._unreadable(self._nothing("no picture"))
        elif not self._has_decoded:
            raise self._unreadable(self._nothing("no sound"))

    def _packets(self) -> Iterator[Packet[Any]]:
        """What is in the medium, at its time."""
        streams = [stream for stream in (self._video, self._audio) if stream is not None]
        jumps = Jumps()
        stamps = {
            stream.index: Arrivals()
            if self._is_unstamped
            else Stamps(is_live=self._is_live, jumps=jumps)
            for stream in streams
        }
        packets = self._container.demux(streams)
        if self._sight is not None:
            packets = self._sight.timed(packets)
        for packet in packets:
            yield from stamps[packet.stream.index].mend(packet)

    def _nothing(self, what: str) -> str:
        if self.damaged:
            return f"{what} can be decoded of it; {self.damaged} damaged packets"
        return f"there is {what} in it"

    def _unreadable(self, message: str) -> SourceUnreadable:
        return SourceUnreadable(message, field="source", value=shown(self.address))

    def _decoded(self, packet: Packet[Any]) -> list[Any]:
        """The frames of a packet; none of a damaged one, such as a radio link makes many of."""
        try:
            frames = packet.decode()
        except av.FFmpegError:
            self.damaged += 1
            return []
        self._has_decoded = self._has_decoded or bool(frames)
        return list(frames)


def checked_rate(rate_hz: float) -> float:
    """``rate_hz``, if a source can be read at so many frames a second."""
    if not 0.0 < rate_hz <= RATE_HZ_MAX:
        raise InvalidArgument(
            f"rate lies in (0, {RATE_HZ_MAX:g}]",
            reason="OUT_OF_RANGE",
            field="rate",
            value=rate_hz,
        )
    return rate_hz


def _open(address: str) -> InputContainer:
    protocol, card, given = scheme(address), device(address), address
    told, address = shown(address), resolved(address)
    if not protocol and card is None and _is_folder(address, told):
        raise SourceUnreadable(
            "it is a folder; a list of its files (.ffconcat, see docs/operations.md) is one recording",
            field="source",
            value=told,
        )
    if card is not None and card not in av.formats_available:
        raise SourceUnreadable(f"this build of FFmpeg knows no {card}", field="source", value=told)
    options = {"rtsp_transport": "tcp"} if protocol in {"rtsp", "rtsps"} else {}
    name = address if card is None else address.removeprefix(f"{card}:")
    try:
        return av.open(
            name, format=card, options=options, timeout=(_OPEN_TIMEOUT_S, _READ_TIMEOUT_S)
        )
    except (OSError, av.FFmpegError) as error:
        kind = SourceNotFound if isinstance(error, _ABSENT) else SourceUnreadable
        raise kind(
            f"cannot be opened: {_reason(error, _OPEN_TIMEOUT_S)}{_hint(error, given)}",
            field="source",
            value=told,
        ) from error


def _is_folder(path: str, told: str) -> bool:
    """told: the path as it is told."""
    try:
        return stat.S_ISDIR(Path(path).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise SourceNotFound("no such file", field="source", value=told) from error
    except OSError as error:
        raise SourceUnreadable(
            f"cannot be opened: {error.strerror}", field="source", value=told
        ) from error


def _reason(error: OSError | av.FFmpegError, timeout_s: float) -> str:
    """What went wrong, in words; a timeout of ours is an "immediate exit" to FFmpeg."""
    if isinstance(error, ExitError):
        return f"nothing came for {timeout_s:g} s"
    return error.strerror or str(error)


def _hint(error: OSError | av.FFmpegError, address: str) -> str:
    return likely(address) if isinstance(error, InvalidDataError) else ""
