"""Searching by vectors and by words at once: every arm under the same filters, at the same revision.

Filters and ``as_of`` say which rows of the partition may answer before any arm looks; no arm finds another row, so
nothing is thrown away after the search.  What a word is worth depends on all that was alive at the revision, in every
stream of the user (transcripts) or of the space (events, labels).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from memdb.engine.checks import no_text_space
from memdb.engine.view import View
from memdb.index.bm25 import bm25
from memdb.index.fusion import (
    FLOOR_PLACE,
    ArmScores,
    best_parts,
    cosines,
    fused,
    similarities,
    word_scores,
)
from memdb.index.partition import Filter, PartitionView
from memdb.index.rows_by_number import RowsByNumber
from memdb.index.text import TextView
from memdb.index.text_cosines import NearCosines, TextCosines
from memdb.index.words import Words
from memdb.store import schema
from memdb.types.arm import EVENTS, LABELS, TRANSCRIPT, TRANSCRIPT_FEATURES, VECTOR
from memdb.types.arrays import Array, check_dim
from memdb.types.word_question import WordQuestion

_ROUNDING: Final = 1e-9
"""More than the order in which scores are added up takes or gives."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the arms found: all of it, but of sentences' cosines maybe only what the best ones are among."""

    rows: Array
    """Ascending."""
    scores: Array
    """(rows,) float64 in [0, 1]."""
    arms: tuple[ArmScores, ...]
    weights: float
    """Sum of the weights, as the question gives them, of the arms that were asked."""
    similarity: Callable[[Array], Array] | None = None
    """Of any rows, ascending, to the question's vector; None where it was not searched by."""

    def best(self, limit: int) -> tuple[Array, Array]:
        """(rows, scores) of the ``limit`` best, best first; equal scores by similarity, then by row."""
        rows, scores = self.rows, self.scores
        if len(rows) > limit:
            passed = scores >= np.partition(scores, len(scores) - limit)[len(scores) - limit]
            rows, scores = rows[passed], scores[passed]
        likeness = np.full(len(rows), -np.inf)
        for arm in self.arms:
            if arm.name == VECTOR:
                places = np.searchsorted(rows, arm.rows)
                known = places < len(rows)
                known[known] = rows[places[known]] == arm.rows[known]
                likeness[places[known]] = arm.raw[known]
        if self.similarity is not None:
            # The arm knows its best alone; how many these are must not decide between equal scores.
            _, of, counts = np.unique(scores, return_inverse=True, return_counts=True)
            unknown = np.isneginf(likeness) & (counts[of] > 1)
            if unknown.any():
                likeness[unknown] = self.similarity(rows[unknown])
        order = np.lexsort((rows, -likeness, -scores))[:limit]
        return rows[order], scores[order]

    def scores_of(self, rows: Array) -> Array:
        """Scores of any of the best rows; 0 for what no arm found."""
        scores = np.zeros(len(rows), np.float64)
        places = np.searchsorted(self.rows, rows)
        for index, (place, row) in enumerate(zip(places, rows, strict=True)):
            if place < len(self.rows) and self.rows[place] == row:
                scores[index] = self.scores[place]
        return scores


def check_text_feature(view: View, words: WordQuestion) -> None:
    """Refuse a text feature that the user's text space cannot have."""
    if words.feature is None:
        return
    space_no = view.state.counters.text_space_no
    if space_no is None:
        raise no_text_space("text_feature")
    check_dim(words.feature, view.state.spaces[space_no].dim, "text_feature")


