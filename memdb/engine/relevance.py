"""How far a clip's score stands out of the scores that unrelated clips give.

A score says little by itself: what one camera, one encoder or one wording of a question gives to everything is
a hit elsewhere.  So each question is also scored against two small samples of clips: of the clip's own stream,
and of all streams of the user in that space.  Each sample is a *null distribution* with mean m and spread s (at
least `SPREAD_MIN` of the lengths of the vectors), and

    z          =  the mean of (score - m) / s over both
    relevance  =  F(z) ** n        F: logistic distribution of spread 1, n: clips of the stream, 64 at most

which is the probability that the best of n unrelated clips would score less: of questions that nothing answers,
about one in ten should find a hit of relevance 0.9.  F has the heavy tail that real scores have.  n ends at 64
because clips of one camera are much alike: a day of it does not show 5,400 different things.  Both samples,
because each fails alone: a camera that sees little else than what is asked for stands out of its own clips
least, and one camera among others may give more, or less, to everything.

The samples are taken at even distances from the clips that were there at the revision, in the order in which
they were written, so a relevance is the same whenever it is asked as of that revision, and does not depend on
the filters of the question.  Within a stream it never falls as the score rises.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import Final

import numpy as np

from memdb.engine.policies import Selected
from memdb.index.partition import Filter, PartitionView
from memdb.types.arrays import Array

OWN_ROWS: Final = 32
"""Clips of the hit's own stream that are scored."""
ALL_ROWS: Final = 96
"""Clips of all streams of the space that are scored."""
CLIPS_MAX: Final = 64
"""The most that n counts."""
SPREAD_MIN: Final = 0.03
"""As a share of |question| |clip|: of a camera that shows one still picture all scores are the same."""
_LOGISTIC: Final = pi / sqrt(3)
_LEAST: Final = 1e-200
"""A spread is no divisor where all vectors are zero."""


class Relevance:
    """The relevance of rows of a partition to one question, at one revision."""

    def __init__(self, partition: PartitionView, query: Array, as_of: int | None) -> None:
        """query: from `PartitionView.unit`."""
        self.partition = partition
        self.query = query
        self.streams = partition.columns["stream_no"]
        alive = partition.allowed(Filter(), as_of)
        self.alive = np.arange(partition.rows) if alive is None else np.flatnonzero(alive)
        self._of_all = self.alive[even_places(len(self.alive), ALL_ROWS)]

    def of(self, rows: Array, scores: Array) -> Array:
        """(n,) float64 in [0, 1] for rows and their scores."""
        if not len(rows):
            return np.empty(0)
        distinct, place = np.unique(self.streams[rows], return_inverse=True)
        slope, middle, count = self._curves(distinct).T[:, place]
        with np.errstate(over="ignore", invalid="ignore"):
            z = (scores.astype(np.float64) - middle) * slope
            found = np.exp(-count * np.logaddexp(0.0, -_LOGISTIC * z))
        # Where scores overflowed there is nothing to compare.
        return np.asarray(np.nan_to_num(found, nan=0.5))

    def _curves(self, stream_nos: Array) -> Array:
        """(streams, 3): z is (score - middle) * slope, and n."""
        of_streams = [self._own(no) for no in stream_nos]
        samples = [rows[even_places(len(rows), OWN_ROWS)] for rows in of_streams]
        scored = np.zeros(self.partition.rows, bool)
        for rows in (self._of_all, *samples):
            scored[rows] = True
        scores = self.partition.rough_scores(self.query, scored)
        least = SPREAD_MIN * self._length(scored)
        of_all, spread_of_all = _null(scores[self._of_all], least)
        curves = np.empty((len(samples), 3))
        for curve, sample, rows in zip(curves, samples, of_streams, strict=True):
            own, spread = _null(scores[sample], least)
            slope = (1 / spread + 1 / spread_of_all) / 2
            middle = (own / spread + of_all / spread_of_all) / (2 * slope)
            curve[:] = slope, middle, min(len(rows), CLIPS_MAX)
        return curves

    def _own(self, stream_no: int) -> Array:
        """The rows of a stream that were there."""
        return np.asarray(self.alive[self.streams[self.alive] == stream_no])

    def _length(self, chosen: Array) -> float:
        """|question| times the root mean square length of the chosen rows."""
        if self.partition.cosine:
            return 1.0
        vectors = self.partition.matrix.take(np.flatnonzero(chosen)).astype(np.float64)
        squares = float(np.mean(np.square(vectors).sum(axis=1)))
        return float(np.linalg.norm(self.query.astype(np.float64))) * sqrt(squares)


def _null(scores: Array, least: float) -> tuple[float, float]:
    """Mean and spread of the scores of a sample."""
    wide = scores.astype(np.float64)
    mean = float(wide.sum()) / len(wide)
    away = wide - mean
    return mean, max(sqrt(float(away @ away) / len(wide) + least * least), _LEAST)


def even_places(count: int, most: int) -> Array:
    """At most ``most`` of ``count`` places, at even distances, the first always among them."""
    taken = min(count, most)
    return np.arange(taken) * count // max(taken, 1)


def relevant(
    relevance: Relevance,
    least: float,
    found: Selected,
    allowed: Array | None,
    limit: int,
    best_first: bool,
) -> Selected:
    """Of what a policy selected, what has at least so much relevance.

    best_first: ``found`` are the ``limit`` best of the allowed rows; then so is the answer, of those that have
    the relevance.  A clip that scores less than another may have more, where its stream gives less to
    everything.
    """
    rows, scores = found
    passed = relevance.of(rows, scores) >= least
    kept = rows[passed], scores[passed]
    if not best_first or passed.all() or len(rows) < limit:
        return kept
    # A stream of which one clip failed has no other that passes: those before it are here, those after
    # it have less.  In the other streams, clips behind the `limit` best may pass.
    streams = relevance.streams
    others = relevance.alive if allowed is None else np.flatnonzero(allowed)
    others = others[~np.isin(streams[others], np.unique(streams[rows[~passed]]))]
    if not len(others):
        return kept
    mask = np.zeros(len(streams), bool)
    mask[others] = True
    more, more_scores = relevance.partition.scores(relevance.query, mask)
    enough = relevance.of(more, more_scores) >= least
    own = ~mask[kept[0]]
    rows = np.concatenate([kept[0][own], more[enough]])
    scores = np.concatenate([kept[1][own], more_scores[enough]])
    order = np.lexsort((rows, -scores))[:limit]
    return rows[order], scores[order]
