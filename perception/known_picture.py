"""A picture that an epoch holds already, by which a recording that goes on with it is known again."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from memdb.errors import FailedPrecondition
from memdb.types.clip import StoredClip
from perception.encoders.base import Frame
from perception.sources.base import MediaItem, VideoFrame

_SIZE: Final = (64, 36)
_DECODED: Final = (1280, 720)
"""Larger than what an agent writes.  A picture is decoded no larger than some twice this: a megabyte may be of a
hundred million pixels."""
DIFFERENCE_MAX: Final = 16.0
"""Of 255, on average over a small picture.  What was encoded anew differs by less than 6 (by 13 as coarse as there is),
other pictures by 50 and more; those of a camera that does not move differ as its light does, and some pass."""


@dataclass(frozen=True, slots=True)
class KnownPicture:
    """A keyframe of the newest clip of an epoch."""

    epoch: int
    time_ns: int
    """In media time."""
    period_ns: int
    """So long each picture of the recording that is read stands for."""
    jpeg: bytes

    @classmethod
    def of_clip(cls, clip: StoredClip, base_ns: int, period_ns: int) -> KnownPicture | None:
        """None of one that shows none, as of sound, or because retention took them."""
        for keyframe in clip.keyframes:
            if keyframe.time_ns >= base_ns:
                return cls(clip.epoch, keyframe.time_ns - base_ns, period_ns, keyframe.jpeg)
        return None

    def checked(
        self, items: Iterator[MediaItem], from_ns: int, *, is_whole: Callable[[], bool]
    ) -> Iterator[MediaItem]:
        """What is read from this picture on, without the frames before ``from_ns``.

        Where the medium shows none at the picture's time though it goes on, or the picture is none, nothing is
        compared.  is_whole: asked at the end, whether the medium was shown to its own end, with nothing left out.

        Raises `FailedPrecondition` (``OTHER_RECORDING``), also where the medium ends before the picture's time: there
        is nothing new in it, and to say that alone would pass over all that it shows.
        """
        shown_ns = 0
        for item in items:
            if isinstance(item, VideoFrame):
                shown_ns = item.time_ns + self.period_ns
                if item.time_ns < from_ns:
                    if item.time_ns == self.time_ns:
                        self._check(item.pixels)
                    continue
            yield item
        if shown_ns <= self.time_ns and is_whole():
            raise self._other("ends before")

    def _check(self, pixels: Frame) -> None:
        try:
            # As a JPEG and nothing else: whoever writes clips chose these bytes, and other formats have errors of any
            # kind, or a program of their own that is run (PostScript).
            with Image.open(io.BytesIO(self.jpeg), formats=("JPEG",)) as image:
                image.draft("RGB", _DECODED)
                known = _small(image)
        except (OSError, Image.DecompressionBombError):
            return  # who wrote it had something else for a picture: nothing to compare
        difference = np.abs(known - _small(Image.fromarray(pixels)))
        if float(difference.mean()) > DIFFERENCE_MAX:
            raise self._other("shows something else at")

    def _other(self, differs: str) -> FailedPrecondition:
        """differs: what this recording does at the picture's time."""
        return FailedPrecondition(
            f"epoch {self.epoch} holds clips of another recording: this one {differs} {self.time_ns / 1e9:.1f} s; "
            "other footage needs --epoch N",
            reason="OTHER_RECORDING",
            field="epoch",
            value=self.epoch,
        )


def _small(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB").resize(_SIZE, Image.Resampling.BOX), np.float32)
