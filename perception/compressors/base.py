"""What a compressor is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from perception.encoders.base import Floats

Halves = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True, eq=False)
class ClipMemory:
    """What is remembered of one clip."""

    short_memory: Halves
    """(tokens, dim): H."""
    global_memory: Floats
    """(dim,), unit length: what grounding searches."""
    frames_per_token_row: float
    """Frames that one row of ``short_memory`` covers."""


class Compressor(Protocol):
    """Makes a clip's memory out of its frames' features; safe to call from several threads."""

    def compress(self, frame_vectors: Floats, region_tokens: Floats) -> ClipMemory:
        """The memory of a clip of n ≥ 1 frames: (n, dim) vectors, (n, tokens_per_frame, dim)
        tokens.
        """
        ...
