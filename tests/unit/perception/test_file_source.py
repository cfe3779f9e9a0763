"""Files: frames on a grid, sound without holes, reading on from any frame."""

from __future__ import annotations

import gc
import os
import struct
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from memdb import InvalidArgument
from perception.errors import SourceNotFound, SourceUnreadable
from perception.sources.base import AUDIO_RATE_HZ, NS_PER_S, AudioChunk, MediaItem, VideoFrame
from perception.sources.file import FileSource
from perception.sources.sound_grid import SoundGrid
from tests.unit.perception.films import (
    HEIGHT,
    SOUND_RATE_HZ,
    WIDTH,
    flat,
    write_film,
    write_slides,
)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine seconds that change colour each second, with a tone from 2 s to 4 s."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    times = np.arange(9 * SOUND_RATE_HZ) / SOUND_RATE_HZ
    tone = np.sin(2 * np.pi * 440 * times) * ((times >= 2) & (times < 4)) * 0.5
    scenes = [(flat(25 * second, 90, 255 - 25 * second), 1.0) for second in range(9)]
    return write_film(path, scenes, tone.astype(np.float32))


def frames(items: list[MediaItem]) -> list[VideoFrame]:
    return [item for item in items if isinstance(item, VideoFrame)]


def sound(items: list[MediaItem]) -> tuple[int, np.ndarray]:
    """First sample, and all of them; fails where chunks leave a hole."""
    chunks = [item for item in items if isinstance(item, AudioChunk)]
    expected = chunks[0].first_sample
    for chunk in chunks:
        assert chunk.first_sample == expected
        expected += len(chunk.samples)
    return chunks[0].first_sample, np.concatenate([chunk.samples for chunk in chunks])


def test_the_first_picture_of_each_second_stands_for_it(film: Path) -> None:
    seen = frames(list(FileSource(str(film)).items()))
    assert [frame.time_ns for frame in seen] == [second * NS_PER_S for second in range(9)]
    for second, frame in enumerate(seen):
        assert frame.pixels.shape == (180, 320, 3)
        assert float(frame.pixels[..., 0].mean()) == pytest.approx(25 * second, abs=6)


