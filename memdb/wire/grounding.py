"""Questions and their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Final, TypedDict

from memdb.types.arguments import (
    checked_cursor,
    checked_feature,
    checked_min_relevance,
    checked_min_score,
    checked_revision,
    checked_streams,
    checked_times,
)
from memdb.types.arrays import Array, RowsLike, VectorLike, as_tokens
from memdb.types.calendar import HourOfDay, Weekday, checked_calendar
from memdb.types.checks import check_choice, check_flag, check_int
from memdb.types.clip import StoredClip
from memdb.types.grounding import (
    FALLBACKS,
    POLICIES,
    TOKENS_POLICY,
    WEIGHTINGS,
    AsOf,
    Grounding,
    Hit,
    Span,
)
from memdb.types.ids import check_id
from memdb.types.label_filter import WantedLabels, checked_labels
from memdb.types.limits import LIMIT_MAX
from memdb.types.stream import Gap
from memdb.types.times import Time
from memdb.types.unchecked import maker
from memdb.types.word_question import checked_word_question
from memdb.v1 import grounding_service_pb2 as grounding_pb
from memdb.wire.arms import arms_from_proto, fill_arms, fill_words, text_feature_of, weights_of
from memdb.wire.arrays import (
    fill_matrix,
    fill_vector,
    matrix_elements,
    vector_elements,
)
from memdb.wire.calendar import calendar_arguments, calendar_to_proto
from memdb.wire.clips import fill_stored_clip, stored_clip_from_proto
from memdb.wire.coverage import coverage_from_proto, coverage_to_proto
from memdb.wire.labels import labels_from_proto, labels_to_proto
from memdb.wire.moments import as_of_from_proto, as_of_to_proto
from memdb.wire.streams import gap_from_proto, gap_to_proto

LIMIT_DEFAULT = 4
POLICY_DEFAULT = "top"
RERANK_DEFAULT = 0
FALLBACK_DEFAULT = "none"
WEIGHTING_DEFAULT = "idf"

_grounding = maker(Grounding)
_hit = maker(Hit)


class GroundArguments(TypedDict, total=False):
    """Options of `User.ground`."""

    limit: int
    streams: Sequence[str] | None
    start_ns: Time | None
    end_ns: Time | None
    as_of: AsOf | None
    min_score: float | None
    policy: str
    question_tokens: RowsLike | None
    rerank: int
    with_short_memory: bool
    fallback: str
    space: str | None
    min_revision: int | None
    weighting: str
    text: str | None
    text_feature: VectorLike | None
    weights: Mapping[str, float] | None
    explain: bool
    min_relevance: float | None
    hours: Iterable[Sequence[HourOfDay]] | None
    weekdays: Iterable[Weekday] | None
    zone: str | None
    labels: WantedLabels | None
    with_coverage: bool
    cursor: str | None
    exact: bool
    with_global_memory: bool
    with_keyframes: bool


_AS_THEY_ARE: Final = frozenset(
    (
        *("limit", "start_ns", "end_ns", "min_score", "policy", "rerank", "with_short_memory"),
        *("fallback", "space", "min_revision", "weighting", "text", "explain", "min_relevance"),
        *("with_coverage", "cursor", "exact"),
    )
)
"""Fields that are the option of their name; left out (of those without presence also as zero or empty) it has its
default."""
_USUAL: Final = {"policy": "top", "fallback": "none", "weighting": WEIGHTING_DEFAULT}
"""Defaults that are sent all the same."""


def ground_request(
    user: str,
    question_feature: VectorLike | None = None,
    *,
    limit: int = LIMIT_DEFAULT,
    streams: Sequence[str] | None = None,
    start_ns: Time | None = None,
    end_ns: Time | None = None,
    as_of: AsOf | None = None,
    min_score: float | None = None,
    policy: str = POLICY_DEFAULT,
    question_tokens: RowsLike | None = None,
    rerank: int = RERANK_DEFAULT,
    with_short_memory: bool = False,
    fallback: str = FALLBACK_DEFAULT,
    space: str | None = None,
    min_revision: int | None = None,
    weighting: str = WEIGHTING_DEFAULT,
    text: str | None = None,
    text_feature: VectorLike | None = None,
    weights: Mapping[str, float] | None = None,
    explain: bool = False,
    min_relevance: float | None = None,
    hours: Iterable[Sequence[HourOfDay]] | None = None,
    weekdays: Iterable[Weekday] | None = None,
    zone: str | None = None,
    labels: WantedLabels | None = None,
    with_coverage: bool = False,
    cursor: str | None = None,
    exact: bool = False,
    with_global_memory: bool = True,
    with_keyframes: bool = True,
) -> grounding_pb.GroundRequest:
    """The request for `User.ground`; raises `InvalidArgument` as the call would."""
    # What is as usual is not looked at further: what a question calls has left the processor's caches while the one
    # before it was on its way, so that each call takes several times as long as it does in a loop.
    if policy is not POLICY_DEFAULT:
        check_choice(policy, (*POLICIES, TOKENS_POLICY), "policy", "BAD_POLICY")
    if weighting is not WEIGHTING_DEFAULT:
        check_choice(weighting, WEIGHTINGS, "weighting", "BAD_WEIGHTING")
    words = checked_word_question(text, text_feature, weights, policy, question_feature)
    tokens = None if question_tokens is None else as_tokens(question_tokens, "question_tokens")
    feature = question_feature
    if feature is not None or words is None:
        feature = checked_feature(feature, policy, tokens)
    start, end = checked_times(start_ns, end_ns)
    request = grounding_pb.GroundRequest(
        user=check_id(user, "user"),
        limit=check_int(limit, "limit", 1, LIMIT_MAX),
        streams=checked_streams(streams),
        start_ns=start,
        end_ns=end,
        with_short_memory=check_flag(with_short_memory, "with_short_memory"),
        exact=check_flag(exact, "exact"),
        without_global_memory=not check_flag(with_global_memory, "with_global_memory"),
        without_keyframes=not check_flag(with_keyframes, "with_keyframes"),
    )
    if feature is not None:
        fill_vector(request.question_feature, feature)
    if tokens is not None:
        fill_matrix(request.question_tokens, tokens)
    if not (
        policy is POLICY_DEFAULT
        and rerank is RERANK_DEFAULT
        and fallback is FALLBACK_DEFAULT
        and weighting is WEIGHTING_DEFAULT
        and explain is False
        and with_coverage is False
        and as_of is None
        and min_score is None
        and space is None
        and min_revision is None
        and min_relevance is None
        and hours is None
        and weekdays is None
        and zone is None
        and labels is None
        and cursor is None
    ):
        seldom = grounding_pb.GroundRequest(
            as_of=as_of_to_proto(as_of),
            min_score=checked_min_score(min_score),
            # The usual ones are not sent: a server that did not know the field would refuse every question.
            policy="" if policy == POLICY_DEFAULT else policy,
            rerank=check_int(rerank, "rerank", 0, LIMIT_MAX),
            fallback=check_choice(fallback, FALLBACKS, "fallback", "BAD_FALLBACK"),
            space=None if space is None else check_id(space, "space"),
            min_revision=checked_revision(min_revision),
            weighting="" if weighting == WEIGHTING_DEFAULT else weighting,
            explain=check_flag(explain, "explain"),
            min_relevance=checked_min_relevance(min_relevance, text, policy),
            calendar=calendar_to_proto(checked_calendar(hours, weekdays, zone)),
            labels=labels_to_proto(checked_labels(labels)),
            with_coverage=check_flag(with_coverage, "with_coverage"),
            cursor=checked_cursor(cursor),
        )
        request.MergeFrom(seldom)
    fill_words(request, words, weights)
    return request


def ground_arguments(request: grounding_pb.GroundRequest) -> tuple[Array | None, GroundArguments]:
    """The question feature and the options of `User.ground` that a request carries, without those that have their
    defaults.

    `User.ground` checks their elements.
    """
    arguments = GroundArguments()
    # What is there, asked once: to ask for each of the thirty takes as long as to parse them all.
    there = {descriptor.name for descriptor, _ in request.ListFields()}
    if "question_tokens" in there:
        arguments["question_tokens"] = matrix_elements(request.question_tokens, "question_tokens")
    feature = None
    if "question_feature" in there:
        feature = vector_elements(request.question_feature, "question_feature")
    for name in _AS_THEY_ARE & there:
        value = getattr(request, name)
        if value != _USUAL.get(name):
            arguments[name] = value  # type: ignore[literal-required]  # its names
    if "streams" in there:
        arguments["streams"] = list(request.streams)
    if "as_of" in there:
        arguments["as_of"] = as_of_from_proto(request.as_of, True)
    if "fusion" in there:
        arguments["text_feature"] = text_feature_of(request)
        arguments["weights"] = weights_of(request)
    if "labels" in there:
        arguments["labels"] = labels_from_proto(request.labels)
    if "without_global_memory" in there:
        arguments["with_global_memory"] = False
    if "without_keyframes" in there:
        arguments["with_keyframes"] = False
    if "calendar" in there:
        arguments.update(calendar_arguments(request.calendar))  # type: ignore[typeddict-item]  # some of them
    return feature, arguments


def _put_clip(hit: grounding_pb.Hit, clip: StoredClip) -> None:
    fill_stored_clip(hit.clip, clip)


def grounding_to_proto(grounding: Grounding) -> grounding_pb.GroundResponse:
    """An answer as a message."""
    message = grounding_pb.GroundResponse()
    fill_grounding(message, grounding)
    return message


def fill_grounding(
    message: grounding_pb.GroundResponse,
    grounding: Grounding,
    put_clip: Callable[[grounding_pb.Hit, StoredClip], None] = _put_clip,
) -> None:
    """Write an answer into a new message; ``put_clip`` writes the clip of a hit."""
    add = message.hits.add
    for hit in grounding.hits:
        # In place, for the reason that `memdb.wire.clips` tells.
        part = add()
        put_clip(part, hit.clip)
        fill_told(part, hit)
    fill_beside_hits(message, grounding)


def fill_told(message: grounding_pb.Hit, hit: Hit) -> None:
    """Write what is told of a hit's clip, without the clip."""
    message.score = hit.score
    if hit.relevance is not None:
        message.relevance = hit.relevance
    for span in hit.spans:
        message.spans.add(
            start_ns=span.start_ns,
            end_ns=span.end_ns,
            score=span.score,
            first_frame=span.first_frame,
            last_frame=span.last_frame,
        )
    if hit.token_weights:
        message.token_weights.extend(hit.token_weights)
    if hit.arms:
        fill_arms(message, hit.arms)