def search_arms(
    view: View,
    partition: PartitionView,
    query: Array | None,
    words: WordQuestion,
    allowed: Array | None,
    as_of: int | None,
    limit: int,
) -> Found:
    """Ask every arm that the question has something for.

    query: from `PartitionView.unit`.  allowed: (rows,) bool, or None for all.  limit: so many of the best have all
    that there is of them, and at least so many are found, where there are vectors of so many; their scores do not
    depend on it.
    """
    revision = view.revision if as_of is None else as_of
    text_space_no = view.text_space_no(as_of)
    asked = [TRANSCRIPT, EVENTS, LABELS]
    if query is not None:
        asked.append(VECTOR)
    # Before the user had a text space there is nothing that a feature could be compared with.
    if words.feature is not None and text_space_no is not None:
        asked.append(TRANSCRIPT_FEATURES)
    total = sum(words.weights[name] for name in asked) or 1.0
    weights = {name: words.weights[name] / total for name in asked if words.weights[name] > 0.0}
    arms: list[ArmScores] = []
    similarity: Callable[[Array], Array] | None = None
    if query is not None and VECTOR in weights:
        arms.append(_vector_arm(partition, query, allowed, limit, weights[VECTOR]))
        similarity = partial(_similarity, partition, query)
    utterances: _Utterances | None = None
    if {TRANSCRIPT, TRANSCRIPT_FEATURES} & weights.keys() and view.texts.documents:
        utterances = _Utterances(view.texts, partition, allowed, revision)
        if TRANSCRIPT in weights:
            arms.append(utterances.by_words(words.text, weights[TRANSCRIPT]))
    place = len(arms)
    arms += _name_arms(partition, words.text, allowed, as_of, weights)
    if utterances is not None and TRANSCRIPT_FEATURES in weights and text_space_no is not None:
        compared = view.texts.features.get(text_space_no)
        if compared is not None:
            assert words.feature is not None
            weight = weights[TRANSCRIPT_FEATURES]
            found = utterances.by_feature(compared, words.feature, weight, arms, limit)
            # Sums of numbers depend on their order: that of the arms' names.
            arms.insert(place, found)
    if not arms:
        return Found(np.empty(0, np.int64), np.empty(0), (), total)
    return Found(*fused(arms), tuple(arms), total, similarity)


def _similarity(partition: PartitionView, query: Array, rows: Array) -> Array:
    """(n,) scores of rows, ascending, as the search has them."""
    mask = np.zeros(partition.rows, bool)
    mask[rows] = True
    _, scores = partition.scores(query, mask)
    return _numbers(scores)


def _numbers(scores: Array) -> Array:
    """Scores with what overflowed both ways last, as a search has them."""
    return np.nan_to_num(scores, nan=-np.inf, posinf=np.inf, neginf=-np.inf)


def _vector_arm(
    partition: PartitionView, query: Array, allowed: Array | None, limit: int, weight: float
) -> ArmScores:
    wanted = max(FLOOR_PLACE, limit)
    if wanted >= partition.rows:
        rows, scores = partition.scores(query, allowed)
        scores = _numbers(scores)
        return ArmScores(VECTOR, weight, rows, scores, similarities(scores))
    rows, scores = partition.search(query, wanted, allowed)
    if len(rows) == wanted and scores[0] == scores[-1]:
        # A camera that always shows the same: all that is found of it is the best, and so is what was not.
        best = scores[0]
        rows, scores = partition.scores(query, allowed)
        equal = _numbers(scores) == best
        rows, scores = rows[equal], np.full(np.count_nonzero(equal), best)
    order = np.argsort(rows)
    rows, scores = rows[order], scores[order]
    return ArmScores(VECTOR, weight, rows, scores, similarities(scores))


def _name_arms(
    partition: PartitionView,
    text: str,
    allowed: Array | None,
    as_of: int | None,
    weights: Mapping[str, float],
) -> list[ArmScores]:
    alive = partition.allowed(Filter(), as_of)
    if alive is None:
        alive = np.ones(partition.rows, bool)
    names: dict[str, Words] = {EVENTS: partition.names.events, LABELS: partition.names.labels}
    arms: list[ArmScores] = []
    for name, index in names.items():
        if name not in weights:
            continue
        found = bm25(index, text, alive)
        raw = found.scores if allowed is None else np.where(allowed, found.scores, 0.0)
        rows = np.flatnonzero(raw > 0.0)
        raw = raw[rows]
        arms.append(ArmScores(name, weights[name], rows, raw, word_scores(raw, found.ceiling)))
    return arms


