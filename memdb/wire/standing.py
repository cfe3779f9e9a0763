"""Standing questions, what they tell, and back-tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from memdb.types.arguments import checked_times
from memdb.types.arrays import Array
from memdb.types.checks import check_int
from memdb.types.grounding import AsOf
from memdb.types.ids import check_id
from memdb.types.label_filter import WantedLabels, checked_labels
from memdb.types.limits import LIMIT_MAX
from memdb.types.standing import (
    THRESHOLDS_MAX,
    Alert,
    Backtest,
    StandingQuestion,
    StandingSpec,
    ThresholdCount,
    checked_thresholds,
)
from memdb.types.times import Time
from memdb.v1 import standing_service_pb2 as pb
from memdb.wire.arrays import fill_vector, vector_elements, vector_from_proto
from memdb.wire.calendar import calendar_arguments, calendar_to_proto
from memdb.wire.labels import labels_from_proto, labels_to_proto
from memdb.wire.moments import as_of_from_proto, as_of_to_proto

BACKTEST_LIMIT_DEFAULT = 100


class SpecArguments(TypedDict):
    """Options of a standing question."""

    min_score: float | None
    min_relevance: float | None
    kind: str
    then_feature: Array | None
    window_s: float | None
    streams: Sequence[str] | None
    space: str | None
    sealed_only: bool
    labels: WantedLabels | None
    hours: Sequence[tuple[str, str]] | None
    weekdays: Sequence[int] | None
    zone: str | None


class BacktestArguments(TypedDict):
    """Options of a back-test."""

    start_ns: Time | None
    end_ns: Time | None
    as_of: AsOf | None
    thresholds: Sequence[float] | None
    limit: int


def spec_to_proto(spec: StandingSpec) -> pb.StandingSpec:
    """A checked question as a message."""
    message = pb.StandingSpec(
        min_score=0.0 if spec.min_score is None else spec.min_score,
        min_relevance=spec.min_relevance,
        kind=spec.kind,
        window_s=None if spec.window_ns is None else spec.window_ns / 1e9,
        streams=spec.streams,
        space=spec.space,
        open_clips=not spec.sealed_only,
        text=spec.text,
        labels=labels_to_proto(spec.only.labels),
        calendar=calendar_to_proto(spec.only.calendar),
    )
    fill_vector(message.question_feature, spec.feature)
    if spec.then_feature is not None:
        fill_vector(message.then_feature, spec.then_feature)
    return message


def spec_arguments(message: pb.StandingSpec) -> tuple[Array, SpecArguments]:
    """The question feature and the options that a request carries; whoever asks checks their elements."""
    feature = vector_elements(message.question_feature, "question_feature")
    then = None
    if message.HasField("then_feature"):
        then = vector_elements(message.then_feature, "then_feature")
    relevant = message.HasField("min_relevance")
    return feature, SpecArguments(
        # A score of 0 beside a relevance is one that nobody gave.
        min_score=None if relevant and not message.min_score else message.min_score,
        min_relevance=message.min_relevance if relevant else None,
        kind=message.kind or "seen",
        then_feature=then,
        window_s=message.window_s if message.HasField("window_s") else None,
        streams=list(message.streams) or None,
        space=message.space if message.HasField("space") else None,
        sealed_only=not message.open_clips,
        labels=labels_from_proto(message.labels),
        **calendar_arguments(message.calendar),
    )


def question_to_proto(question: StandingQuestion) -> pb.StandingQuestion:
    """A stored question as a message."""
    message = pb.StandingQuestion(
        id=question.id,
        user=question.user,
        names_streams=question.streams is not None,
        revision=question.revision,
        created_ns=question.created_ns,
        armed_ns=question.armed_ns,
        name=question.name or "",
    )
    spec = message.spec
    fill_vector(spec.question_feature, question.feature)
    spec.kind, spec.space = question.kind, question.space
    if question.min_score is not None:
        spec.min_score = question.min_score
    if question.min_relevance is not None:
        spec.min_relevance = question.min_relevance
    spec.open_clips, spec.text = not question.sealed_only, question.text
    spec.streams.extend(question.streams or ())
    if question.then_feature is not None:
        fill_vector(spec.then_feature, question.then_feature)
    if question.window_s is not None:
        spec.window_s = question.window_s
    only = question.only
    spec.labels.extend(labels_to_proto(only.labels))
    calendar = calendar_to_proto(only.calendar)
    if calendar is not None:
        spec.calendar.CopyFrom(calendar)
    return message


def question_from_proto(message: pb.StandingQuestion) -> StandingQuestion:
    """The stored question of a message."""
    spec = message.spec
    then = None
    if spec.HasField("then_feature"):
        then = vector_from_proto(spec.then_feature, "then_feature")
    calendar = calendar_arguments(spec.calendar)
    labels = labels_from_proto(spec.labels)
    return StandingQuestion(
        message.id,
        message.user,
        spec.kind,
        vector_from_proto(spec.question_feature, "question_feature"),
        None if spec.HasField("min_relevance") else spec.min_score,
        then,
        spec.window_s if spec.HasField("window_s") else None,
        tuple(spec.streams) if message.names_streams else None,
        spec.space,
        not spec.open_clips,
        spec.text,
        message.revision,
        message.created_ns,
        message.armed_ns,
        spec.min_relevance if spec.HasField("min_relevance") else None,
        message.name or None,
        None if labels is None else dict(checked_labels(labels)),
        None if calendar["hours"] is None else tuple(calendar["hours"]),
        None if calendar["weekdays"] is None else tuple(calendar["weekdays"]),
        calendar["zone"],
    )


def alert_to_proto(alert: Alert) -> pb.Alert:
    """An alert as a message."""
    return pb.Alert(
        id=alert.id,
        question_id=alert.question_id,
        kind=alert.kind,
        revision=alert.revision,
        happened_ns=alert.happened_ns,
        score=alert.score,
        clip_id=alert.clip_id,
        stream=alert.stream,
        start_ns=alert.start_ns,
        end_ns=alert.end_ns,
        earlier_clip_id=alert.earlier_clip_id,
        cursor=alert.cursor,
    )


def alert_from_proto(message: pb.Alert) -> Alert:
    """The alert of a message."""
    return Alert(
        message.id,
        message.question_id,
        message.kind,
        message.revision,
        message.happened_ns,
        message.score if message.HasField("score") else None,
        message.clip_id if message.HasField("clip_id") else None,
        message.stream if message.HasField("stream") else None,
        message.start_ns if message.HasField("start_ns") else None,
        message.end_ns if message.HasField("end_ns") else None,
        message.earlier_clip_id if message.HasField("earlier_clip_id") else None,
        message.cursor,
    )


def backtest_request(
    user: str,
    spec: StandingSpec,
    *,
    start_ns: Time | None,
    end_ns: Time | None,
    as_of: AsOf | None,
    thresholds: Sequence[float] | None,
    limit: int,
) -> pb.BacktestStandingRequest:
    """The request for `Standing.backtest`; raises `InvalidArgument` as the call would."""
    start, end = checked_times(start_ns, end_ns)
    return pb.BacktestStandingRequest(
        user=check_id(user, "user"),
        spec=spec_to_proto(spec),
        start_ns=start,
        end_ns=end,
        thresholds=checked_thresholds(thresholds),
        limit=check_int(limit, "limit", 1, LIMIT_MAX),
        as_of=as_of_to_proto(as_of),
    )


def backtest_arguments(request: pb.BacktestStandingRequest) -> BacktestArguments:
    """The options of `Standing.backtest` that a request carries, beside the question."""
    return BacktestArguments(
        start_ns=request.start_ns if request.HasField("start_ns") else None,
        end_ns=request.end_ns if request.HasField("end_ns") else None,
        as_of=as_of_from_proto(request.as_of, request.HasField("as_of")),
        # One more than may be says that there are too many.
        thresholds=list(request.thresholds[: THRESHOLDS_MAX + 1]) or None,
        limit=request.limit or BACKTEST_LIMIT_DEFAULT,
    )


def backtest_to_proto(backtest: Backtest) -> pb.BacktestStandingResponse:
    """A back-test as a message."""
    return pb.BacktestStandingResponse(
        curve=[pb.ThresholdCount(threshold=p.threshold, alerts=p.alerts) for p in backtest.curve],
        alerts=[alert_to_proto(alert) for alert in backtest.alerts],
        clips=backtest.clips,
        revision=backtest.revision,
    )


def backtest_from_proto(message: pb.BacktestStandingResponse) -> Backtest:
    """The back-test of a message."""
    return Backtest(
        tuple([ThresholdCount(point.threshold, point.alerts) for point in message.curve]),
        tuple([alert_from_proto(alert) for alert in message.alerts]),
        message.clips,
        message.revision,
    )