def test_other_rates(film: Path) -> None:
    assert len(frames(list(FileSource(str(film), rate_hz=2.0).items()))) == 18
    slow = frames(list(FileSource(str(film), rate_hz=0.25).items()))
    assert [frame.time_ns // NS_PER_S for frame in slow] == [0, 4, 8]


def test_sound_stands_at_its_time(film: Path) -> None:
    first, samples = sound(list(FileSource(str(film)).items()))
    loud = np.flatnonzero(np.abs(samples) > 0.2) + first
    assert loud[0] / 16_000 == pytest.approx(2.0, abs=0.1)
    assert loud[-1] / 16_000 == pytest.approx(4.0, abs=0.1)


@pytest.mark.parametrize("from_s", [1, 3, 5, 8, 9])
def test_reading_on_gives_the_same_frames_and_all_the_sound(film: Path, from_s: int) -> None:
    whole = list(FileSource(str(film)).items())
    later = list(FileSource(str(film)).items(frames_from_ns=from_s * NS_PER_S))
    wanted = frames(whole)[from_s:]
    assert [frame.time_ns for frame in frames(later)] == [frame.time_ns for frame in wanted]
    for one, other in zip(frames(later), wanted, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
    assert np.array_equal(sound(later)[1], sound(whole)[1])


def test_a_film_without_sound(tmp_path: Path) -> None:
    path = write_film(tmp_path / "silent.mp4", [(flat(9, 9, 9), 2.0)])
    source = FileSource(str(path))
    assert not source.has_audio
    assert not source.is_live
    assert len(list(source.items())) == 2


def test_no_such_file() -> None:
    with pytest.raises(SourceNotFound) as caught:
        FileSource("/nowhere/film.mp4")
    assert (caught.value.field, caught.value.value) == ("source", "/nowhere/film.mp4")


def test_nobody_answers_at_the_address() -> None:
    with pytest.raises(SourceNotFound):
        FileSource("rtsp://127.0.0.1:9/live")


def test_a_file_that_is_no_medium(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("no film at all")
    with pytest.raises(SourceUnreadable) as caught:
        FileSource(str(path))
    assert caught.value.reason == "SOURCE_UNREADABLE"


def test_a_truncated_film(film: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.mp4"
    path.write_bytes(film.read_bytes()[:2000])
    with pytest.raises(SourceUnreadable):
        list(FileSource(str(path)).items())


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A second of sound, no two samples alike."""
    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(16_000)
        stream.writeframes(np.arange(16_000, dtype="<i2").tobytes())
    return path


def test_a_damaged_place_costs_no_more_than_itself(film: Path, tmp_path: Path) -> None:
    """A player goes on behind it; so does who remembers."""
    whole = frames(list(FileSource(str(film)).items()))
    with av.open(str(film)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    at = packets[40].pos or 0
    path = tmp_path / "damaged.mp4"
    data = bytearray(film.read_bytes())
    data[at : at + 30] = b"\xff" * 30
    path.write_bytes(data)
    source = FileSource(str(path))
    shown = frames(list(source.items()))
    assert source.damaged > 0
    # A keyframe each two seconds, of which the one at 4 s is damaged.
    lost = {4 * NS_PER_S, 5 * NS_PER_S}
    assert [item.time_ns for item in whole if item.time_ns not in lost] == [
        item.time_ns for item in shown if item.time_ns not in lost
    ]
    again = {item.time_ns: item.pixels for item in shown}
    for item in whole:
        assert item.time_ns in lost or np.array_equal(item.pixels, again[item.time_ns])


def test_what_is_damaged_from_end_to_end(film: Path, tmp_path: Path) -> None:
    with av.open(str(film)) as container:
        places = [(packet.pos or 0, packet.size) for packet in container.demux() if packet.size]
    data = bytearray(film.read_bytes())
    for at, size in places:
        data[at : at + size] = b"\xff" * size
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    with pytest.raises(SourceUnreadable, match="no picture can be decoded of it"):
        list(FileSource(str(path)).items())


def test_sound_alone_is_heard_to_the_sample(record: Path) -> None:
    source = FileSource(str(record))
    assert (source.has_video, source.has_audio, source.is_live) == (False, True, False)
    first, samples = sound(list(source.items(frames_from_ns=NS_PER_S // 2)))
    assert first == 0
    assert np.array_equal(np.round(samples * 32_768), np.arange(16_000))


def test_sound_alone_that_nobody_listens_to(record: Path) -> None:
    with pytest.raises(SourceUnreadable) as caught:
        FileSource(str(record), with_audio=False)
    assert caught.value.reason == "NO_VIDEO"


def test_a_picture_on_the_sleeve_is_none_of_the_record(tmp_path: Path) -> None:
    path = tmp_path / "record.mp3"
    with av.open(str(path), "w") as output:
        voice = output.add_stream("libmp3lame", rate=SOUND_RATE_HZ, layout="mono")
        sleeve = output.add_stream("png")
        sleeve.width, sleeve.height, sleeve.pix_fmt = WIDTH, HEIGHT, "rgb24"
        sleeve.disposition = Disposition.attached_pic
        tone = np.zeros((1, SOUND_RATE_HZ), np.float32)
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate = SOUND_RATE_HZ
        output.mux([*voice.encode(frame), *voice.encode(None)])
        output.mux(
            sleeve.encode(av.VideoFrame.from_ndarray(np.asarray(flat(9, 90, 9)), format="rgb24"))
        )
    source = FileSource(str(path))
    assert not source.has_video
    assert frames(items := list(source.items())) == []
    assert len(sound(items)[1]) == pytest.approx(16_000, abs=1_000)


def test_a_microphone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One of ALSA's own making, where there is ALSA: it hears silence."""
    if "alsa" not in av.formats_available:
        pytest.skip("FFmpeg without ALSA")
    config = tmp_path / "asound.conf"
    config.write_text("pcm.deaf { type null }\n")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    source = FileSource("alsa:deaf")
    assert (source.has_video, source.has_audio, source.is_live) == (False, True, True)
    heard = source.items()
    assert isinstance(next(heard), AudioChunk)
    source.close()
    with pytest.raises(SourceUnreadable):
        FileSource("alsa:nobody")


def test_a_kind_of_microphone_that_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "formats_available", frozenset())
    with pytest.raises(SourceUnreadable, match="knows no alsa"):
        FileSource("alsa:default")


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, 31.0])
def test_a_rate_out_of_range(film: Path, rate_hz: float) -> None:
    with pytest.raises(InvalidArgument) as caught:
        FileSource(str(film), rate_hz=rate_hz)
    assert caught.value.field == "rate"


ONE, NONE = 1 << 16, 0


@pytest.mark.parametrize(
    ("matrix", "corners"),
    [
        ((ONE, NONE, NONE, ONE), "RGBW"),
        ((-ONE, NONE, NONE, -ONE), "WBGR"),
        ((NONE, ONE, -ONE, NONE), "BRWG"),  # a quarter clockwise
        ((NONE, -ONE, ONE, NONE), "GWRB"),
        ((-ONE, NONE, NONE, ONE), "GRWB"),  # as in a mirror
        ((NONE, ONE, ONE, NONE), "RBGW"),
    ],
)
def test_a_film_is_turned_as_it_says(tmp_path: Path, matrix: tuple[int, ...], corners: str) -> None:
    colours = {"R": (255, 0, 0), "G": (0, 255, 0), "B": (0, 0, 255), "W": (255, 255, 255)}
    picture = flat(0, 0, 0).resize((320, 180))
    for letter, place in zip("RGBW", [(0, 0), (160, 0), (0, 90), (160, 90)], strict=True):
        picture.paste(colours[letter], (*place, place[0] + 160, place[1] + 90))
    path = write_film(tmp_path / "film.mp4", [(picture, 1.0)])
    data = bytearray(path.read_bytes())
    a, b, c, d = matrix
    at = (
        data.index(b"tkhd") + 44
    )  # of version 0: the matrix comes after times, id, length, layer and volume
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    (frame,) = frames(list(FileSource(str(path)).items()))
    quarters = [frame.pixels[y, x] for y in (20, -20) for x in (20, -20)]
    seen = [min(colours, key=lambda n: np.abs(colours[n] - q.astype(int)).sum()) for q in quarters]
    assert "".join(seen) == corners
    assert frame.pixels.shape == ((180, 320, 3) if a else (320, 180, 3))


def test_pictures_are_let_go_of_at_once(film: Path) -> None:
    """Not when the collector comes by: some hundred of 3 MB each, and of the threads of each."""

    def held() -> tuple[int, int]:
        # Not by `isinstance`, which asks each object of every library what it is.
        pictures = sum(type(item) is av.VideoFrame for item in gc.get_objects())
        return pictures, len(list(Path("/proc/self/task").iterdir()))

    gc.collect()
    gc.disable()
    try:
        before, most = held(), (0, 0)
        for item in FileSource(str(film), rate_hz=10).items():
            if isinstance(item, VideoFrame):
                now = held()
                most = max(most[0], now[0] - before[0]), max(most[1], now[1] - before[1])
    finally:
        gc.enable()
    decoders = (os.cpu_count() or 1) + 1
    assert most[0] <= 8
    assert most[1] <= decoders + 2


def test_a_long_hole_is_filled_in_pieces() -> None:
    """A stamp that is wrong by a day would be silence of 5.5 GB at once, and nothing would end it."""
    grid = SoundGrid(lambda packet: list(packet.decode()))
    said = np.ones(100, np.float32)
    hour = 3600 * AUDIO_RATE_HZ
    chunks = [*grid._placed(said, 0), *grid._placed(said, hour)]
    assert max(len(chunk.samples) for chunk in chunks) <= 10 * AUDIO_RATE_HZ
    ends = [chunk.first_sample + len(chunk.samples) for chunk in chunks]
    assert [chunk.first_sample for chunk in chunks] == [0, *ends[:-1]]
    assert (chunks[-1].first_sample, ends[-1]) == (hour, hour + 100)
    assert not any(chunk.samples.any() for chunk in chunks[1:-1])
    assert [chunk.is_hole for chunk in chunks] == [False, *(True for _ in chunks[1:-1]), False]


def seconds(source: FileSource, from_s: int = 0) -> list[int]:
    return [
        frame.time_ns // NS_PER_S
        for frame in frames(list(source.items(frames_from_ns=from_s * NS_PER_S)))
    ]


@pytest.mark.parametrize(
    ("times_s", "sound_s", "shown"),
    [
        ([0], [(0, 30)], [*range(30)]),  # a record with a picture to it
        ([0, 1, 20, 21], [(0, 40)], [*range(40)]),  # slides under a talk
        ([0, 1, 20, 21], [(0, 3), (20, 22)], [0, 1, 20, 21]),  # it was off
        ([0, 1, 20, 21], [], [0, 1, 20, 21]),
        ([0, 1, 8, 9], [(0, 12)], [0, 1, 8, 9]),
        # It was off later on, which is read before the second picture is decoded.
        ([0, 30, 100], [(0, 65), (80, 110)], [*range(31), 100]),
    ],
)
def test_a_picture_stands_while_sound_goes_on(
    tmp_path: Path,
    times_s: list[float],
    sound_s: list[tuple[float, float]],
    shown: list[int],
) -> None:
    path = str(write_slides(tmp_path / "slides.mkv", times_s, sound_s))
    assert seconds(FileSource(path)) == shown
    for from_s in (1, 12, 20, 25):
        assert seconds(FileSource(path), from_s) == [at for at in shown if at >= from_s]


def test_pictures_without_time_stamps_come_at_their_rate(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film", [(flat(9, 9, 99), 3.0)], container="h264")
    assert seconds(FileSource(str(path))) == [0, 1, 2]


def test_a_file_that_tells_no_length_is_a_recording(tmp_path: Path) -> None:
    """Of a browser, or one that was cut off: its pauses are its own, and it can be gone on with."""
    path = write_slides(
        tmp_path / "film.mkv",
        [0, 1, 2, 600, 601],
        options={"live": "1", "cluster_time_limit": "500"},
    )
    with av.open(str(path)) as container:
        assert container.duration is None
    source = FileSource(str(path))
    assert not source.is_live
    assert not FileSource(f"file://{path}").is_live
    assert [item.time_ns // NS_PER_S for item in frames(list(source.items()))] == [
        0,
        1,
        2,
        600,
        601,
    ]
    again = frames(list(FileSource(str(path)).items(frames_from_ns=2 * NS_PER_S)))
    assert [item.time_ns // NS_PER_S for item in again] == [2, 600, 601]


def test_a_list_of_files_is_one_recording(film: Path, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.mp4").write_bytes(film.read_bytes())
    path = tmp_path / "day.ffconcat"
    path.write_text("ffconcat version 1.0\nfile 0.mp4\nfile 1.mp4\nfile 2.mp4\n")
    whole = FileSource(str(path))
    assert not whole.is_live
    assert [item.time_ns // NS_PER_S for item in frames(list(whole.items()))] == list(range(27))


def test_a_directory_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="a folder; a list of its files"):
        FileSource(str(tmp_path))


def test_a_film_without_a_picture(tmp_path: Path) -> None:
    """What is left of one that was cut off behind its head."""
    whole = write_slides(tmp_path / "whole.mkv", [0, 1], [(0, 2)])
    with av.open(str(whole)) as container:
        at = min(packet.pos for packet in container.demux() if packet.pos)
    path = tmp_path / "head.mkv"
    path.write_bytes(whole.read_bytes()[: at + 1])
    with pytest.raises(SourceUnreadable, match="no picture in it"):
        list(FileSource(str(path)).items())
