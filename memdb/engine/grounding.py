"""Grounding: from a question feature to the clips that answer it.

view -> revision -> filter to rows -> exact search -> policy -> late interaction -> hydrate -> gaps.
Works on one immutable view, so it never waits for a writer, and an answer as of a revision is the
same for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from memdb.codecs.tensors import decode_verified
from memdb.engine.calendar_rows import within_calendar
from memdb.engine.footage import footage, searched_streams
from memdb.engine.hydrate import AnswerSize, load_clip
from memdb.engine.policies import select
from memdb.engine.relevance import Relevance, relevant
from memdb.engine.view import View
from memdb.errors import DataLoss, InvalidArgument, ResourceExhausted
from memdb.index.late_interaction import max_sim, max_sim_work
from memdb.index.partition import Filter, PartitionView
from memdb.store import clips
from memdb.store.environment import Environment
from memdb.store.transaction import Transaction
from memdb.types.arguments import (
    checked_min_relevance,
    checked_min_score,
    checked_streams,
    checked_times,
)
from memdb.types.arrays import Array, as_tokens, as_vector, check_dim
from memdb.types.calendar import Calendar, HourOfDay, Weekday, checked_calendar
from memdb.types.checks import check_choice, check_flag, check_int
from memdb.types.clip import StoredClip
from memdb.types.coverage import StreamCoverage
from memdb.types.grounding import FALLBACKS, POLICIES, Grounding, Hit, Span
from memdb.types.ids import check_id
from memdb.types.limits import LIMIT_MAX
from memdb.types.stream import Gap
from memdb.types.times import Time


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A checked request to ground."""

    feature: Array
    limit: int
    streams: tuple[str, ...] | None
    start_ns: int | None
    end_ns: int | None
    min_score: float | None
    policy: str
    tokens: Array | None
    rerank: int
    with_short_memory: bool
    raw_short_memory: bool
    fallback: str
    space: str | None
    answer_bytes_max: int | None
    rerank_work_max: int | None
    min_relevance: float | None
    calendar: Calendar | None
    with_coverage: bool


def checked_question(
    feature: Array,
    *,
    limit: int,
    streams: Sequence[str] | None,
    start_ns: Time | None,
    end_ns: Time | None,
    min_score: float | None,
    policy: str,
    question_tokens: Array | None,
    rerank: int,
    with_short_memory: bool,
    raw_short_memory: bool,
    fallback: str,
    space: str | None,
    answer_bytes_max: int | None = None,
    rerank_work_max: int | None = None,
    min_relevance: float | None = None,
    hours: Iterable[Sequence[HourOfDay]] | None = None,
    weekdays: Iterable[Weekday] | None = None,
    zone: str | None = None,
    with_coverage: bool = False,
) -> Question:
    """The request as a `Question`; raises `InvalidArgument` naming the field."""
    check_choice(policy, POLICIES, "policy", "BAD_POLICY")
    check_choice(fallback, FALLBACKS, "fallback", "BAD_FALLBACK")
    tokens = None if question_tokens is None else as_tokens(question_tokens, "question_tokens")
    rerank = check_int(rerank, "rerank", 0, LIMIT_MAX)
    if rerank and tokens is None:
        raise InvalidArgument(
            "rerank needs question_tokens", reason="TOKENS_REQUIRED", field="rerank", value=rerank
        )
    start, end = checked_times(start_ns, end_ns)
    return Question(
        as_vector(feature, "question_feature"),
        check_int(limit, "limit", 1, LIMIT_MAX),
        checked_streams(streams),
        start,
        end,
        checked_min_score(min_score),
        policy,
        tokens,
        rerank,
        check_flag(with_short_memory, "with_short_memory"),
        raw_short_memory,
        fallback,
        None if space is None else check_id(space, "space"),
        answer_bytes_max,
        rerank_work_max,
        checked_min_relevance(min_relevance),
        checked_calendar(hours, weekdays, zone),
        check_flag(with_coverage, "with_coverage"),
    )


