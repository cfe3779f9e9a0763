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

The sample is taken at even distances from the clips that were there at the revision, in the order in which they
were written, so a relevance is the same whenever it is asked as of that revision, and does not depend on the
filters of the question.  Within a stream it never falls as the score rises.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import Final

import numpy as np

from memdb.engine.policies import Selected
from memdb.index.partition import Filter, PartitionView
from memdb.types.arrays import Array

SAMPLE_ROWS: Final = 64
"""Clips of a stream that are scored for its null distribution."""
CENTRE_SHARE: Final = 0.7
SPREAD_SHARE: Final = 2.5
"""Of the deviation of the scores of random directions."""
THINGS_SHARE: Final = 4.0
_LOGISTIC: Final = pi / sqrt(3)
_STREAMS_FEW: Final = 8
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

    def of(self, rows: Array, scores: Array) -> Array:
        """(n,) float64 in [0, 1] for rows and their scores."""
        if not len(rows):
            return np.empty(0)
        distinct, place = np.unique(self.streams[rows], return_inverse=True)
        mean, spread, things = self._nulls(distinct).T[:, place]
        with np.errstate(over="ignore", invalid="ignore"):
            z = (scores.astype(np.float64) - CENTRE_SHARE * mean) / spread
            found = np.exp(-things * np.logaddexp(0.0, -_LOGISTIC * z))
        # Where scores overflowed there is nothing to compare.
        return np.asarray(np.nan_to_num(found, nan=0.0))

    def _nulls(self, stream_nos: Array) -> Array:
        """(streams, 3): mean and spread of the null distribution of each, and its things."""
        rows_of = self._rows_of(stream_nos)
        samples = [rows[even_places(len(rows), SAMPLE_ROWS)] for rows in rows_of]
        scored = np.zeros(self.partition.rows, bool)
        for rows in samples:
            scored[rows] = True
        scores = self.partition.rough_scores(self.query, scored)
        of_random = SPREAD_SHARE / sqrt(self.partition.dim)
        return np.array(
            [
                (
                    float(scores[sample].sum(dtype=np.float64)) / len(sample),
                    max(of_random * self._length(sample), _LEAST),
                    THINGS_SHARE * sqrt(len(rows)),
                )
                for sample, rows in zip(samples, rows_of, strict=True)
            ]
        )

    def _rows_of(self, stream_nos: Array) -> list[Array]:
        """The rows of each stream that were there, in row order."""
        streams = self.streams[self.alive]
        if len(stream_nos) <= _STREAMS_FEW:
            return [self.alive[streams == no] for no in stream_nos]
        # Sorted once: a user may have a thousand cameras.
        order = np.argsort(streams, kind="stable")
        streams = streams[order]
        firsts = np.searchsorted(streams, stream_nos)
        ends = np.searchsorted(streams, stream_nos, "right")
        return [
            self.alive[order[first:end]]
            for first, end in zip(firsts.tolist(), ends.tolist(), strict=True)
        ]

    def _length(self, rows: Array) -> float:
        """|question| times the root mean square length of some rows."""
        if self.partition.cosine:
            return 1.0
        vectors = self.partition.matrix.take(rows).astype(np.float64)
        squares = float(np.mean(np.square(vectors).sum(axis=1)))
        return float(np.linalg.norm(self.query.astype(np.float64))) * sqrt(squares)


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
