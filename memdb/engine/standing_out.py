"""Candidates of a question with tokens, and their order, by what stands out of what their camera gives to anything.

A cosine says little beside that of another camera: one that always sees something like what is asked for fills all
places among the candidates, whole clips and tokens alike.  So what the camera usually gives is taken off first, the
share of it that `memdb.engine.relevance` takes::

    score = ((similarity - 0.7 m) + (late interaction - 0.7 u)) / 2

with m the mean similarity of the camera's clips to the question, and u the mean late interaction of its sample
(`memdb.engine.rerank`).  Both halves count: late interaction sees a thing in a corner, the whole clip is less easily
deceived by a single frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memdb.engine.relevance import CENTRE_SHARE, Relevance
from memdb.engine.rerank import LateInteraction, Scored
from memdb.types.arrays import Array


def standing_out(
    relevance: Relevance,
    found: tuple[Array, Array],
    allowed: Array | None,
    count: int,
    *,
    min_score: float | None,
    min_relevance: float | None,
) -> tuple[Array, Array]:
    """The ``count`` allowed rows that stand out most, then what else was ``found``; (rows, similarities) as given.

    found: the best by similarity, at least ``count`` where there are so many that pass.
    """
    rows, scores = _passing(relevance, allowed, min_score, min_relevance)
    best = np.lexsort((rows, -relevance.excess(rows, scores)))[:count]
    behind = ~np.isin(found[0], rows[best])
    taken = len(found[0])
    return (
        np.concatenate([rows[best], found[0][behind]])[:taken],
        np.concatenate([scores[best], found[1][behind]])[:taken],
    )


def similarity_ranks(
    relevance: Relevance,
    rows: Array,
    allowed: Array | None,
    *,
    min_score: float | None,
    min_relevance: float | None,
) -> Array:
    """The place of each of the ``rows`` by similarity alone, from 1, among all that pass: candidates need not be the
    first.
    """
    passing, scores = _passing(relevance, allowed, min_score, min_relevance)
    ranks = np.empty(len(passing), np.int64)
    ranks[np.lexsort((passing, -scores))] = np.arange(1, len(passing) + 1)
    return ranks[np.searchsorted(passing, rows)]


def _passing(
    relevance: Relevance,
    allowed: Array | None,
    min_score: float | None,
    min_relevance: float | None,
) -> tuple[Array, Array]:
    """The allowed rows, ascending, that are similar and relevant enough, and their similarities."""
    rows, scores = relevance.partition.scores(relevance.query, allowed)
    if min_score is not None:
        passed = scores.astype(np.float64) >= min_score
        rows, scores = rows[passed], scores[passed]
    if min_relevance is not None:
        passed = relevance.of(rows, scores) >= min_relevance
        rows, scores = rows[passed], scores[passed]
    return rows, scores


def by_standing_out(
    relevance: Relevance, interaction: LateInteraction, rows: Array, ranked: Sequence[Scored]
) -> list[Scored]:
    """What was ranked by late interaction alone, by what it stands out by; equal ones stay as they are."""
    similarities = relevance.partition.scores_of(relevance.query, rows)
    excess = dict(zip(rows.tolist(), relevance.excess(rows, similarities).tolist(), strict=True))
    scored = [
        one
        if one.score is None
        else Scored(
            one.row,
            (excess[one.row] + one.score - CENTRE_SHARE * interaction.usual(one.row)) / 2,
        )
        for one in ranked
    ]
    return sorted(scored, key=lambda one: np.inf if one.score is None else -one.score)
