"""Things that a camera may see, each with words for it: cut-outs and photographs to lay over a scene.

The packaged photographs that no camera has for a background, and the stamps of `bench.pictures` with a short
caption.  The stamps come in two halves that share none: one to choose by, one to measure on.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

import av
import numpy as np
from PIL import Image

from bench.pictures import PACKAGED, captioned_stamps
from perception.weights import fetch

BACKGROUNDS: Final = {
    "porch": "scikit-image/brick.png",
    "garden": "scikit-image/grass.png",
    "garage": "scikit-image/motorcycle_left.png",
    "desk": "scikit-image/page.png",
}
"""What each camera always looks at."""
CAPTION_WORDS_MAX: Final = 5
_SIDE_MAX: Final = 240


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """Something with a picture and words."""

    name: str
    captions: tuple[str, ...]
    """Wordings, each with its article: ``a red car``."""
    picture: Image.Image
    """RGBA."""


def things(half: int) -> list[Thing]:
    """Every packaged thing, and the stamps of one half (0 or 1); of equal captions the first."""
    found = [
        Thing(artefact, captions, _photograph(artefact))
        for artefact, captions in PACKAGED
        if artefact not in BACKGROUNDS.values()
    ]
    taken = {caption for thing in found for caption in thing.captions}
    for path, _, caption in captioned_stamps():
        words = caption.removesuffix(".").split()
        text = " ".join([words[0].lower(), *words[1:]])
        if len(words) > CAPTION_WORDS_MAX or words[0].lower() not in ("a", "an", "the", "some"):
            continue
        if zlib.crc32(text.encode()) % 2 != half or text in taken:
            continue
        taken.add(text)
        with Image.open(path) as file:
            picture = file.convert("RGBA")
        picture.thumbnail((_SIDE_MAX, _SIDE_MAX))
        found.append(Thing(path.name, (text,), picture))
    return found


def background(camera: str) -> Image.Image:
    """The photograph that a camera looks at."""
    with Image.open(fetch(BACKGROUNDS[camera])) as file:
        return file.convert("RGB")


def _photograph(artefact: str) -> Image.Image:
    path = fetch(artefact)
    if path.suffix == ".mp4":
        with av.open(str(path)) as film:
            frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        picture = Image.fromarray(frames[len(frames) // 2].astype(np.uint8, copy=False))
    else:
        with Image.open(path) as file:
            picture = file.convert("RGB")
    picture.thumbnail((_SIDE_MAX, _SIDE_MAX))
    return picture.convert("RGBA")
