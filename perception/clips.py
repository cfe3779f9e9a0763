"""Where one clip ends and the next begins.

The published rule, for frames at one a second: a frame begins a new clip when the current clip has
at least 3 frames, and either has 16 or looks different, which is a cosine of at most 0.9 to the
frame before.  The decision for a frame depends on the current clip and the frame before it, never
on earlier clips: cutting can begin anew at any clip's start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from perception.encoders.base import Floats

FRAMES_MIN: Final = 3
FRAMES_MAX: Final = 16
COSINE_MAX: Final = 0.9


@dataclass(frozen=True, slots=True)
class ClipRule:
    """The rule and its numbers."""

    frames_min: int = FRAMES_MIN
    frames_max: int = FRAMES_MAX
    cosine_max: float = COSINE_MAX

    def begins_clip(self, frames: int, cosine: float) -> bool:
        """Whether a frame begins a new clip.

        frames: frames of the current clip, 0 when there is none.  cosine: of the frame to the frame
        before.
        """
        if frames == 0:
            return True
        return frames >= self.frames_min and (
            frames >= self.frames_max or cosine <= self.cosine_max
        )


class ClipCutter:
    """Applies the rule to one stream of scene vectors."""

    def __init__(self, rule: ClipRule | None = None) -> None:
        self._rule = rule or ClipRule()
        self._previous: Floats | None = None
        self.frames = 0
        """Frames of the current clip."""

    def begins_clip(self, scene_vector: Floats) -> bool:
        """Take the next frame; whether it begins a new clip.  scene_vector: (any,), unit length."""
        previous, self._previous = self._previous, scene_vector
        cosine = 1.0 if previous is None else float(np.dot(previous, scene_vector))
        begins = self._rule.begins_clip(self.frames, cosine)
        self.frames = 1 if begins else self.frames + 1
        return begins
