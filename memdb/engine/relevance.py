"""How far a clip's score stands out of the scores that unrelated clips of its camera would give.

A score says little by itself: what one camera, one encoder or one wording of a question gives to everything is
a hit elsewhere.  So each question is also scored against a small sample of the stream's clips, whose mean m is
where its *null distribution* on that stream lies, and

    z          =  (score - 0.7 m) / spread         spread: 2.5 |question| |clip| / sqrt(dim)
    relevance  =  F(z) ** things                   F: logistic distribution of mean 0 and deviation 1
                                                   things: 4 sqrt(clips of the stream)

which is the probability that the best of so many unrelated things scores less.  What the parts rest on, all measured on
real pictures by ``python -m bench relevance``:

* 0.7 and not 1: clips that do answer are in the sample too, and a camera that sees little else than what is asked
  for must not talk itself out of it; m is drawn toward 0, the score of a random direction.
* The spread is that of the space and not of the sample.  1 / sqrt(dim) is how far cosines of random directions
  vary, and real ones vary two or three times as far.  Divided by the spread of the sample, questions that nothing
  answers stand out more than those that something does: nothing like them being there, all scores are alike.
* Things and not clips: the more different things a camera has seen, the better the best of them matches anything; but
  a day of it does not show 5,400 different ones.
* F has the heavy tail that real scores have.

The sample (`memdb.engine.nulls`) is of the clips that were there at the revision, so a relevance is the same whenever
it is asked as of that revision, and does not depend on the filters of the question.  Within a stream it never falls as
the score rises.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import Any, Final

import numpy as np

from memdb.engine.nulls import Null, Nulls
from memdb.engine.policies import Selected
from memdb.index.partition import PartitionView
from memdb.types.arrays import Array

CENTRE_SHARE: Final = 0.7
SPREAD_SHARE: Final = 2.5
"""Of the deviation of the scores of random directions."""
THINGS_SHARE: Final = 4.0
LOGISTIC: Final = pi / sqrt(3)
SPREAD_MIN: Final = 1e-200
"""A spread is no divisor where all vectors are zero."""


class Relevance:
    """The relevance of rows of a partition to one question, at one revision."""

    def __init__(self, partition: PartitionView, query: Array, as_of: int | None) -> None:
        """query: from `PartitionView.unit`."""
        self.partition = partition
        self.query = query
        self.streams = partition.columns["stream_no"]
        self.nulls = Nulls(partition, as_of)

    def is_prepared(self, rows: Array) -> bool:
        """Whether nobody has to look at every row to tell the relevance of some: few clips, or streams of which it
        is known since the last commit.
        """
        return self.partition.is_whole or self.nulls.are_known(set(self.streams[rows].tolist()))

    def of(self, rows: Array, scores: Array) -> Array:
        """(n,) float64 in [0, 1] for rows and their scores."""
        if not len(rows):
            return np.empty(0)
        numbers = self.streams[rows].tolist()
        distinct = sorted(set(numbers))
        mean: Array | float
        spread: Array | float
        things: Array | float
        if len(distinct) == 1:
            # As most answers are.
            ((mean, spread, things),) = self._distributions(distinct)
        else:
            of_stream = dict(zip(distinct, self._distributions(distinct), strict=True))
            mean, spread, things = np.array([of_stream[number] for number in numbers]).T
        if self.partition.cosine:
            return relevances(scores, mean, spread, things)
        with np.errstate(over="ignore", invalid="ignore"):
            # Where scores overflowed there is nothing to compare.
            return np.nan_to_num(relevances(scores, mean, spread, things), nan=0.0)

    def excess(self, rows: Array, scores: Array) -> Array:
        """(n,) float64: how far scores of rows lie above the middle of their streams' null distributions."""
        numbers, places = np.unique(self.streams[rows], return_inverse=True)
        each = self.nulls.each(numbers.tolist())
        means = np.array([mean_score(null.mean, self.query) for null in each])
        return np.asarray(scores.astype(np.float64) - CENTRE_SHARE * means[places])

    def _distributions(self, stream_nos: list[int]) -> list[tuple[float, float, float]]:
        """Mean and spread of the null distribution of each stream, and its things."""
        dim, query = self.partition.dim, self.query
        length = 1.0
        if not self.partition.cosine:
            length = float(np.linalg.norm(query.astype(np.float64)))
        return [
            (mean_score(null.mean, query), spread_of(null, dim, length), things_of(null))
            for null in self.nulls.each(stream_nos)
        ]


def mean_score(mean: Array, query: Array) -> float:
    """The score of a (dim,) float64 mean to a query, float32 or that as float64; summed up in one known order, as no
    BLAS does it: whoever answers without Python (`memdb.engine.prepared`) has the same number.
    """
    return float(np.add.reduce(mean * query))


def spread_of(null: Null, dim: int, length: float = 1.0) -> float:
    """Of the null distribution of a stream to a question of that length."""
    of_random = SPREAD_SHARE / sqrt(dim) * length
    return max(of_random * null.length, SPREAD_MIN)


def things_of(null: Null) -> float:
    """How many things a stream has shown."""
    return THINGS_SHARE * sqrt(null.clips)


def relevances(
    scores: Array, mean: Array | float, spread: Array | float, things: Array | float
) -> Array:
    """(n,) float64 in [0, 1] of scores, by the mean and spread of the null distribution and its things."""
    z: Array = deviation(scores.astype(np.float64), mean, spread)
    return of_deviations(z, things)


def deviation(score: Any, mean: Any, spread: Any) -> Any:
    """How many spreads a score is above the middle of a null distribution: of numbers in float64, or of arrays."""
    return (score - CENTRE_SHARE * mean) / spread


def of_deviations(z: Array, things: Array | float) -> Array:
    """(n,) float64 in [0, 1]: the relevances of deviations, (n,) float64."""
    return np.asarray(np.exp(-things * np.logaddexp(0.0, -LOGISTIC * z)))


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
    others = relevance.nulls.rows if allowed is None else np.flatnonzero(allowed)
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
