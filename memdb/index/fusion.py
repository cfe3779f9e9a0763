"""One order out of what several arms found: a weighted mean of scores that were brought to [0, 1].

    score = sum over arms of weight * scaled score / sum of the weights of the arms asked

After Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval" (2023): a convex combination of
scores knows by how much a hit is ahead, which ranks (reciprocal rank fusion) do not; and so it is measured here,
`python -m bench hybrid`.

Scales depend on what the filters admit at the revision asked, on nothing else:

similarities    (s - floor) / (best - floor), floor = the `FLOOR_PLACE`-th best, or the least where there are fewer;
                what is below it, and not found by words, is no hit
words           s / max(best, `CEILING_SHARE` * ceiling), so that a hit by one word of many is not worth a full score
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.types.arrays import Array

FLOOR_PLACE: Final = 1000
"""Not below `LIMIT_MAX`, so that an answer is as long as it was asked to be."""
CEILING_SHARE: Final = 0.2


@dataclass(frozen=True, slots=True)
class ArmScores:
    """What one arm found: rows, ascending, each once."""

    name: str
    weight: float
    rows: Array
    raw: Array
    scaled: Array
    """float64 in [0, 1]."""
    parts: Array | None = None
    """Which part of the row's clip it is."""

    def place(self, row: int) -> int | None:
        """Where a row stands in the arrays, if it was found."""
        place = int(np.searchsorted(self.rows, row))
        return place if place < len(self.rows) and self.rows[place] == row else None

    def rank(self, place: int) -> int:
        """How many are better, and one."""
        score = self.scaled[place]
        better = np.count_nonzero(self.scaled > score)
        return int(better + np.count_nonzero(self.scaled[:place] == score)) + 1


def similarities(rows: Array, scores: Array) -> Array:
    """The scaled scores of an arm that compares vectors; of all that it found."""
    if len(rows) == 0:
        return np.empty(0, np.float64)
    raw = scores.astype(np.float64)
    floor, best = raw.min(), raw.max()
    if best == floor:
        return np.ones(len(raw))
    return np.asarray((raw - floor) / (best - floor))


def word_scores(scores: Array, ceiling: float) -> Array:
    """The scaled scores of an arm that looks for words."""
    best = float(scores.max(initial=0.0))
    if best <= 0.0:
        return np.zeros(len(scores))
    return np.asarray(scores / max(best, CEILING_SHARE * ceiling))


def best_parts(rows: Array, scores: Array, parts: Array) -> tuple[Array, Array, Array]:
    """(rows, scores, parts) with each row once, ascending, with its best part."""
    order = np.lexsort((parts, -scores, rows))
    rows, scores, parts = rows[order], scores[order], parts[order]
    first = np.ones(len(rows), bool)
    first[1:] = rows[1:] != rows[:-1]
    return rows[first], scores[first], parts[first]


def fused(arms: Sequence[ArmScores]) -> tuple[Array, Array]:
    """(rows ascending, float64 scores in [0, 1]) of everything that any arm found."""
    rows = np.unique(np.concatenate([arm.rows for arm in arms]))
    scores = np.zeros(len(rows), np.float64)
    for arm in arms:
        scores[np.searchsorted(rows, arm.rows)] += arm.weight * arm.scaled
    return rows, np.minimum(scores, 1.0)


def best(rows: Array, scores: Array, limit: int) -> tuple[Array, Array]:
    """The ``limit`` best, best first, equal scores by row."""
    if len(scores) > limit:
        least = np.partition(scores, len(scores) - limit)[len(scores) - limit]
        passed = scores >= least
        rows, scores = rows[passed], scores[passed]
    order = np.lexsort((rows, -scores))[:limit]
    return rows[order], scores[order]
