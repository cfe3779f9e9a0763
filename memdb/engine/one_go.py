"""The usual question, answered in one go: a feature, how many; of few clips, of which streams and times too.

The same answer to the last bit as `memdb.engine.grounding` puts together of its parts, which are ready for more: words,
tokens, policies, the past.  What questions that look at the same rows of a view have in common (`Place`) is
made once; what is left are the search (of few rows the products and their order), the relevances, and clips that are
kept as a rule.  What is not usual is none of this: `answer` is None then, and the parts are asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import numpy as np

from memdb import deadline
from memdb.engine.clip_cache import KeptClips, RowClips
from memdb.engine.hit_reader import HitReader, with_damaged
from memdb.engine.hydrate import AnswerSize, Parts
from memdb.engine.native import arithmetic
from memdb.engine.nulls import Null, Nulls
from memdb.engine.question import Question
from memdb.engine.reading import Reading, WouldWait
from memdb.engine.relevance import deviation, mean_score, of_deviations, spread_of, things_of
from memdb.engine.scope import Scope, Searched, scope_of, searched
from memdb.engine.told_gaps import ToldGaps
from memdb.engine.view import View
from memdb.index import flat
from memdb.index.partition import PartitionView
from memdb.store.environment import Environment
from memdb.types.arrays import Array
from memdb.types.grounding import Grounding, Hit
from memdb.types.unchecked import maker

_hit = maker(Hit)

BestRows = Callable[[Array, int], tuple[list[int], list[float], list[float]] | None]
"""`memdb_edge.Few.best`."""

RUNS_MAX: Final = 4
"""Runs of rows that are scored each for itself; of more, all rows from the first to the last are."""
ASKED_AGAIN: Final = 2
"""Questions to the same rows of a view after which the native edge is to find the best of them."""
NULLS_MAX: Final = 64
"""Streams of which a place remembers what they score to anything, 12 kB each in 1536-d."""
_ROWS_PER_PART: Final = 4
"""A row takes 40 bytes, a gap some hundred."""
_ELEMENTS_PER_PART: Final = 16
"""Float64, of means."""


@dataclass(slots=True, eq=False)
class Few:
    """Few rows, which are all scored."""

    listed: Array
    """(n,) int64, at least one: the allowed rows, ascending."""
    ids: Array
    """(n, 3) uint64: clip number, birth and stream number of each."""
    runs: list[tuple[int, int]]
    """[first, last) each: the rows that are scored."""
    inside: Array | None
    """(n,) int64: where in these runs the listed rows are; None where they are all of it."""
    asked: int = 0
    native: Native | None = None
    """Made for who asks again, where the native edge is installed."""


class Native:
    """The search of few rows in one call (`memdb.engine.native`), to the last bit that of the others."""

    __slots__ = ("_best", "_clips", "_first", "_ids")

    def __init__(self, first: int, ids: dict[int, list[int]], best: BestRows) -> None:
        """first: the row that is 0 to ``best``; ids: clip number, birth and stream number by such a row."""
        self._first = first
        self._ids = ids
        self._best = best
        self._clips: dict[Parts, RowClips] = {}
        """By such a row, as they were read with some parts."""

    def best(self, feature: Array, limit: int) -> tuple[list[int], list[float], list[float]] | None:
        """The best rows as ``best`` counts them, their scores and relevances; None where the (dim,) feature is no
        direction.
        """
        return self._best(feature if feature.dtype == np.float32 else feature.astype("f4"), limit)

    def kept_hits(
        self, question: Question, rows: list[int], scores: list[float], relevant: list[float]
    ) -> list[Hit] | None:
        """Hits of such rows; None where not all of their clips were found before."""
        by_row = self._clips.get(question.parts)
        if by_row is None:
            return None
        clips = by_row.clips
        try:
            hits = [
                _hit(clips[row], score, relevance, (), (), ())
                for row, score, relevance in zip(rows, scores, relevant, strict=True)
            ]
        except KeyError:
            return None
        if question.answer_bytes_max is not None:
            size = AnswerSize(question.answer_bytes_max)
            for hit in hits:
                size.add(hit.clip)
        return hits

    def keep(self, kept: KeptClips, parts: Parts, rows: list[int]) -> None:
        """Have clips of such rows found by them."""
        by_row = self._clips.setdefault(parts, RowClips())
        keys = {row: (self._ids[row][0], self._ids[row][1], parts) for row in rows}
        kept.put_by_row(by_row, keys)

    def known(self, rows: list[int], scores: list[float]) -> Best:
        """Such rows as they are known elsewhere."""
        return Best([row + self._first for row in rows], scores, [self._ids[row] for row in rows])


@dataclass(slots=True, eq=False)
class Place:
    """Rows of a view that answer questions, and what these have in common.

    Not the view: it keeps the place.
    """

    where: Searched
    partition: PartitionView
    allowed: Array | None
    """(rows,) bool, None for all."""
    few: Few | None
    """None where they are many."""
    nulls: dict[int, tuple[Null, float, float]] = field(default_factory=dict)
    """By stream (number), of some that were among hits: what it scores to anything, the spread of that, its things."""

    def nulls_of(
        self, stream_nos: set[int], *, at_once: bool
    ) -> dict[int, tuple[Null, float, float]]:
        """Of streams that have an allowed row; raises `WouldWait` where many rows would be looked at for it."""
        # A copy, should another question clear them.
        found = {number: null for number in stream_nos if (null := self.nulls.get(number))}
        missing = [number for number in stream_nos if number not in found]
        if missing:
            nulls = Nulls(self.partition, None)
            if at_once and self.few is None and not nulls.are_known(missing):
                raise WouldWait
            dim = self.partition.dim
            for number, made in zip(missing, nulls.of(missing), strict=True):
                found[number] = made, spread_of(made, dim), things_of(made)
            if len(self.nulls) + len(found) > NULLS_MAX:
                self.nulls.clear()
            self.nulls.update(islice(found.items(), NULLS_MAX))
        return found


@dataclass(slots=True, eq=False)
class Best:
    """The best rows, best first."""

    rows: list[int]
    scores: list[float]
    ids: list[Any]
    """Clip number, birth and stream number of each."""
    approximate: bool = False


def answer(environment: Environment | None, view: View, question: Question) -> Grounding | None:
    """The answer to a question that `Question.fits_one_go`, of the view's own revision; None where it is not usual.

    environment: None where nothing may be read; raises `WouldWait` where it would be, and as
    `memdb.engine.grounding.ground`.
    """
    key = "one go", question.streams, question.space, question.start_ns, question.end_ns
    place = view.once(key, lambda: _place(view, question), _parts)
    feature = question.feature
    if place is None or feature is None or len(feature) != place.partition.dim:
        return None
    native = None if place.few is None else _native_of(place, place.few)
    if native is not None:
        quick = native.best(feature, question.limit)
        if quick is None:
            return None
        deadline.check()
        rows, scores, relevant = quick
        hits = native.kept_hits(question, rows, scores, relevant)
        if hits is None:
            found = native.known(rows, scores)
            hits = _kept_hits(view, question, found.ids, scores, relevant)
            if hits is None:
                return _read(environment, view, question, place, found, relevant)
            # Not of those that were read just now: where there are more clips than room, they go before they are
            # asked for again.
            native.keep(view.kept, question.parts, rows)
        # In place: of the quickest answers the call of `_answered` would be a part that shows.
        known = place.where.told
        return Grounding(
            tuple(hits),
            place.where.revision,
            "none",
            known.gaps,
            gaps_left_out=known.left_out,
        )
    told = _searched(place, question, feature, at_once=environment is None)
    if told is None:
        return None
    found, relevant = told
    deadline.check()
    hits = _kept_hits(view, question, found.ids, found.scores, relevant)
    if hits is None:
        return _read(environment, view, question, place, found, relevant)
    return _answered(place, hits, place.where.told, found)


def _read(
    environment: Environment | None,
    view: View,
    question: Question,
    place: Place,
    found: Best,
    relevant: list[float],
) -> Grounding:
    """An answer of which some clips are not kept."""
    scope = Scope(view, question, None, place.where, place.partition, place.allowed)
    with Reading(environment) as reading:
        reader = HitReader(reading, scope, dict(zip(found.rows, relevant, strict=True)))
        hits = reader.plain(np.array(found.rows, np.int64), np.array(found.scores, np.float32))
    return _answered(place, hits, with_damaged(scope, reader.damaged), found)


def _answered(place: Place, hits: list[Hit], told: ToldGaps, found: Best) -> Grounding:
    return Grounding(
        tuple(hits),
        place.where.revision,
        "none",
        told.gaps,
        approximate=found.approximate,
        gaps_left_out=told.left_out,
    )


def _native_of(place: Place, few: Few) -> Native | None:
    """What searches few rows, from the second question on."""
    if few.asked < ASKED_AGAIN:
        few.asked += 1
        if few.asked == ASKED_AGAIN:
            few.native = _native(place, few)
    return few.native


def _searched(
    place: Place, question: Question, feature: Array, *, at_once: bool
) -> tuple[Best, list[float]] | None:
    """The best rows and their relevances; None where there are none, or the feature has no direction."""
    few = place.few
    query = place.partition.unit(feature)
    if query[0] == 0.0 and not query.any():
        return None
    found = None if few is None else _best_of_few(place, few, query, question.limit)
    if found is None:
        found = _best_of_many(place, query, question, at_once=at_once)
    if not found.ids:
        return None
    return found, _relevances(place, query, found.ids, found.scores, at_once=at_once)


def _native(place: Place, few: Few) -> Native | None:
    known = arithmetic()
    partition = place.partition
    whole = partition.matrix.whole(partition.rows)
    if known is None or whole is None:
        return None
    numbers = few.ids[:, 2].tolist()
    there = set(numbers)
    if len(there) > NULLS_MAX:
        return None
    nulls = place.nulls_of(there, at_once=False)
    places = {number: its for its, number in enumerate(nulls)}
    first, last = int(few.listed[0]), int(few.listed[-1]) + 1
    rows = few.listed - first
    codes = known.codes(partition.matrix, partition.rows, len(rows))
    made = known.few(
        partition.dim,
        whole[first:last],
        rows,
        np.array([places[number] for number in numbers]),
        [(null.mean, spread, things) for null, spread, things in nulls.values()],
        None if codes is None else codes.part(first, last),
    )
    return Native(first, dict(zip(rows.tolist(), few.ids.tolist(), strict=True)), made.best)


def _place(view: View, question: Question) -> Place | None:
    """Where a question looks; None where it is no space of cosines, nothing, or some of many rows."""
    where = searched(view, question, None)
    scope = scope_of(view, question, None, where)
    if scope is None:
        return None
    partition, allowed = scope.partition, scope.allowed
    if not (partition.cosine and partition.rows):
        return None
    if not partition.is_whole:
        # What a filter chose of many is a mask of all of them: too much to be kept.
        is_all = allowed is None or allowed is partition.head_alive
        return Place(where, partition, allowed, None) if is_all else None
    few = _few(partition, allowed)
    return None if few is None else Place(where, partition, allowed, few)


def _few(partition: PartitionView, allowed: Array | None) -> Few | None:
    """The allowed rows of few; None where there are none."""
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
    return Few(listed, ids, runs, inside)


def _parts(place: Place | None) -> int:
    if place is None:
        return 1
    where, few = place.where, place.few
    parts = len(where.streams) + len(where.told.gaps) + 1
    if few is not None:
        # The native edge has a copy of what each stream scores to anything.
        means = len(where.streams) * place.partition.dim // _ELEMENTS_PER_PART
        parts += len(few.listed) // _ROWS_PER_PART + means
    return parts


def _best_of_few(place: Place, few: Few, query: Array, limit: int) -> Best | None:
    """`PartitionView.search`; None where there are more rows since, which are not whole any more."""
    matrix = place.partition.matrix
    whole = matrix.whole(place.partition.rows)
    if whole is None:
        return None
    scores = flat.run_scores(whole, few.runs, flat.padded_query(query, matrix.width))
    if few.inside is not None:
        scores = scores[few.inside]
    # Rows ascend: of equal scores the first row stays first.
    order = (-scores).argsort(kind="stable")[:limit]
    return Best(few.listed[order].tolist(), scores[order].tolist(), few.ids[order].tolist())


def _best_of_many(place: Place, query: Array, question: Question, *, at_once: bool) -> Best:
    """As `memdb.engine.ranking.ranking` finds them; raises `WouldWait`."""
    partition, allowed, limit = place.partition, place.allowed, question.limit
    near = partition.near(query, limit, allowed) if question.may_be_approximate else None
    if near is None and at_once:
        raise WouldWait
    rows, scores = near or partition.search(query, limit, allowed)
    column = partition.columns
    ids = [column[name][rows].tolist() for name in ("clip_no", "birth", "stream_no")]
    return Best(rows.tolist(), scores.tolist(), list(zip(*ids, strict=True)), near is not None)


def _relevances(
    place: Place, query: Array, ids: list[Any], scores: list[float], *, at_once: bool
) -> list[float]:
    """`memdb.engine.relevance.Relevance.of`: few numbers, which take less time one by one than by one call each."""
    # Once for all streams: as exact, and numpy would do it for each.
    wide = query.astype(np.float64)
    of_stream = {
        number: (mean_score(null.mean, wide), spread, things)
        for number, (null, spread, things) in place.nulls_of(
            {stream_no for _, _, stream_no in ids}, at_once=at_once
        ).items()
    }
    deviations, many = [], []
    for (_, _, number), score in zip(ids, scores, strict=True):
        mean, spread, things = of_stream[number]
        deviations.append(deviation(score, mean, spread))
        many.append(things)
    relevant: list[float] = of_deviations(np.array(deviations), np.array(many)).tolist()
    return relevant


def _kept_hits(
    view: View, question: Question, ids: list[Any], scores: list[float], relevant: list[float]
) -> list[Hit] | None:
    """`HitReader.plain` where all clips are kept."""
    parts, kept = question.parts, view.kept.clips
    size = AnswerSize(question.answer_bytes_max)
    hits: list[Hit] = []
    for (clip_no, birth, _), score, relevance in zip(ids, scores, relevant, strict=True):
        clip = kept.get((clip_no, birth, parts))
        if clip is None:
            return None
        hits.append(_hit(size.add(clip), score, relevance, (), (), ()))
    return hits
