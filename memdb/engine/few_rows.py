"""The usual question to a user of few clips, answered in one go: a feature, how many, of which streams and times.

The same answer to the last bit as `memdb.engine.grounding` puts together of its parts, which are ready for more: words,
tokens, policies, the past, many rows.  What questions that look at the same rows of a view have in common (`Place`) is
made once; what is left are the products, their order, the relevances, and clips that are kept as a rule.  What is not
usual is none of this: `answer` is None then, and the parts are asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from memdb import deadline
from memdb.engine.hit_reader import HitReader, with_damaged
from memdb.engine.hydrate import AnswerSize
from memdb.engine.nulls import Null, Nulls
from memdb.engine.question import Question
from memdb.engine.reading import Reading
from memdb.engine.relevance import deviation, mean_score, of_deviations, spread_of, things_of
from memdb.engine.scope import Scope, Searched, scope_of, searched
from memdb.engine.view import View
from memdb.index import flat
from memdb.index.partition import PartitionView
from memdb.store.environment import Environment
from memdb.types.arrays import Array
from memdb.types.grounding import Grounding, Hit
from memdb.types.unchecked import maker

_hit = maker(Hit)

RUNS_MAX: Final = 4
"""Runs of rows that are scored each for itself; of more, all rows from the first to the last are."""
_ROWS_PER_PART: Final = 4
"""A row takes 40 bytes, a gap some hundred."""


@dataclass(slots=True, eq=False)
class Place:
    """Rows of a view that answer questions, and what these have in common.

    Not the view: it keeps the place.
    """

    where: Searched
    partition: PartitionView
    allowed: Array | None
    """(rows,) bool, None for all."""
    listed: Array
    """(n,) int64, at least one: the allowed rows, ascending."""
    ids: Array
    """(n, 3) uint64: clip number, birth and stream number of each."""
    runs: list[tuple[int, int]]
    """[first, last) each: the rows that are scored."""
    inside: Array | None
    """(n,) int64: where in these runs the listed rows are; None where they are all of it."""
    nulls: dict[int, tuple[Null, float, float]] = field(default_factory=dict)
    """By stream (number), of those that were among hits: what it scores to anything, the spread of that, its things."""

    def null(self, stream_no: int) -> tuple[Null, float, float]:
        """Of a stream that has a listed row."""
        known = self.nulls.get(stream_no)
        if known is None:
            (null,) = Nulls(self.partition, None).of([stream_no])
            known = null, spread_of(null, self.partition.dim), things_of(null)
            self.nulls[stream_no] = known
        return known


def answer(environment: Environment | None, view: View, question: Question) -> Grounding | None:
    """The answer to a question that `Question.is_plain`, of the view's own revision; None where it is not usual.

    environment: None where nothing may be read; raises `WouldWait` where it would be, and as
    `memdb.engine.grounding.ground`.
    """
    key = "few", question.streams, question.space, question.start_ns, question.end_ns
    place = view.once(key, lambda: _place(view, question), _parts)
    feature = question.feature
    if place is None or feature is None or len(feature) != place.partition.dim:
        return None
    query = place.partition.unit(feature)
    if query[0] == 0.0 and not query.any():
        return None
    found = _best(place, query, question.limit)
    if found is None:
        return None
    deadline.check()
    order, scores = found
    listed = place.ids[order].tolist()
    relevant = _relevances(place, query, [stream_no for _, _, stream_no in listed], scores)
    gaps = place.where.gaps
    hits = _kept_hits(view, question, listed, scores, relevant)
    if hits is None:
        rows = place.listed[order]
        scope = Scope(view, question, None, place.where, place.partition, place.allowed)
        with Reading(environment) as reading:
            reader = HitReader(reading, scope, dict(zip(rows.tolist(), relevant, strict=True)))
            hits = reader.plain(rows, np.array(scores, np.float32))
        gaps = with_damaged(gaps, reader.damaged)
    return Grounding(tuple(hits), place.where.revision, "none", gaps)


def _place(view: View, question: Question) -> Place | None:
    """Where a question looks; None where it is no few rows of a space of cosines."""
    where = searched(view, question, None)
    scope = scope_of(view, question, None, where)
    if scope is None:
        return None
    partition, allowed = scope.partition, scope.allowed
    if not (partition.cosine and partition.rows and partition.is_whole):
        return None
    listed = np.arange(partition.rows) if allowed is None else np.flatnonzero(allowed)
    if not len(listed):
        return None
    first, last = int(listed[0]), int(listed[-1]) + 1
    runs, inside = [(first, last)], None
    if last - first > len(listed):
        ends = (listed[1:] - listed[:-1] > 1).nonzero()[0]
        if len(ends) < RUNS_MAX:
            firsts = [first, *listed[ends + 1].tolist()]
            runs = [
                (begin, end + 1)
                for begin, end in zip(firsts, [*listed[ends].tolist(), last - 1], strict=True)
            ]
        else:
            inside = listed - first
    column = partition.columns
    ids = np.empty((len(listed), 3), np.uint64)
    for place, name in enumerate(("clip_no", "birth", "stream_no")):
        ids[:, place] = column[name][listed]
    return Place(where, partition, allowed, listed, ids, runs, inside)


def _parts(place: Place | None) -> int:
    if place is None:
        return 1
    where = place.where
    return len(where.streams) + len(where.gaps) + len(place.listed) // _ROWS_PER_PART + 1


def _best(place: Place, query: Array, limit: int) -> tuple[Array, list[float]] | None:
    """`PartitionView.search`: which of the listed rows, and their scores; None where there are more rows since, which
    are not whole any more.
    """
    matrix = place.partition.matrix
    whole = matrix.whole(place.partition.rows)
    if whole is None:
        return None
    scores = flat.run_scores(whole, place.runs, flat.padded_query(query, matrix.width))
    if place.inside is not None:
        scores = scores[place.inside]
    # Rows ascend: of equal scores the first row stays first.
    order = (-scores).argsort(kind="stable")[:limit]
    best: list[float] = scores[order].tolist()
    return order, best


def _relevances(
    place: Place, query: Array, stream_nos: list[int], scores: list[float]
) -> list[float]:
    """`memdb.engine.relevance.Relevance.of`: few numbers, which take less time one by one than by one call each."""
    of_stream = {}
    for number in set(stream_nos):
        null, spread, things = place.null(number)
        of_stream[number] = mean_score(null.mean, query), spread, things
    deviations, many = [], []
    for number, score in zip(stream_nos, scores, strict=True):
        mean, spread, things = of_stream[number]
        deviations.append(deviation(score, mean, spread))
        many.append(things)
    relevant: list[float] = of_deviations(np.array(deviations), np.array(many)).tolist()
    return relevant


def _kept_hits(
    view: View,
    question: Question,
    listed: list[list[int]],
    scores: list[float],
    relevant: list[float],
) -> list[Hit] | None:
    """`HitReader.plain` where all clips are kept."""
    parts, kept = question.parts, view.kept.clips
    size = AnswerSize(question.answer_bytes_max)
    hits: list[Hit] = []
    for (clip_no, birth, _), score, relevance in zip(listed, scores, relevant, strict=True):
        clip = kept.get((clip_no, birth, parts))
        if clip is None:
            return None
        hits.append(_hit(size.add(clip), score, relevance, (), (), ()))
    return hits
