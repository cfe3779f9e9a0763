"""Stretches of frames that stand out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.types.arrays import Array

_ROUNDING: Final = 1e-6
"""Frames of one picture have the same score but for this."""
RUNS_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring frames."""

    first: int
    last: int
    score: float
    """Of the best frame."""


def best_runs(scores: Array, usual: float) -> list[Run]:
    """The runs of a clip's (frames,) scores that lie above the middle between its best frame and what is
    usual, best first, at most `RUNS_MAX`.

    So a clip that matches all along is one run, and of one that matches for a moment the moment is left.
    """
    best = float(scores.max())
    least = best - max(0.0, best - usual) / 2 - _ROUNDING
    edges = np.flatnonzero(np.diff(scores >= least, prepend=False, append=False))
    runs = [
        Run(int(first), int(end) - 1, float(scores[first:end].max()))
        for first, end in zip(edges[::2], edges[1::2], strict=True)
    ]
    return sorted(runs, key=lambda run: (-run.score, run.first))[:RUNS_MAX]
