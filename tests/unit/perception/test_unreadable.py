"""What FFmpeg calls invalid, in words that say what to do."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest

from memdb import InvalidArgument
from perception.errors import SourceUnreadable
from perception.networks import check_networks
from perception.sources.file import FileSource
from perception.sources.unreadable import EMPTY, NO_INDEX, PIPED
from tests.unit.perception.films import flat, write_film


def told(path: Path) -> str:
    with pytest.raises(SourceUnreadable) as caught:
        list(FileSource(str(path)).items())
    return caught.value.message


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    return write_film(folder / "film.mp4", [(flat(200, 20, 20), 2.0), (flat(20, 200, 20), 2.0)])


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.touch()
    assert told(path).endswith(EMPTY)


@pytest.mark.parametrize("kept", [0.05, 0.5])
def test_a_recording_that_was_cut_off(film: Path, tmp_path: Path, kept: float) -> None:
    data = film.read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: int(kept * len(data))])
    assert told(path).endswith(NO_INDEX)


def test_a_recording_that_still_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w", format="mp4") as output:
        video = output.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number, np.uint8))
            output.mux(video.encode(frame))
        copy = tmp_path / "now.mp4"
        copy.write_bytes(path.read_bytes() or b"\0\0\0\x10ftypisom\0\0\2\0\0\0\0\0mdat")
    assert told(copy).endswith(NO_INDEX)


@pytest.mark.parametrize("data", [b"no film at all", b"\0\0\0\x10ftypisom\0\0\2\0\0\0\0\x08moov"])
def test_of_what_is_no_recording_nothing_is_guessed(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "notes.mp4"
    path.write_bytes(data)
    assert ";" not in told(path)


def test_an_mp4_through_a_pipe(tmp_path: Path) -> None:
    """One of more than FFmpeg keeps of what it read, so that it cannot go back from the index to the pictures."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with av.open(str(tmp_path / "film.mp4"), "w", format="mp4") as output:
        video = output.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt, video.bit_rate = 640, 360, "yuv420p", 10**9
        for noise in np.random.default_rng(1).integers(0, 255, (30, 360, 640, 3), np.uint8):
            output.mux(video.encode(av.VideoFrame.from_ndarray(noise)))
        output.mux(video.encode(None))
    data = (tmp_path / "film.mp4").read_bytes()

    def play() -> None:
        # Who reads it has seen enough before the end.
        with suppress(BrokenPipeError):
            pipe.write_bytes(data)

    player = threading.Thread(target=play)
    player.start()
    try:
        assert told(pipe).endswith(PIPED)
    finally:
        player.join(10)
    assert not player.is_alive()


def test_a_name_that_the_system_refuses_is_told_as_one_that_cannot_be_opened() -> None:
    """So is a file in a folder of somebody else."""
    with pytest.raises(SourceUnreadable, match="cannot be opened: File name too long"):
        FileSource("a" * 300)


def test_a_name_that_the_system_refuses_is_no_model() -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_networks("bundled", "a" * 300, {})
    assert caught.value.field == "whisper"