def ground(
    environment: Environment, view: View, question: Question, as_of: int | None
) -> Grounding:
    """Answer ``question`` on ``view``, or as of an earlier revision."""
    revision = view.revision if as_of is None else as_of
    stream_nos = view.stream_nos(question.streams, as_of)
    space_no = view.searched_space(stream_nos, question.space, as_of)
    streams = searched_streams(view.state, stream_nos, space_no, revision)
    names = {stream.no: stream.name for stream in streams}
    gaps = tuple(view.gaps(names, revision, question.start_ns, question.end_ns))
    if space_no is not None:
        space = view.state.spaces[space_no]
        check_dim(question.feature, space.dim, "question_feature")
        if question.tokens is not None:
            check_dim(question.tokens, space.dim, "question_tokens")
        if question.policy != "top" and space.metric != "cosine":
            raise InvalidArgument(
                "the published policies compare cosines; this space is not one of cosine",
                reason="BAD_POLICY",
                field="policy",
                value=question.policy,
            )
    partition = None if space_no is None else view.partitions.get(space_no)
    if partition is None:
        return Grounding(
            (), revision, "none", gaps, footage(None, None, streams, gaps), abstained=True
        )
    allowed = partition.allowed(Filter(stream_nos, question.start_ns, question.end_ns), as_of)
    if question.calendar is not None:
        allowed = within_calendar(question.calendar, partition, allowed, streams)
    query = partition.unit(question.feature)
    if partition.cosine and not query.any():
        raise InvalidArgument(
            "a zero vector has no direction", reason="ZERO_VECTOR", field="question_feature"
        )
    wanted = max(question.limit, question.rerank)
    rows, scores = select(question.policy, partition, query, allowed, wanted)
    relevance = Relevance(partition, query, as_of)
    if question.min_relevance is not None:
        least, best_first = question.min_relevance, question.policy == "top"
        rows, scores = relevant(relevance, least, (rows, scores), allowed, wanted, best_first)
    if question.min_score is not None:
        passed = scores >= question.min_score
        rows, scores = rows[passed], scores[passed]
    abstained = len(rows) == 0
    fallback = "none"
    with environment.read() as txn:
        if len(rows) == 0 and question.fallback == "recent":
            rows = _newest(partition, allowed)
            scores = partition.matrix.take(rows) @ query
            fallback = "recent" if len(rows) else "none"
        standing = dict(zip(rows.tolist(), relevance.of(rows, scores).tolist(), strict=True))
        first = question.rerank
        size = AnswerSize(question.answer_bytes_max)
        damaged: list[Gap] = []
        hits: list[Hit] = []
        if question.tokens is not None:
            hits += _reranked(
                txn,
                view,
                partition,
                question,
                size,
                rows[:first],
                scores[:first],
                damaged,
                standing,
            )
        for row, score in zip(
            rows[first : question.limit], scores[first : question.limit], strict=True
        ):
            clip = _load(txn, view, partition, int(row), question, damaged)
            if clip is not None:
                hits.append(Hit(size.add(clip), float(score), standing[int(row)]))
    gaps = (*gaps, *damaged)
    covered: tuple[StreamCoverage, ...] = ()
    if abstained or question.with_coverage:
        covered = footage(partition, allowed, streams, gaps)
    return Grounding(tuple(hits), revision, fallback, gaps, covered, abstained)


def _newest(partition: PartitionView, allowed: Array | None) -> Array:
    """The allowed row that ends last (of those the latest written), if any."""
    rows = np.arange(partition.rows) if allowed is None else np.flatnonzero(allowed)
    return rows[np.lexsort((rows, partition.columns["end_ns"][rows]))][-1:]


def _load(
    txn: Transaction,
    view: View,
    partition: PartitionView,
    row: int,
    question: Question,
    damaged: list[Gap],
) -> StoredClip | None:
    """The clip of a row; None, and one more gap, where it cannot be read whole: the other hits are
    an answer all the same.
    """
    column = partition.columns
    try:
        return load_clip(
            txn,
            view.state,
            int(column["clip_no"][row]),
            int(column["birth"][row]),
            short_memory=question.with_short_memory,
            raw=question.raw_short_memory,
        )
    except DataLoss as error:
        damaged.append(view.note_damage(partition, row, error))
        return None


def _reranked(
    txn: Transaction,
    view: View,
    partition: PartitionView,
    question: Question,
    size: AnswerSize,
    rows: Array,
    scores: Array,
    damaged: list[Gap],
    standing: Mapping[int, float],
) -> list[Hit]:
    """The candidates re-ordered by late interaction; a clip without short-term memory keeps its own
    score, last.
    """
    assert question.tokens is not None
    column = partition.columns
    ranked: list[tuple[bool, float, int, tuple[Span, ...]]] = []
    work = 0
    for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
        try:
            tensor = clips.get_short_memory(
                txn, int(column["clip_no"][row]), int(column["birth"][row])
            )
        except DataLoss as error:
            damaged.append(view.note_damage(partition, row, error))
            continue
        if tensor is None:
            ranked.append((True, -score, row, ()))
            continue
        work += max_sim_work(question.tokens.shape[0], tensor.shape)
        if question.rerank_work_max is not None and work > question.rerank_work_max:
            raise ResourceExhausted(
                "so many question tokens with so much short-term memory take too long; rerank fewer",
                reason="TOO_MUCH_WORK",
                field="rerank",
                value=question.rerank,
            )
        matched, best = max_sim(question.tokens, decode_verified(tensor))
        span = _span(
            int(column["start_ns"][row]), int(column["end_ns"][row]), tensor.shape[0], best, matched
        )
        ranked.append((False, -matched, row, (span,)))
    ranked.sort(key=lambda entry: entry[:3])
    hits: list[Hit] = []
    for _, negative, row, spans in ranked[: question.limit]:
        clip = _load(txn, view, partition, row, question, damaged)
        if clip is not None:
            hits.append(Hit(size.add(clip), -negative, standing[row], spans))
    return hits


def _span(start_ns: int, end_ns: int, token_rows: int, best: Array, score: float) -> Span:
    """The stretch of event time that the matched rows cover; rows are spread evenly over the clip."""
    length = end_ns - start_ns
    first, last = int(best.min()), int(best.max())
    return Span(
        start_ns + length * first // token_rows, start_ns + length * (last + 1) // token_rows, score
    )
