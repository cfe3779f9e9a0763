"""An encoder that keeps what it made of each picture: a scene that comes back to the pixel is encoded once.

Where ``MEMDB_BENCH_FEATURES`` names a folder they are kept there too, so that a run after a change of the engine
need not encode a day again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from memdb.types.space import Space
from perception.encoders.base import Encoder, Floats, Frame, FrameFeatures

FOLDER: Final = "MEMDB_BENCH_FEATURES"


class RememberingEncoder:
    """As the encoder behind it, to the bit: the features of a frame depend on its pixels alone."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[str, FrameFeatures] = {}
        folder = os.environ.get(FOLDER)
        self._folder = None if folder is None else Path(folder)
        self.encoded = 0
        """Different pictures so far."""

    @property
    def space(self) -> Space:
        """As `Encoder.space`."""
        return self._encoder.space

    @property
    def tokens_per_frame(self) -> int:
        """As `Encoder.tokens_per_frame`."""
        return self._encoder.tokens_per_frame

    def encode_frames(self, frames: Sequence[Frame]) -> FrameFeatures:
        """As `Encoder.encode_frames`, of one frame."""
        (frame,) = frames
        content = f"{self.space.model} {frame.shape} ".encode() + frame.tobytes()
        key = hashlib.sha256(content).hexdigest()
        if key not in self._known:
            self._known[key] = self._read(key) or self._kept(
                key, self._encoder.encode_frames(frames)
            )
            self.encoded += 1
        return self._known[key]

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """As `Encoder.encode_texts`."""
        return self._encoder.encode_texts(texts)

    def _read(self, key: str) -> FrameFeatures | None:
        if self._folder is None or not (self._folder / f"{key}.npz").is_file():
            return None
        with np.load(self._folder / f"{key}.npz") as kept:
            pairs = zip(kept["names"].tolist(), kept["shares"].tolist(), strict=True)
            return FrameFeatures(
                kept["frame_vectors"],
                kept["region_tokens"],
                kept["scene_vectors"],
                (tuple(pairs),),
            )

    def _kept(self, key: str, features: FrameFeatures) -> FrameFeatures:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            (labels,) = features.labels
            with tempfile.NamedTemporaryFile(
                dir=self._folder, suffix=".new", delete=False
            ) as stream:
                np.savez(
                    stream,
                    frame_vectors=features.frame_vectors,
                    region_tokens=features.region_tokens,
                    scene_vectors=features.scene_vectors,
                    names=np.array([name for name, _ in labels], np.str_),
                    shares=np.array([share for _, share in labels], np.float64),
                )
            # Whoever reads meanwhile finds nothing or all of it.
            Path(stream.name).replace(self._folder / f"{key}.npz")
        return features
