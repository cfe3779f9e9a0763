"""Media whose time stamps jump: transport streams put together, read as recordings and as live streams."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.packet import Packet
from av.video.frame import PictureType
from PIL import Image

from perception.sources.base import AUDIO_RATE_HZ, NS_PER_S, AudioChunk, VideoFrame
from perception.sources.file import FileSource
from perception.sources.stamps import AHEAD_S, Stamps
from tests.unit.perception.films import (
    FRAME_RATE,
    HEIGHT,
    PIECE_SAMPLES,
    SOUND_RATE_HZ,
    WIDTH,
    Sound,
    flat,
    write_film,
)

FILM_S = 5


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A transport stream of 5 s of one colour under a tone."""
    tone = np.sin(np.arange(FILM_S * SOUND_RATE_HZ) / 20).astype(np.float32) * 0.3
    path = tmp_path_factory.mktemp("film") / "film.ts"
    return write_film(path, [(flat(200, 20, 20), FILM_S)], tone, container="mpegts").read_bytes()


def later(film: bytes, seconds: int, folder: Path) -> bytes:
    """The same, its stamps so much later."""
    (folder / "early.ts").write_bytes(film)
    with (
        av.open(str(folder / "early.ts")) as early,
        av.open(str(folder / "late.ts"), "w", format="mpegts") as late,
    ):
        made = {stream.index: late.add_stream_from_template(stream) for stream in early.streams}
        for packet in early.demux():
            if packet.dts is None or packet.pts is None:
                continue
            shift = int(seconds / packet.time_base)
            packet.dts, packet.pts = packet.dts + shift, packet.pts + shift
            packet.stream = made[packet.stream.index]
            late.mux(packet)
    return (folder / "late.ts").read_bytes()


