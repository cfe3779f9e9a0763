"""A recording is known again by a picture that an epoch holds."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from memdb import FailedPrecondition
from perception.known_picture import KnownPicture
from perception.sources.base import MediaItem, VideoFrame
from tests.unit.perception.films import photo


def jpeg(picture: Image.Image, quality: int = 80) -> bytes:
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=quality)
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


@pytest.mark.parametrize("held", [b"", b"not a picture", b"\xff\xd8\xff\xe0 cut off"])
def test_what_is_no_picture_tells_nothing(held: bytes) -> None:
    assert len(read(known(held), frames(photo("coffee.png")))) == 1


def test_where_nothing_is_shown_at_that_time_nothing_is_compared() -> None:
    held = known(jpeg(photo("astronaut.png")))
    others = [frame for frame in frames(photo("coffee.png")) if frame.time_ns != held.time_ns]
    assert len(read(held, others)) == 1


def test_one_that_ends_before_is_another() -> None:
    held = known(jpeg(photo("astronaut.png")))
    with pytest.raises(FailedPrecondition, match=r"ends before 1\.0 s; .*--epoch") as told:
        read(held, frames(photo("astronaut.png"))[:1])
    assert told.value.reason == "OTHER_RECORDING"


def test_one_that_was_stopped_or_is_damaged_there_is_not_told_from_it() -> None:
    held = known(jpeg(photo("astronaut.png")))
    assert read(held, frames(photo("astronaut.png"))[:1], is_whole=False) == []
