"""What one camera of a generated day sees: its scene through two windows, in changing light, with noise, by night and
in fog, and perhaps something in front of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from bench.pictures import LOOKS, Pixels
from bench.things import Thing, background

WINDOWS: Final = ((0.0, 0.0), (0.25, 0.2))
"""Left and top of what is seen, as a share of the photograph: a cut goes from one to the other."""
GAINS: Final = (0.8, 1.0, 1.15)
"""Light."""
NOISES: Final = 2
"""Kinds of noise that take turns from frame to frame."""
_SHARE: Final = 0.75
_SIZE: Final = (320, 240)
_NOISE: Final = 4.0


@dataclass(frozen=True, slots=True)
class Shot:
    """How a stretch of a camera looks."""

    window: int
    gain: float
    look: str
    """Of `LOOKS`."""


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A thing in front of the scene."""

    thing: Thing
    height: float
    """As a share of the frame."""
    left: float
    """0 at the left, 1 at the right."""
    top: float


class DayCamera:
    """Makes frames; the same is made of the same to the pixel."""

    def __init__(self, name: str) -> None:
        photo = background(name)
        width, height = (round(side * _SHARE) for side in photo.size)
        self._windows = [
            photo.crop(
                (
                    round(left * photo.width),
                    round(top * photo.height),
                    round(left * photo.width) + width,
                    round(top * photo.height) + height,
                )
            ).resize(_SIZE, Image.Resampling.BICUBIC)
            for left, top in WINDOWS
        ]

    def frame(self, shot: Shot, noise: int, placed: Placed | None) -> Pixels:
        """(240, 320, 3); ``noise`` of `NOISES`."""
        picture = self._windows[shot.window].copy()
        if placed is not None:
            _paste(picture, placed)
        lit = np.asarray(picture).astype(np.float64) * shot.gain
        lit += np.random.default_rng(noise).normal(0, _NOISE, lit.shape)
        return LOOKS[shot.look](np.clip(lit, 0, 255).astype(np.uint8))


def _paste(picture: Image.Image, placed: Placed) -> None:
    cut_out = placed.thing.picture
    height = round(picture.height * placed.height)
    width = min(picture.width, max(1, round(cut_out.width * height / cut_out.height)))
    left = round((picture.width - width) * placed.left)
    top = round((picture.height - height) * placed.top)
    cut_out = cut_out.resize((width, height), Image.Resampling.BICUBIC)
    picture.paste(cut_out, (left, top), cut_out)
