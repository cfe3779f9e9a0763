"""Stand-ins for networks, where a test is about what surrounds them: their answers mean nothing,
and are the same for the same input."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from memdb import Space
from perception.encoders.base import Floats, Frame, FrameFeatures
from perception.sources.base import Samples

DIM = 16
TOKENS = 4


class HashEncoder:
    """Vectors drawn from a hash of the pixels; scenes from the mean colour, labels from it too."""

    space = Space("hashed", DIM, "cosine", "test:hash@1")
    tokens_per_frame = TOKENS

    def __init__(self) -> None:
        self.frames = 0

    def encode_frames(self, frames: Sequence[Frame]) -> FrameFeatures:
        self.frames += len(frames)
        vectors = np.stack([_drawn(frame.tobytes(), (1 + TOKENS, DIM)) for frame in frames])
        scenes = np.stack([_scene(frame) for frame in frames])
        labels = tuple(((f"shade {int(frame.mean()) // 16}", 0.5),) for frame in frames)
        return FrameFeatures(vectors[:, 0], vectors[:, 1:], scenes, labels)

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        return np.stack([_drawn(text.encode(), (DIM,)) for text in texts])


def hashed_words(samples: Samples, language: str = "en") -> str:
    """Other words for any other sample: what is transcribed twice must be the very same sound."""
    return f"{len(samples)} samples {hashlib.sha256(samples.tobytes()).hexdigest()[:12]}"


def _drawn(data: bytes, shape: tuple[int, ...]) -> Floats:
    seed = int.from_bytes(hashlib.sha256(data).digest()[:8], "little")
    array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    array /= np.linalg.norm(array, axis=-1, keepdims=True)
    return array


def _scene(frame: Frame) -> Floats:
    colour = frame.reshape(-1, 3).mean(axis=0) - 127.5
    scene: Floats = (colour / max(float(np.linalg.norm(colour)), 1e-6)).astype(np.float32)
    return scene
