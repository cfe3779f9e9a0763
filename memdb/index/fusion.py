"""One order out of what several arms found: a weighted mean of scores that were brought to [0, 1].

    score = sum over arms of weight * scaled score / sum of the weights of the arms asked

After Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval" (2023): a convex
combination of scores knows by how much a hit is ahead, which ranks (reciprocal rank fusion) do not; and
so it is measured here, `python -m bench hybrid`.

Scales depend on what the filters admit at the revision asked, on nothing else, the limit included:

similarities    (s - floor) / (best - floor), floor = the `FLOOR_PLACE`-th best, or the least where there
                are fewer; 0 below it: what a picture's similarity is worth differs from space to space
cosines         of sentences, as they are, from 0 on: the best of what was said may have nothing to do with the
                question, and then is worth little
words           s / max(best, `CEILING_SHARE` * ceiling), so that a hit by one word of many is not worth
                a full score
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.types.arrays import Array

_LARGEST: Final = float(np.finfo(np.float32).max)
FLOOR_PLACE: Final = 100
"""Further floors are no better on dialogue, and cost more: each row above it is scored whole."""
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
        """How many are better, and one; of equal ones the first."""
        score = self.raw[place]
        better = np.count_nonzero(self.raw > score)
        return int(better + np.count_nonzero(self.raw[:place] == score)) + 1


def similarities(raw: Array) -> Array:
    """The scaled scores of an arm that compares vectors; of its best, at least `FLOOR_PLACE`."""
    if len(raw) == 0:
        return np.empty(0, np.float64)
    # Where products overflowed, the largest there is: of infinities no share could be taken.
    raw = np.clip(raw.astype(np.float64), -_LARGEST, _LARGEST)
    place = min(FLOOR_PLACE, len(raw))
    floor, best = float(np.partition(raw, -place)[-place]), float(raw.max())
    if best == floor:
        return np.asarray((raw == best).astype(np.float64))
    return np.asarray(np.maximum(raw - floor, 0.0) / (best - floor))


def cosines(raw: Array) -> Array:
    """The scaled scores of an arm that compares sentences."""
    return np.asarray(np.clip(raw.astype(np.float64), 0.0, 1.0))


def word_scores(raw: Array, ceiling: float) -> Array:
    """The scaled scores of an arm that looks for words."""
    best = float(raw.max(initial=0.0))
    if best <= 0.0:
        return np.zeros(len(raw))
    return np.asarray(raw / max(best, CEILING_SHARE * ceiling))


def best_parts(rows: Array, raw: Array, parts: Array) -> tuple[Array, Array, Array]:
    """(rows, scores, parts) with each row once, ascending, with its best part, of equal ones the first.

    parts: ascending among those of one row.
    """
    if len(rows) == 0:
        return rows, raw, parts
    count = int(rows.max()) + 1
    highest = np.full(count, -np.inf)
    np.maximum.at(highest, rows, raw)
    chosen = raw == highest[rows]
    part = np.zeros(count, np.int64)
    # Backwards, so that the first of equal ones is the one that stays.
    part[rows[chosen][::-1]] = parts[chosen][::-1]
    once = np.flatnonzero(highest > -np.inf)
    return once, highest[once], part[once]


def fused(arms: Sequence[ArmScores]) -> tuple[Array, Array]:
    """(rows ascending, float64 scores in [0, 1]) of everything that any arm found."""
    count = max((int(arm.rows[-1]) + 1 for arm in arms if len(arm.rows)), default=0)
    there = np.zeros(count, bool)
    scores = np.zeros(count, np.float64)
    for arm in arms:
        there[arm.rows] = True
        scores[arm.rows] += arm.weight * arm.scaled
    rows = np.flatnonzero(there)
    return rows, np.minimum(scores[rows], 1.0)