@pytest.fixture
def _no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams are sent at once: however long this machine takes to read them, they belong together."""
    monkeypatch.setattr("perception.sources.file.Stamps", partial(Stamps, clock_s=lambda: 0.0))


@contextmanager
def live(*parts: bytes) -> Iterator[str]:
    """Sends the parts to whoever connects, once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def play() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"".join(parts))

        thread = threading.Thread(target=play)
        thread.start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def shown(address: str, from_s: int = 0) -> tuple[list[int], float]:
    """Seconds of the frames, and to which second there is sound."""
    frames, heard = [], 0.0
    for item in FileSource(address).items(frames_from_ns=from_s * NS_PER_S):
        if isinstance(item, VideoFrame):
            frames.append(item.time_ns // NS_PER_S)
        elif isinstance(item, AudioChunk):
            heard = (item.first_sample + len(item.samples)) / AUDIO_RATE_HZ
    return frames, heard


@pytest.mark.usefixtures("_no_time_passes")
def test_a_live_stream_that_begins_anew_goes_on(film: bytes) -> None:
    with live(film, film, film) as url:
        frames, heard = shown(url)
    assert frames == list(range(3 * FILM_S))
    assert heard == pytest.approx(3 * FILM_S, abs=0.5)


@pytest.mark.usefixtures("_no_time_passes")
@pytest.mark.parametrize("seconds", [3600, 40 * 3600])
def test_a_live_stream_that_jumps_ahead_stays_with_the_clock(
    film: bytes, tmp_path: Path, seconds: int
) -> None:
    with live(film, later(film, seconds, tmp_path), film) as url:
        frames, heard = shown(url)
    assert frames == list(range(3 * FILM_S))
    assert heard == pytest.approx(3 * FILM_S, abs=0.5)


def test_a_recording_of_several_recordings(film: bytes, tmp_path: Path) -> None:
    path = tmp_path / "joined.ts"
    path.write_bytes(film * 3)
    frames, heard = shown(str(path))
    assert frames == list(range(3 * FILM_S))
    assert heard == pytest.approx(3 * FILM_S, abs=0.5)
    # Wherever reading goes on, the same.
    for from_s in (1, FILM_S, FILM_S + 2, 3 * FILM_S - 1):
        assert shown(str(path), from_s) == (frames[from_s:], heard)


@pytest.mark.parametrize(("film_s", "sound_s"), [(5.0, 5.0), (3.0, 2.5), (2.5, 3.0)])
def test_sound_stays_with_the_pictures_of_many_recordings(
    tmp_path: Path, film_s: float, sound_s: float
) -> None:
    """A tone at the beginning of each of 12 recordings, and another colour of each."""
    tone = np.zeros(round(sound_s * SOUND_RATE_HZ), np.float32)
    tone[: SOUND_RATE_HZ // 5] = np.sin(np.arange(SOUND_RATE_HZ // 5) / 8) * 0.5
    parts = [
        write_film_and_sound(tmp_path / f"{grey}.ts", flat(grey, grey, grey), film_s, tone)
        for grey in (40, 200)
    ]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(parts) * 6)
    changes: list[float] = []
    loud: list[float] = []
    last = 0.0
    for item in FileSource(str(path), rate_hz=10).items():
        if isinstance(item, VideoFrame):
            grey = float(item.pixels.mean())
            if abs(grey - last) > 50 or not changes:
                changes.append(item.time_ns / NS_PER_S)
            last = grey
        else:
            loud += ((item.first_sample + np.flatnonzero(abs(item.samples) > 0.2)) / 16000).tolist()
    tones = [at for at, before in zip(loud, [-9.0, *loud[:-1]], strict=True) if at - before > 1]
    assert len(changes) == len(tones) == 12
    assert tones == pytest.approx(changes, abs=0.2)
    assert changes[-1] == pytest.approx(11 * max(film_s, sound_s), abs=1.0)


def write_film_and_sound(path: Path, picture: Image.Image, film_s: float, sound: Sound) -> bytes:
    """A transport stream whose sound may end before its pictures, or after them."""
    with av.open(str(path), "w", format="mpegts") as output:
        video = output.add_stream("libx264", rate=FRAME_RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "20"}
        audio = output.add_stream("aac", rate=SOUND_RATE_HZ, layout="mono")
        packets = []
        pixels = np.asarray(picture)
        for index in range(round(film_s * FRAME_RATE)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.pict_type = index, PictureType.NONE
            packets += video.encode(frame)
        for begin in range(0, len(sound), PIECE_SAMPLES):
            samples = av.AudioFrame.from_ndarray(
                sound[None, begin : begin + PIECE_SAMPLES], format="fltp", layout="mono"
            )
            samples.sample_rate, samples.pts = SOUND_RATE_HZ, begin
            packets += audio.encode(samples)
        packets += [*video.encode(None), *audio.encode(None)]
        for packet in sorted(packets, key=lambda one: (one.dts or 0) * (one.time_base or 0)):
            output.mux(packet)
    return path.read_bytes()


def stamped(seconds: float) -> Packet[Any]:
    packet: Packet[Any] = Packet(b"")
    packet.time_base = Fraction(1, 1000)
    packet.dts = packet.pts = round(seconds * 1000)
    return packet


@pytest.mark.parametrize(
    ("is_live", "stamps", "seen"),
    [
        (False, [0, 1, 0.5, 2], [0, 1, 0.5, 2]),  # pictures out of order
        (False, [0, 1, 5000, 5001], [0, 1, 5000, 5001]),  # a pause of a recording
        (False, [7, 8, 0, 1, 100, 101], [7, 8, 9, 10, 109, 110]),
        (False, [0, 1, 86_400, 2, 3], [0, 1, 2, 2, 3]),
        (False, [90, 91, 0.5, 92, 93], [90, 91, 92, 92, 93]),
        (False, [0, 1, 30, 2, 3, 4], [0, 1, 2, 2, 3, 4]),
        (False, [0, 1, 3.5, 2, 3], [0, 1, 2, 2, 3]),
        (False, [0, 10, 20, 30, 55, 40, 50], [0, 10, 20, 30, 30, 40, 50]),
        (False, [0, 1, 5000], [0, 1, 5000]),
        (True, [0, 2, 4 + AHEAD_S, 6 + AHEAD_S], [0, 2, 4 + AHEAD_S, 6 + AHEAD_S]),
        (True, [0, 2, 5 + AHEAD_S, 7 + AHEAD_S], [0, 2, 4, 6]),
        (True, [50, 52, 3, 5], [50, 52, 54, 56]),
    ],
    ids=[
        "order",
        "pause",
        "anew",
        "one ahead",
        "one back",
        "one ahead by less than a jump",
        "one ahead by little",
        "one of slides",
        "the last",
        "left out",
        "ahead",
        "live anew",
    ],
)
def test_what_is_moved(is_live: bool, stamps: list[float], seen: list[float]) -> None:
    # Two seconds pass from packet to packet.
    clock = iter(range(0, 100, 2))
    mending = Stamps(is_live=is_live, clock_s=lambda: next(clock))
    packets = [stamped(seconds) for seconds in stamps]
    given = [after for packet in packets for after in mending.mend(packet)]
    # The medium ends with an empty packet.
    given += mending.mend(Packet(b""))[:-1]
    assert given == packets
    assert [(packet.dts, packet.pts) for packet in packets] == [(s * 1000, s * 1000) for s in seen]


@pytest.mark.parametrize("early_s", [0.0, 3.0])
def test_a_live_stream_that_was_silent_goes_on_at_its_time(early_s: float) -> None:
    """Its last packets before the silence came with the first ones after it."""
    came = [
        *((stamp, max(0.0, stamp - early_s)) for stamp in range(26)),
        *((stamp, 45.0) for stamp in (26, 27, 28)),
        *((stamp, 45.0 + stamp) for stamp in range(4)),
    ]
    clock = iter(at_s for _, at_s in came)
    mending = Stamps(is_live=True, clock_s=lambda: next(clock))
    packets = [stamped(stamp) for stamp, _ in came]
    for packet in packets:
        assert mending.mend(packet) == [packet]
    after = [(packet.dts or 0) / 1000 for packet in packets[-4:]]
    assert after == [45.0 + early_s + stamp for stamp in range(4)]


def write_leaning(path: Path, by_s: float) -> bytes:
    """A transport stream of 20 s whose pictures lean on later ones; when its 61st is shown is wrong by so much."""
    with av.open(str(path), "w", format="mpegts") as output:
        video = output.add_stream("libx264", rate=FRAME_RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.options = {"preset": "ultrafast", "bf": "3", "b_strategy": "0", "g": "20"}
        packets = []
        for index in range(20 * FRAME_RATE):
            # Never the same twice, or none would lean.
            pixels = np.roll(np.asarray(flat(index % 200, 20, 20)), index, axis=1)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.pict_type = index, PictureType.NONE
            packets += video.encode(frame)
        packets += video.encode(None)
        assert any(packet.pts != packet.dts for packet in packets)
        wrong = packets[60]
        assert wrong.pts is not None
        assert wrong.time_base is not None
        wrong.pts += round(by_s / wrong.time_base)
        for packet in packets:
            output.mux(packet)
    return path.read_bytes()


@pytest.mark.parametrize("by_s", [5, 30, 3600, 40_000])
def test_one_picture_of_a_recording_that_is_shown_at_a_wrong_time(
    tmp_path: Path, by_s: float
) -> None:
    """No picture was seen any more after it."""
    write_leaning(tmp_path / "film.ts", by_s)
    for from_s in (0, 3, 12):
        assert shown(str(tmp_path / "film.ts"), from_s)[0] == list(range(from_s, 20))


@pytest.mark.usefixtures("_no_time_passes")
def test_one_live_picture_that_is_shown_at_a_wrong_time(tmp_path: Path) -> None:
    with live(write_leaning(tmp_path / "film.ts", 3600)) as url:
        assert shown(url)[0] == list(range(20))


def test_sound_of_another_form_on_the_way(tmp_path: Path) -> None:
    """As where a broadcast goes over from mono to stereo."""
    joined = b""
    for layout, rate_hz in (("mono", 48_000), ("stereo", 44_100)):
        path = tmp_path / f"{layout}.ts"
        with av.open(str(path), "w", format="mpegts") as output:
            sound = output.add_stream("aac", rate=rate_hz, layout=layout)
            for at in range(0, FILM_S * rate_hz, 1024):
                silence = np.zeros((len(sound.layout.channels), 1024), np.float32)
                piece = av.AudioFrame.from_ndarray(silence, "fltp", layout)
                piece.sample_rate, piece.pts = rate_hz, at
                output.mux(sound.encode(piece))
            output.mux(sound.encode(None))
        joined += path.read_bytes()
    (tmp_path / "joined.ts").write_bytes(joined)
    assert shown(str(tmp_path / "joined.ts"))[1] == pytest.approx(2 * FILM_S, abs=0.3)
