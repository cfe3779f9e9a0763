"""Which of several sound tracks is heard."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from perception.errors import SourceUnreadable
from perception.sources.base import AudioChunk
from perception.sources.file import FileSource

RATE_HZ = 16_000
TRACKS = ("eng", "deu", "", "DEU")
"""By their languages; each a tone so loud as its number, in tenths."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tracks(tmp_path_factory.mktemp("films") / "film.mkv")


def write_tracks(path: Path, marked: int | None = None) -> Path:
    """marked: which is the default."""
    with av.open(str(path), "w", format="matroska") as output:
        tracks = []
        for language in TRACKS:
            track = output.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono")
            if language:
                track.metadata["language"] = language
            track.disposition = Disposition(0)
            tracks.append(track)
        if marked is not None:
            tracks[marked].disposition = Disposition.default
        for number, track in enumerate(tracks, 1):
            tone = np.full((1, RATE_HZ // 5), round(number * 32767 / 10), "<i2")
            samples = av.AudioFrame.from_ndarray(tone, "s16", "mono")
            samples.sample_rate, samples.pts = RATE_HZ, 0
            output.mux(track.encode(samples))
    return path


def heard(source: FileSource) -> int:
    """The number of the track."""
    chunks = [item.samples for item in source.items() if isinstance(item, AudioChunk)]
    return round(10 * float(np.concatenate(chunks).max()))


@pytest.mark.parametrize(("wanted", "number"), [(1, 1), (3, 3), (4, 4), ("deu", 2), ("ENG", 1)])
def test_a_track_by_number_and_by_language(film: Path, wanted: int | str, number: int) -> None:
    assert heard(FileSource(str(film), sound_track=wanted)) == number


def test_the_track_that_is_marked_is_heard_else_the_first(film: Path, tmp_path: Path) -> None:
    assert heard(FileSource(str(film))) == 1
    assert heard(FileSource(str(write_tracks(tmp_path / "marked.mkv", 2)))) == 3


@pytest.mark.parametrize("wanted", [5, "fra"])
def test_a_track_that_there_is_not(film: Path, wanted: int | str) -> None:
    with pytest.raises(SourceUnreadable) as caught:
        FileSource(str(film), sound_track=wanted)
    assert caught.value.reason == "NO_SUCH_TRACK"
    told = f"no sound track {wanted}; there are: 1 eng, 2 deu, 3 of no language, 4 deu"
    assert told in str(caught.value)
    assert str(film) in str(caught.value)
