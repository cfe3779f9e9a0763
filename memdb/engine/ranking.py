"""The rows that answer a question with a feature or words, best first: search or policy, the bars that it sets, and
what stands out of its camera.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from memdb.engine.hybrid import Found, search_arms
from memdb.engine.policies import select
from memdb.engine.reading import WouldWait
from memdb.engine.relevance import Relevance, relevant
from memdb.engine.scope import Scope
from memdb.engine.standing_out import similarity_ranks, standing_out
from memdb.types.arrays import Array
from memdb.types.word_question import WordQuestion


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Rows and how they came to their order."""

    rows: Array
    """Best first."""
    scores: Array
    """Of the rows; not in order where these are by what stands out."""
    query: Array | None
    """(dim,) float32, None where there are words alone."""
    found: Found | None
    """What each arm found, where there are words."""
    relevance: Relevance | None
    """None without a query."""
    by_standing_out: bool
    """Whether candidates are to be ordered by what stands out of its camera."""
    ranks: Array | None = None
    """By similarity, where the rows are not the most similar ones and it is to be explained."""
    approximate: bool = False

    def relevances(self) -> dict[int, float]:
        """The relevance of each row; none without a query."""
        if self.relevance is None or self.query is None:
            return {}
        scores = self.scores
        if self.found is not None:
            # Words were weighed in.
            scores = self.relevance.partition.scores_of(self.query, self.rows)
        return dict(
            zip(self.rows.tolist(), self.relevance.of(self.rows, scores).tolist(), strict=True)
        )


def ranking(scope: Scope) -> Ranking:
    """As many of the best as the question reaches for."""
    question, partition, allowed = scope.question, scope.partition, scope.allowed
    query = _query(scope)
    stands_out = question.by_standing_out and partition.cosine and query is not None
    # Within one stream what stands out most is what is most alike.
    compared = stands_out and question.words is None and len(scope.searched.streams) > 1
    found: Found | None = None
    approximate = False
    if question.words is not None:
        # What is told of a hit does not depend on how many are: it is told its place among all.
        reach = partition.rows if question.explain else question.reach
        found = _searched(scope, question.words, query, reach)
        rows, scores = found.best(question.reach)
    else:
        assert query is not None, "a question without words has a feature"
        if scope.as_of is None and question.may_be_approximate and not compared:
            near = partition.near(query, question.reach, allowed)
            if near is None and scope.at_once and not partition.is_whole:
                raise WouldWait
            approximate = near is not None
            rows, scores = near or partition.search(query, question.reach, allowed)
        else:
            rows, scores = select(question.policy, partition, query, allowed, question.reach)
    relevance = None if query is None else Relevance(partition, query, scope.as_of)
    if scope.at_once and relevance is not None and not relevance.is_prepared(rows):
        raise WouldWait
    if question.min_relevance is not None:
        assert relevance is not None, "it was checked that there is a feature"
        least, best_first = question.min_relevance, question.policy == "top"
        rows, scores = relevant(
            relevance, least, (rows, scores), allowed, question.reach, best_first
        )
    if question.min_score is not None:
        # In float64, or what is asked for would be rounded to what a score can be.
        passed = scores.astype(np.float64) >= question.min_score
        if approximate and not passed.any():
            # That there is nothing, or the newest in its place, is said of all clips.
            assert query is not None, "there are no words"
            rows, scores = partition.search(query, question.reach, allowed)
            passed, approximate = scores.astype(np.float64) >= question.min_score, False
        rows, scores = rows[passed], scores[passed]
    ranks: Array | None = None
    if compared and relevance is not None and len(rows):
        bars = {"min_score": question.min_score, "min_relevance": question.min_relevance}
        rows, scores = standing_out(relevance, (rows, scores), allowed, question.rerank, **bars)
        if question.explain:
            ranks = similarity_ranks(relevance, rows, allowed, **bars)
    elif question.explain and question.policy != "top" and relevance is not None:
        # The published policies choose by time as well: what they give need not be the most similar.
        ranks = _places(relevance, rows, allowed)
    return Ranking(rows, scores, query, found, relevance, stands_out, ranks, approximate)


def newest(scope: Scope) -> Array:
    """The allowed row that ends last (of those the latest written), if any."""
    partition, allowed = scope.partition, scope.allowed
    rows = np.arange(partition.rows) if allowed is None else np.flatnonzero(allowed)
    return rows[np.lexsort((rows, partition.columns["end_ns"][rows]))][-1:]


def newest_ranked(scope: Scope, nothing: Ranking) -> Ranking:
    """The newest row in the place of ``nothing``, which found none; scored as a search scores it, to the last bit."""
    words, query = scope.question.words, nothing.query
    rows = newest(scope)
    if words is None:
        assert query is not None, "a question without words has a feature"
        ranks: Array | None = None
        if scope.question.explain and nothing.relevance is not None:
            ranks = _places(nothing.relevance, rows, scope.allowed)
        scores = scope.partition.scores_of(query, rows)
        return replace(nothing, rows=rows, scores=scores, ranks=ranks)
    # It need not be among the best, of which alone what was found knows all.
    found = _searched(scope, words, query, scope.partition.rows)
    return replace(nothing, rows=rows, scores=found.scores_of(rows), found=found)


def _places(relevance: Relevance, rows: Array, allowed: Array | None) -> Array:
    """Of each of some rows its place by similarity among all that may answer, from 1."""
    return similarity_ranks(relevance, rows, allowed, min_score=None, min_relevance=None)


def _searched(scope: Scope, words: WordQuestion, query: Array | None, reach: int) -> Found:
    """What each arm finds, the ``reach`` best of the similar ones."""
    return search_arms(scope.view, scope.partition, query, words, scope.allowed, scope.as_of, reach)


def _query(scope: Scope) -> Array | None:
    """What the clips' global memory is compared with."""
    feature = _feature(scope)
    return None if feature is None else scope.partition.unit(feature)


def _feature(scope: Scope) -> Array | None:
    """The question's own; else that of its text, where it is of the clips' space."""
    question = scope.question
    if question.feature is None and question.words is not None:
        feature = question.words.feature
        shared = scope.view.text_space_no(scope.as_of) == scope.searched.space_no
        # One that has no direction says nothing; the words may.
        return feature if shared and feature is not None and feature.any() else None
    return question.feature
