"""Stretches of frames that stand out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.types.arrays import Array

_ROUNDING: Final = 1e-6
"""Frames of one picture have the same score but for this."""
RUNS_MAX: Final = 8
GAP_MAX: Final = 2
"""Frames that one does not look away for."""


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring frames."""

    first: int
    last: int
    score: float
    """Of the best frame."""


def best_runs(scores: Array, usual: float, clear: float) -> list[Run]:
    """The runs of a clip's (frames,) scores that lie above the middle between its best frame and what is
    usual, best first, at most `RUNS_MAX`; a gap of `GAP_MAX` frames belongs to the run.

    So a clip that matches all along is one run, and of one that matches for a moment the moment is left.
    All of the clip is one run too where its best frame is not ``clear`` above what is usual: then what its
    frames differ by says nothing about the question.
    """
    best = float(scores.max())
    if best - usual < clear:
        return [Run(0, len(scores) - 1, best)]
    edges = np.flatnonzero(
        np.diff(scores >= best - (best - usual) / 2 - _ROUNDING, prepend=False, append=False)
    )
    firsts, ends = edges[::2], edges[1::2]
    apart = firsts[1:] - ends[:-1] > GAP_MAX
    firsts, ends = firsts[np.r_[True, apart]], ends[np.r_[apart, True]]
    runs = [
        Run(int(first), int(end) - 1, float(scores[first:end].max()))
        for first, end in zip(firsts, ends, strict=True)
    ]
    return sorted(runs, key=lambda run: (-run.score, run.first))[:RUNS_MAX]
