"""What an encoder is: pictures and questions as vectors of one space.

Invariant: the vectors of a frame depend on its pixels alone, bit for bit, never on the frames that
were encoded with it; a clip sent again after a restart is then recognised as the same clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from memdb.types.space import Space

Frame = npt.NDArray[np.uint8]
"""(height, width, 3) RGB."""

Floats = npt.NDArray[np.float32]

Label = tuple[str, float]
"""A name of what is seen and its probability."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameFeatures:
    """What an encoder makes of n frames."""

    frame_vectors: Floats
    """(n, dim), unit length, in the encoder's space."""
    region_tokens: Floats
    """(n, tokens_per_frame, dim), unit length; row by row from the top left."""
    scene_vectors: Floats
    """(n, any), unit length: what the clip rule compares; means nothing outside it."""
    labels: tuple[tuple[Label, ...], ...]
    """Per frame, likeliest first; empty where the encoder names nothing."""

    def __len__(self) -> int:
        return len(self.frame_vectors)


class Encoder(Protocol):
    """Embeds pictures and texts into one space; safe to call from several threads."""

    @property
    def space(self) -> Space:
        """The space of its vectors; ``model`` reads ``provider:model@hash``."""
        ...

    @property
    def tokens_per_frame(self) -> int:
        """Region tokens of one frame."""
        ...

    def encode_frames(self, frames: Sequence[Frame]) -> FrameFeatures:
        """Features of the frames, in order; frames may differ in size."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """(n, dim) unit vectors of questions in the same space."""
        ...
