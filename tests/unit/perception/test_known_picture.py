"""A recording is known again by a picture that an epoch holds."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from memdb import FailedPrecondition
from perception.known_picture import KnownPicture
from perception.sources.base import VideoFrame
from tests.unit.perception.films import photo


def jpeg(picture: Image.Image, quality: int = 80) -> bytes:
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=quality)
    return written.getvalue()


def frames(picture: Image.Image) -> list[VideoFrame]:
    """Three, at 0, 1 and 2 s."""
    pixels = np.asarray(picture)
    return [VideoFrame(second * 10**9, pixels) for second in range(3)]


def known(held: bytes) -> KnownPicture:
    return KnownPicture(epoch=7, time_ns=10**9, jpeg=held)


def test_what_it_holds_is_gone_on_with() -> None:
    astronaut = photo("astronaut.png")
    shown, from_ns = frames(astronaut), 2 * 10**9
    held = known(jpeg(astronaut.resize((100, 100)), quality=30))
    assert list(held.checked(iter(shown), from_ns)) == shown[2:]


def test_another_recording_is_refused() -> None:
    held = known(jpeg(photo("astronaut.png")))
    with pytest.raises(FailedPrecondition, match="--epoch") as told:
        list(held.checked(iter(frames(photo("coffee.png"))), 2 * 10**9))
    assert (told.value.reason, told.value.value) == ("OTHER_RECORDING", "7")


@pytest.mark.parametrize("held", [b"", b"not a picture", b"\xff\xd8\xff\xe0 cut off"])
def test_what_is_no_picture_tells_nothing(held: bytes) -> None:
    assert len(list(known(held).checked(iter(frames(photo("coffee.png"))), 2 * 10**9))) == 1


def test_where_nothing_is_shown_at_that_time_nothing_is_compared() -> None:
    held = known(jpeg(photo("astronaut.png")))
    others = [frame for frame in frames(photo("coffee.png")) if frame.time_ns != held.time_ns]
    assert len(list(held.checked(iter(others), 2 * 10**9))) == 1
