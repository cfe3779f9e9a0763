"""A recording is known again by a picture that an epoch holds."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from memdb import FailedPrecondition
from perception import known_picture
from perception.known_picture import KnownPicture
from perception.sources.base import MediaItem, VideoFrame
from tests.unit.perception.films import photo


def jpeg(picture: Image.Image, quality: int = 80) -> bytes:
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=quality)
    return written.getvalue()


def written_as(kind: str) -> bytes:
    """Another picture, as one that Pillow reads and that is no JPEG."""
    written = io.BytesIO()
    Image.new("RGB", (64, 36), "red").save(written, kind)
    return written.getvalue()


def frames(picture: Image.Image) -> list[VideoFrame]:
    """Three, at 0, 1 and 2 s."""
    pixels = np.asarray(picture)
    return [VideoFrame(second * 10**9, pixels) for second in range(3)]


def read(
    held: KnownPicture, shown: Sequence[MediaItem], *, is_whole: bool = True
) -> list[MediaItem]:
    return list(held.checked(iter(shown), 2 * 10**9, is_whole=lambda: is_whole))


def known(held: bytes) -> KnownPicture:
    return KnownPicture(epoch=7, time_ns=10**9, period_ns=10**9, jpeg=held)


def test_what_it_holds_is_gone_on_with() -> None:
    astronaut = photo("astronaut.png")
    shown = frames(astronaut)
    held = known(jpeg(astronaut.resize((100, 100)), quality=30))
    assert read(held, shown) == shown[2:]


def test_another_recording_is_refused() -> None:
    held = known(jpeg(photo("astronaut.png")))
    with pytest.raises(FailedPrecondition, match="--epoch") as told:
        read(held, frames(photo("coffee.png")))
    assert (told.value.reason, told.value.value) == ("OTHER_RECORDING", "7")


@pytest.mark.parametrize(
    "held",
    [
        b"",
        b"not a picture",
        b"\xff\xd8\xff\xe0 cut off",
        b"P6\n48 4x\n255\n",
        written_as("EPS"),
        written_as("PNG"),
    ],
    ids=["nothing", "text", "cut_off", "wrong_size", "postscript", "png"],
)
def test_what_is_no_picture_tells_nothing(held: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a program run for it: who writes clips may write any bytes."""

    def run(*command: object, **_: object) -> None:
        raise AssertionError(command)

    monkeypatch.setattr(subprocess, "Popen", run)
    assert len(read(known(held), frames(photo("coffee.png")))) == 1


def test_where_nothing_is_shown_at_that_time_nothing_is_compared() -> None:
    held = known(jpeg(photo("astronaut.png")))
    others = [frame for frame in frames(photo("coffee.png")) if frame.time_ns != held.time_ns]
    assert len(read(held, others)) == 1


def test_a_picture_of_very_many_pixels_is_not_decoded_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[tuple[int, int]] = []
    small = known_picture._small

    def seen(image: Image.Image) -> np.ndarray:
        sizes.append(image.size)
        return small(image)

    monkeypatch.setattr(known_picture, "_small", seen)
    held = known(jpeg(Image.new("RGB", (8000, 4500), "red")))
    shown = frames(Image.new("RGB", (640, 360), "red"))
    assert len(read(held, shown)) == 1
    assert sizes == [(2000, 1125), (640, 360)]


def test_one_that_ends_before_is_another() -> None:
    held = known(jpeg(photo("astronaut.png")))
    with pytest.raises(FailedPrecondition, match=r"ends before 1\.0 s; .*--epoch") as told:
        read(held, frames(photo("astronaut.png"))[:1])
    assert told.value.reason == "OTHER_RECORDING"


def test_one_that_was_stopped_or_is_damaged_there_is_not_told_from_it() -> None:
    held = known(jpeg(photo("astronaut.png")))
    assert read(held, frames(photo("astronaut.png"))[:1], is_whole=False) == []
