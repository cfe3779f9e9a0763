"""An encoder that keeps what it made of each picture: a scene that comes back to the pixel is encoded once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from memdb.types.space import Space
from perception.encoders.base import Encoder, Floats, Frame, FrameFeatures


class RememberingEncoder:
    """As the encoder behind it, to the bit: the features of a frame depend on its pixels alone."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[bytes, FrameFeatures] = {}
        self.encoded = 0
        """Pictures that went through the encoder behind."""

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
        key = hashlib.sha256(f"{frame.shape}".encode() + frame.tobytes()).digest()
        if key not in self._known:
            self._known[key] = self._encoder.encode_frames(frames)
            self.encoded += 1
        return self._known[key]

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """As `Encoder.encode_texts`."""
        return self._encoder.encode_texts(texts)