def fill_beside_hits(message: grounding_pb.GroundResponse, grounding: Grounding) -> None:
    """Write all of an answer but its hits."""
    message.revision = grounding.revision
    message.fallback = grounding.fallback
    message.abstained = grounding.abstained
    message.next_cursor = grounding.next_cursor or ""
    message.approximate = grounding.approximate
    message.gaps_left_out = grounding.gaps_left_out
    if grounding.gaps:
        message.gaps.extend(map(gap_to_proto, grounding.gaps))
    if grounding.coverage:
        message.coverage.extend(map(coverage_to_proto, grounding.coverage))


def is_light(request: grounding_pb.GroundRequest) -> bool:
    """Whether hits come without vectors and keyframes."""
    return (
        request.without_global_memory
        and request.without_keyframes
        and not request.with_short_memory
    )


def grounding_from_proto(
    message: grounding_pb.GroundResponse,
    clips: Iterator[StoredClip] | None = None,
    gaps: tuple[Gap, ...] = (),
    *,
    tells: bool = True,
    light: bool = False,
) -> Grounding:
    """The answer of a message.

    clips: those of its hits, in turn, where they have none of their own.
    gaps: what comes before its own.
    tells: whether its hits may tell what matched (`Hit.spans`, ``token_weights``, ``arms``): not to a question without
        tokens that asked for no explanation.
    light: as in `stored_clip_from_proto`.
    """
    hits = message.hits[:]
    if clips is None:
        clips = map(stored_clip_from_proto, [hit.clip for hit in hits], repeat(light))
    # What most answers have not is not looked into: making nothing of nothing takes as long as all the rest.
    own, coverage = message.gaps, message.coverage
    return _grounding(
        tuple(map(_hit_from_proto if tells else _plain_hit_from_proto, hits, clips)),
        message.revision,
        message.fallback or "none",
        (*gaps, *map(gap_from_proto, own[:])) if own else gaps,
        tuple(map(coverage_from_proto, coverage[:])) if coverage else (),
        message.abstained,
        message.next_cursor or None,
        message.approximate,
        message.gaps_left_out,
    )


def _plain_hit_from_proto(message: grounding_pb.Hit, clip: StoredClip) -> Hit:
    relevance: float | None = message.relevance
    if not relevance and not message.HasField("relevance"):
        relevance = None
    return _hit(clip, message.score, relevance, (), (), ())


def _hit_from_proto(message: grounding_pb.Hit, clip: StoredClip) -> Hit:
    spans, weights, arms = message.spans, message.token_weights, message.arms
    return _hit(
        clip,
        message.score,
        message.relevance if message.HasField("relevance") else None,
        tuple(map(_span_from_proto, spans[:])) if spans else (),
        tuple(weights) if weights else (),
        arms_from_proto(message) if arms else (),
    )


def _span_from_proto(span: grounding_pb.Span) -> Span:
    return Span(
        span.start_ns,
        span.end_ns,
        span.score,
        span.first_frame if span.HasField("first_frame") else None,
        span.last_frame if span.HasField("last_frame") else None,
    )