class _Utterances:
    """What was said, and the rows of the partition that it belongs to."""

    def __init__(
        self, texts: TextView, partition: PartitionView, allowed: Array | None, revision: int
    ) -> None:
        column = texts.columns
        self._texts = texts
        self._alive = (
            (column["kind"] == schema.UTTERANCE)
            & (column["birth"] <= np.uint64(revision))
            & (column["death"] > np.uint64(revision))
        )
        rows = np.arange(partition.rows) if allowed is None else np.flatnonzero(allowed)
        self._count = len(rows)
        # At one revision a clip has one row, so its number finds it.
        self._rows = RowsByNumber(partition.columns["clip_no"][rows], rows)

    def by_words(self, text: str, weight: float) -> ArmScores:
        """The clips in which it was said, by the words of the best utterance."""
        found = bm25(self._texts.words, text, self._alive)
        rows, documents = self._placed(np.flatnonzero(found.scores > 0.0))
        parts = self._texts.columns["index"][documents]
        rows, raw, parts = best_parts(rows, found.scores[documents], parts)
        return ArmScores(TRANSCRIPT, weight, rows, raw, word_scores(raw, found.ceiling), parts)

    def by_feature(
        self,
        compared: TextCosines,
        feature: Array,
        weight: float,
        others: Sequence[ArmScores],
        limit: int,
    ) -> ArmScores:
        """The clips in which something alike was said, by the best utterance: those that are among the ``limit`` best
        by this arm and the ``others``, at least.

        Of all of them, as by words: among the best utterances alone may be those of one clip that talks of nothing
        else, and what a clip's is worth beside its other arms is not to depend on how many are better.
        """
        rows, documents = self._placed(np.flatnonzero(self._alive))
        near = compared.near(feature, documents) if limit < self._count else None
        if near is not None:
            likely = _likely(near, rows, weight, others, limit)
            rows, documents = rows[likely], documents[likely]
        scores = compared.of(feature, documents)
        found = scores > 0.0  # nor is one without a feature, which is no number
        rows, documents, scores = rows[found], documents[found], scores[found]
        parts = self._texts.columns["index"][documents]
        rows, raw, parts = best_parts(rows, scores, parts)
        return ArmScores(TRANSCRIPT_FEATURES, weight, rows, raw, cosines(raw), parts)

    def _placed(self, documents: Array) -> tuple[Array, Array]:
        """(row, document) of the documents whose clips may answer."""
        rows = self._rows.find(self._texts.columns["no"][documents])
        return rows[rows >= 0], documents[rows >= 0]


def _likely(
    near: NearCosines, rows: Array, weight: float, others: Sequence[ArmScores], limit: int
) -> Array:
    """Which of some utterances, each of a clip (its row), may be the best of one that is among the ``limit`` best; a
    clip that is left out has less than each of so many others.
    """
    found, given = fused(others)
    count = max(int(rows.max(initial=-1)), int(found.max(initial=-1))) + 1
    beside = np.zeros(count)
    beside[found] = given
    about = np.nan_to_num(near.cosines, nan=-np.inf)
    best = np.full(count, -np.inf, np.float32)
    np.maximum.at(best, rows, about)
    best = best.astype(np.float64)
    least = beside + weight * np.clip(best - near.bound, 0.0, 1.0)
    most = beside + weight * np.clip(best + near.bound, 0.0, 1.0)
    likely = most > 0.0
    if limit < count:
        passed = min(float(np.partition(least, count - limit)[count - limit]), 1.0)
        likely &= most >= passed - _ROUNDING
    return np.flatnonzero(likely[rows] & (about >= best[rows] - 2 * near.bound))
