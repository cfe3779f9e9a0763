"""The relevance of clips that are stored, each as of the commit that brought it: what a watch compares.

The mean of a camera's sample scores what the sample scores in the mean, so the scores of the camera's clips, taken
once, give the null distribution at every commit.  What rounding could decide is computed as a watch computes it.
"""

from __future__ import annotations

from math import isfinite, isnan, sqrt
from typing import Final

import numpy as np

from memdb import deadline
from memdb.engine.nulls import SAMPLE_ROWS, even_places
from memdb.engine.relevance import SPREAD_MIN, SPREAD_SHARE, THINGS_SHARE, relevances
from memdb.engine.standing_questions import rounding
from memdb.engine.standing_relevance import relevance_at_birth
from memdb.index.partition import PartitionView
from memdb.types.arrays import Array

_SLOPE: Final = 2.0
"""More than a relevance rises with its z."""


def scores_and_relevances(
    partition: PartitionView, feature: Array, allowed: Array | None, thresholds: tuple[float, ...]
) -> tuple[Array, Array, Array]:
    """(rows, float64 scores, float64 relevances) of the allowed."""
    # None is less than 0, so rounding decides nothing there, where nearly all are.
    thresholds = tuple(threshold for threshold in thresholds if threshold > 0.0)
    probe = partition.unit(feature)
    rows, _ = partition.scores(probe, allowed)
    _, every = partition.scores(probe, None)
    scores = every.astype(np.float64)
    found = np.empty(len(rows))
    streams = partition.columns["stream_no"]
    for stream_no in np.unique(streams[rows]).tolist():
        own = np.flatnonzero(streams == np.uint32(stream_no))
        camera = _Camera(partition, own, scores, probe)
        for place in np.flatnonzero(streams[rows] == np.uint32(stream_no)).tolist():
            deadline.check()
            found[place] = camera.relevance(int(rows[place]), thresholds)
    return rows, scores[rows], found


class _Camera:
    """One stream's clips, and what each scores."""

    def __init__(self, partition: PartitionView, rows: Array, scores: Array, probe: Array) -> None:
        """rows: of the stream, ascending.  scores: (rows of the partition,) float64."""
        column = partition.columns
        self._partition = partition
        self._probe = probe
        self._scores = scores
        self._rows = rows
        self._births = column["birth"][rows]
        self._deaths = column["death"][rows]
        self._lengths: Array | None = None
        length = 1.0
        if not partition.cosine:
            length = float(np.linalg.norm(probe.astype(np.float64)))
            vectors = partition.matrix.take(rows).astype(np.float64)
            self._lengths = np.square(vectors).sum(axis=1)
        self._of_random = SPREAD_SHARE / sqrt(partition.dim) * length
        self._slack = 2 * rounding(partition.matrix.norm_max, probe)

    def relevance(self, row: int, thresholds: tuple[float, ...]) -> float:
        """That of a row as of the commit that brought it."""
        birth = self._partition.columns["birth"][row]
        there = np.flatnonzero((self._births <= birth) & (self._deaths > birth))
        sample = there[even_places(len(there), SAMPLE_ROWS)]
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(self._scores[self._rows[sample]].mean())
        squared = 1.0 if self._lengths is None else float(self._lengths[sample].mean())
        spread = max(self._of_random * sqrt(squared), SPREAD_MIN)
        things = THINGS_SHARE * sqrt(len(there))
        with np.errstate(over="ignore", invalid="ignore"):
            (found,) = relevances(self._scores[row : row + 1], mean, spread, things).tolist()
        found = 0.0 if isnan(found) else found
        near = _SLOPE * self._slack / spread
        if not (isfinite(self._scores[row]) and isfinite(mean)):
            # What overflowed in float32 is no number, or the wrong one.
            near = np.inf
        if any(abs(found - threshold) <= near for threshold in thresholds):
            return relevance_at_birth(self._partition, row, self._probe)[1]
        return float(found)
