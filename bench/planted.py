"""Cameras that always look at the same scene, and short moments planted in it, all of real pictures.

Each of four cameras sees one scene of the demo's films over and over.  In some of its clips a picture of
another scene lies in one quarter of a few frames: smaller than the quarter, so that the scene shows around it.
Frames go through the bundled encoder as whole pictures, as `memdb-ingest` has them, and each clip through
the pooled compressor.  Where the moments are is known to the frame, so answers can be compared with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from memdb.types.arrays import Array
from perception.compressors.base import ClipMemory
from perception.compressors.pooled import PooledCompressor
from perception.encoders.base import FrameFeatures
from perception.encoders.conse import ConseEncoder
from perception.sources.base import VideoFrame
from perception.sources.file import FileSource
from reasoner.demo.media import build_films
from reasoner.demo.script import FILMS

SCENES: Final = {
    "bikes": "people riding bicycles",
    "man in a suit": "a man in a suit and tie",
    "rocket": "a rocket at the launch pad",
    "coffee": "a cup of coffee",
    "moped": "a moped",
    "cat": "a cat",
    "astronaut": "an astronaut",
    "photographer": "a photographer with a tripod",
    "rabbit": "a rabbit",
}
"""Scenes of the films that the bundled encoder has names for, and those."""
CAMERAS: Final = ("bikes", "man in a suit", "rocket", "coffee")
"""What each camera always sees."""
CLIPS: Final = 24
FRAMES: Final = 8
READ_HZ: Final = 4.0
BACKGROUND_FRAMES: Final = 16
_SIZE: Final = 0.75
"""Of a planted picture, in widths and heights of a quarter."""
_WORD: Final = re.compile(r"\w{4,}")

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class PlantedClip:
    """One clip, and what was planted in it."""

    memory: ClipMemory
    planted: str | None
    """Name of a scene."""
    frames: tuple[int, int]
    """First and last frame in which it is seen."""


@dataclass(frozen=True, slots=True, eq=False)
class PlantedQuestion:
    """A question with one right clip in its camera."""

    text: str
    camera: str
    planted: str
    feature: Array
    """(dim,) of the whole sentence."""
    tokens: Array
    """(n, dim): the sentence and its words of four letters and more."""


@dataclass(frozen=True, slots=True, eq=False)
class Planted:
    """One recording of the cameras, and the questions to it."""

    cameras: dict[str, tuple[PlantedClip, ...]]
    questions: tuple[PlantedQuestion, ...]


def planted_moments(seed: int, recordings: int, *, quick: bool) -> tuple[Planted, ...]:
    """Each recording has its own places and pictures for the moments.  About a minute of one core each;
    films and weights are fetched where they are not cached.
    """
    encoder = ConseEncoder()
    scenes = _scenes()
    studio = _Studio(encoder, scenes)
    names = CAMERAS[:1] if quick else CAMERAS
    clips, objects = (8, 3) if quick else (CLIPS, len(SCENES))
    made: list[Planted] = []
    for recording in range(recordings):
        random = np.random.default_rng(seed + recording)
        cameras = {name: _camera(studio, random, name, clips, objects) for name in names}
        made.append(Planted(cameras, _questions(encoder, cameras)))
    return tuple(made)


class _Studio:
    """The scenes, and what each camera sees while nothing happens."""

    def __init__(self, encoder: ConseEncoder, scenes: dict[str, list[Pixels]]) -> None:
        self.encoder = encoder
        self.scenes = scenes
        self._usual: dict[str, tuple[list[Pixels], list[FrameFeatures]]] = {}

    def usual(self, name: str) -> tuple[list[Pixels], list[FrameFeatures]]:
        """Frames of a scene, evenly spread, and their features."""
        if name not in self._usual:
            frames = self.scenes[name]
            places = np.linspace(0, len(frames) - 1, BACKGROUND_FRAMES).round().astype(int)
            chosen = [frames[place] for place in places]
            features = [self.encoder.encode_frames([frame]) for frame in chosen]
            self._usual[name] = chosen, features
        return self._usual[name]


def _scenes() -> dict[str, list[Pixels]]:
    """The frames of each scene, those at its cuts left out."""
    found: dict[str, list[Pixels]] = {}
    paths = build_films(FILMS)
    for film in FILMS:
        source = FileSource(str(paths[film.camera]), rate_hz=READ_HZ, with_audio=False)
        try:
            frames = [item.pixels for item in source.items() if isinstance(item, VideoFrame)]
        finally:
            source.close()
        for name, (start_s, end_s) in film.scene_times().items():
            if name in SCENES:
                first, last = round(start_s * READ_HZ) + 1, round(end_s * READ_HZ) - 1
                found[name] = frames[first:last]
    return found


def _camera(
    studio: _Studio, random: np.random.Generator, name: str, clips: int, objects: int
) -> tuple[PlantedClip, ...]:
    background, seen = studio.usual(name)
    things = [thing for thing in SCENES if thing != name][:objects]
    homes = dict(zip(random.permutation(clips)[: len(things)].tolist(), things, strict=True))
    made: list[PlantedClip] = []
    for number in range(clips):
        first = int(random.integers(len(background)))
        shown = [(first + step) % len(background) for step in range(FRAMES)]
        features = [seen[place] for place in shown]
        thing, span = homes.get(number), (0, -1)
        if thing is not None:
            length = int(random.integers(2, 4))
            begin = int(random.integers(FRAMES - length + 1))
            span, quarter = (begin, begin + length - 1), int(random.integers(4))
            for step in range(begin, begin + length):
                pictures = studio.scenes[thing]
                picture = pictures[int(random.integers(len(pictures)))]
                frame = _with(background[shown[step]], picture, quarter)
                features[step] = studio.encoder.encode_frames([frame])
        made.append(PlantedClip(_compressed(features), thing, span))
    return tuple(made)


def _with(frame: Pixels, picture: Pixels, quarter: int) -> Pixels:
    """The frame with a picture in the middle of one of its quarters."""
    height, width = frame.shape[0] // 2, frame.shape[1] // 2
    size = (round(width * _SIZE), round(height * _SIZE))
    image = Image.fromarray(frame)
    left = (quarter % 2) * width + (width - size[0]) // 2
    top = (quarter // 2) * height + (height - size[1]) // 2
    image.paste(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC), (left, top))
    return np.asarray(image)


def _compressed(features: list[FrameFeatures]) -> ClipMemory:
    vectors = np.concatenate([frame.frame_vectors for frame in features])
    tokens = np.concatenate([frame.region_tokens for frame in features])
    return PooledCompressor().compress(vectors, tokens)


def _questions(
    encoder: ConseEncoder, cameras: dict[str, tuple[PlantedClip, ...]]
) -> tuple[PlantedQuestion, ...]:
    made: list[PlantedQuestion] = []
    for camera, clips in cameras.items():
        for clip in clips:
            if clip.planted is None:
                continue
            thing, scene = SCENES[clip.planted], SCENES[camera]
            for text in (f"When was {thing} on screen?", f"When was there {thing} beside {scene}?"):
                parts = [text, *_WORD.findall(text)]
                features = encoder.encode_texts(parts)
                made.append(PlantedQuestion(text, camera, clip.planted, features[0], features))
    return tuple(made)
