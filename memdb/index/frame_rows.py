"""Which rows of short-term memory belong to which frame of a clip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from memdb.types.arrays import Array

_ROUNDING: Final = 1e-6
"""49 * (1 / 49) is less than 1."""


@dataclass(frozen=True, slots=True)
class FrameRows:
    """The rows of a clip as the steps in which it can be told what matched: its frames, or its rows where
    one covers several frames or the clip does not say.
    """

    rows: int
    frames_per_row: float | None
    """`Clip.frames_per_token_row`."""

    def starts(self) -> Array:
        """(steps,) int64, read-only: the first row of each step."""
        return _starts(self.rows, self.frames_per_row)

    def frames(self, first: int, last: int) -> tuple[int, int] | None:
        """The first and the last frame of some steps, None where the clip does not say."""
        ratio = self.frames_per_row
        if ratio is None:
            return None
        if ratio < 1:
            return first, last
        begin = math.floor(first * ratio + _ROUNDING)
        return begin, max(begin, math.ceil((last + 1) * ratio - _ROUNDING) - 1)


@lru_cache(maxsize=16)
def _starts(rows: int, ratio: float | None) -> Array:
    if ratio is None or ratio >= 1:
        starts = np.arange(rows)
    else:
        frames = np.floor(np.arange(rows) * ratio + _ROUNDING)
        starts = np.flatnonzero(np.diff(frames, prepend=-1))
    starts.flags.writeable = False
    return starts
