"""Long-term memory: facts, recall, values, and the vectors above single clips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

from memdb.errors import InvalidArgument
from memdb.types.arguments import (
    checked_about,
    checked_abouts,
    checked_evidence,
    checked_fact_name,
    checked_key,
    checked_reference,
    checked_revision,
)
from memdb.types.arrays import Array, VectorLike, as_vector
from memdb.types.calendar import HourOfDay, Weekday
from memdb.types.checks import check_int, check_text
from memdb.types.fact import About, Fact, LongTermMemory, MemorySpan, Recall, RecallHit
from memdb.types.grounding import AsOf
from memdb.types.ids import check_id
from memdb.types.label_filter import WantedLabels
from memdb.types.limits import LIMIT_MAX
from memdb.types.recall_filter import KINDS, checked_recall_filter
from memdb.types.times import Time, optional_ns
from memdb.types.validity import OPEN, ValidAt, ValidTo, checked_valid_at, checked_valid_to
from memdb.v1 import memory_service_pb2 as memory_pb
from memdb.v1 import types_pb2 as pb
from memdb.wire.arrays import matrix_elements, matrix_to_proto, optional_vector, vector_to_proto
from memdb.wire.calendar import CalendarArguments, calendar_arguments, calendar_to_proto
from memdb.wire.clips import (
    stored_clip_from_proto,
    stored_clip_to_proto,
    utterance_from_proto,
    utterance_to_proto,
)
from memdb.wire.labels import labels_from_proto, labels_to_proto
from memdb.wire.moments import as_of_from_proto, as_of_to_proto
from memdb.wire.validity import valid_at_from_proto, valid_at_to_proto

RECALL_LIMIT_DEFAULT = 5
FACTS_LIMIT_DEFAULT = 1000
LONG_TERM_TOKENS_DEFAULT = 512


def fact_request(
    user: str, fact_id: str | None, *, key: str | None = None, as_of: AsOf | None = None
) -> memory_pb.GetFactRequest:
    """The request for `User.fact`; raises `InvalidArgument` as the call would."""
    fact_id, key = checked_fact_name(fact_id, key)
    request = memory_pb.GetFactRequest(user=user, as_of=as_of_to_proto(as_of))
    if key is not None:
        request.key = key
    elif fact_id is not None:
        request.fact_id = fact_id
    return request


def history_request(
    user: str, fact_id: str, *, limit: int | None = None, after: int | None = None
) -> memory_pb.GetHistoryRequest:
    """The request for `User.history`, a page at a time; raises `InvalidArgument` as the call would."""
    return memory_pb.GetHistoryRequest(
        user=user,
        fact_id=checked_reference(fact_id, "fact_id"),
        limit=0 if limit is None else check_int(limit, "limit", 1, LIMIT_MAX),
        after=checked_revision(after, "after"),
        paged=True,
    )


def list_facts_request(
    user: str,
    *,
    about: About | None = None,
    as_of: AsOf | None = None,
    limit: int = FACTS_LIMIT_DEFAULT,
    after: str | None = None,
    valid_at: ValidAt | None = None,
) -> memory_pb.ListFactsRequest:
    """The request for `User.facts`, a page at a time; raises `InvalidArgument` as the call would."""
    things = checked_abouts(about) or ()
    return memory_pb.ListFactsRequest(
        user=user,
        # An earlier release knows one thing, not several.
        about=things[0] if len(things) == 1 else None,
        about_one_of=things if len(things) > 1 else (),
        as_of=as_of_to_proto(as_of),
        limit=check_int(limit, "limit", 1, LIMIT_MAX),
        after=None if after is None else checked_reference(after, "after"),
        paged=True,
        **valid_at_to_proto(checked_valid_at(valid_at)),
    )


def facts_about(request: memory_pb.ListFactsRequest) -> About | None:
    """What facts are asked for by what they are about; raises `InvalidArgument` (``AMBIGUOUS``)."""
    several = list(request.about_one_of)
    if not request.HasField("about"):
        return several or None
    if several:
        raise InvalidArgument(
            "one thing or several", reason="AMBIGUOUS", field="about", value=request.about
        )
    return request.about


def fact_to_proto(fact: Fact) -> pb.Fact:
    """A fact as a message."""
    return pb.Fact(
        id=fact.id,
        user=fact.user,
        text=fact.text,
        about=fact.about,
        key=fact.key,
        valid_from_ns=fact.valid_from_ns,
        valid_to_ns=fact.valid_to_ns,
        evidence=fact.evidence,
        revision=fact.revision,
        written_ns=fact.written_ns,
        superseded_revision=fact.superseded_revision,
    )


def fact_from_proto(message: pb.Fact) -> Fact:
    """The fact of a message."""
    superseded = message.HasField("superseded_revision")
    return Fact(
        id=message.id,
        user=message.user,
        text=message.text,
        about=tuple(message.about),
        key=message.key if message.HasField("key") else None,
        valid_from_ns=message.valid_from_ns,
        valid_to_ns=message.valid_to_ns if message.HasField("valid_to_ns") else None,
        evidence=tuple(message.evidence),
        revision=message.revision,
        written_ns=message.written_ns,
        superseded_revision=message.superseded_revision if superseded else None,
    )


class RememberArguments(TypedDict):
    """Options of `User.remember`."""

    about: Iterable[str]
    valid_from: Time | None
    valid_to: Time | None
    evidence: Iterable[str]
    key: str | None
    feature: Array | None


def remember_request(
    user: str,
    text: str,
    *,
    about: Iterable[str] = (),
    valid_from: Time | None = None,
    valid_to: Time | None = None,
    evidence: Iterable[str] = (),
    key: str | None = None,
    feature: VectorLike | None = None,
) -> memory_pb.RememberRequest:
    """The request for `User.remember`; raises `InvalidArgument` as the call would."""
    return memory_pb.RememberRequest(
        user=check_id(user, "user"),
        text=check_text(text, "text"),
        about=checked_about(about),
        valid_from_ns=optional_ns(valid_from, "valid_from"),
        valid_to_ns=optional_ns(valid_to, "valid_to"),
        evidence=checked_evidence(evidence),
        key=None if key is None else checked_key(key),
        feature=_feature_to_proto(feature),
    )


def remember_arguments(request: memory_pb.RememberRequest) -> RememberArguments:
    """The options of `User.remember` that a request carries."""
    return RememberArguments(
        about=list(request.about),
        valid_from=request.valid_from_ns if request.HasField("valid_from_ns") else None,
        valid_to=request.valid_to_ns if request.HasField("valid_to_ns") else None,
        evidence=list(request.evidence),
        key=request.key if request.HasField("key") else None,
        feature=optional_vector(request.feature, request.HasField("feature"), "feature"),
    )


class ReviseArguments(TypedDict):
    """Options of `User.revise`."""

    text: str | None
    about: Iterable[str] | None
    valid_from: Time | None
    valid_to: ValidTo | None
    evidence: Iterable[str] | None
    feature: Array | None


def revise_request(
    user: str,
    fact_id: str,
    *,
    text: str | None = None,
    about: Iterable[str] | None = None,
    valid_from: Time | None = None,
    valid_to: ValidTo | None = None,
    evidence: Iterable[str] | None = None,
    feature: VectorLike | None = None,
) -> memory_pb.ReviseRequest:
    """The request for `User.revise`; raises `InvalidArgument` as the call would."""
    text_list = memory_pb.TextList
    end = checked_valid_to(valid_to)
    return memory_pb.ReviseRequest(
        user=check_id(user, "user"),
        fact_id=checked_reference(fact_id, "fact_id"),
        text=None if text is None else check_text(text, "text"),
        about=None if about is None else text_list(items=checked_about(about)),
        valid_from_ns=optional_ns(valid_from, "valid_from"),
        valid_to_ns=None if end == OPEN else end,
        open_ended=end == OPEN,
        evidence=None if evidence is None else text_list(items=checked_evidence(evidence)),
        feature=_feature_to_proto(feature),
    )


def revise_arguments(request: memory_pb.ReviseRequest) -> ReviseArguments:
    """The options of `User.revise` that a request carries; raises `InvalidArgument` (``AMBIGUOUS``)."""
    valid_to: ValidTo | None = request.valid_to_ns if request.HasField("valid_to_ns") else None
    if request.open_ended:
        if valid_to is not None:
            raise InvalidArgument(
                "a fact has an end or none", reason="AMBIGUOUS", field="valid_to", value=valid_to
            )
        valid_to = OPEN
    return ReviseArguments(
        text=request.text if request.HasField("text") else None,
        about=list(request.about.items) if request.HasField("about") else None,
        valid_from=request.valid_from_ns if request.HasField("valid_from_ns") else None,
        valid_to=valid_to,
        evidence=list(request.evidence.items) if request.HasField("evidence") else None,
        feature=optional_vector(request.feature, request.HasField("feature"), "feature"),
    )


class RecallArguments(CalendarArguments):
    """Options of `User.recall`."""

    limit: int
    as_of: AsOf | None
    feature: Array | None
    min_revision: int | None
    streams: Sequence[str] | None
    start_ns: Time | None
    end_ns: Time | None
    labels: WantedLabels | None
    kinds: Iterable[str] | None
    valid_at: ValidAt | None
    about: About | None


def recall_request(
    user: str,
    question: str,
    *,
    limit: int = RECALL_LIMIT_DEFAULT,
    as_of: AsOf | None = None,
    feature: VectorLike | None = None,
    min_revision: int | None = None,
    streams: Sequence[str] | None = None,
    start_ns: Time | None = None,
    end_ns: Time | None = None,
    labels: WantedLabels | None = None,
    kinds: Iterable[str] | None = None,
    valid_at: ValidAt | None = None,
    hours: Iterable[Sequence[HourOfDay]] | None = None,
    weekdays: Iterable[Weekday] | None = None,
    zone: str | None = None,
    about: About | None = None,
) -> memory_pb.RecallRequest:
    """The request for `User.recall`; raises `InvalidArgument` as the call would."""
    text = check_text(question, "question")
    limit = check_int(limit, "limit", 1, LIMIT_MAX)
    which = checked_recall_filter(
        streams, start_ns, end_ns, labels, kinds, valid_at, hours, weekdays, zone, about
    )
    return memory_pb.RecallRequest(
        user=check_id(user, "user"),
        question=text,
        limit=limit,
        as_of=as_of_to_proto(as_of),
        feature=_feature_to_proto(feature),
        min_revision=checked_revision(min_revision),
        streams=which.streams,
        start_ns=which.start_ns,
        end_ns=which.end_ns,
        labels=labels_to_proto(which.labels),
        kinds=() if which.kinds == KINDS else which.kinds,
        calendar=calendar_to_proto(which.calendar),
        about=which.about,
        **valid_at_to_proto(which.valid_at),
    )


def recall_arguments(request: memory_pb.RecallRequest) -> RecallArguments:
    """The options of `User.recall` that a request carries."""
    return RecallArguments(
        limit=request.limit or RECALL_LIMIT_DEFAULT,
        as_of=as_of_from_proto(request.as_of, request.HasField("as_of")),
        feature=optional_vector(request.feature, request.HasField("feature"), "feature"),
        min_revision=request.min_revision if request.HasField("min_revision") else None,
        streams=list(request.streams) or None,
        start_ns=request.start_ns if request.HasField("start_ns") else None,
        end_ns=request.end_ns if request.HasField("end_ns") else None,
        labels=labels_from_proto(request.labels),
        kinds=list(request.kinds) or None,
        valid_at=valid_at_from_proto(request),
        about=list(request.about) or None,
        **calendar_arguments(request.calendar),
    )


def recall_to_proto(recall: Recall) -> memory_pb.RecallResponse:
    """The answer to a recall as a message."""
    return memory_pb.RecallResponse(
        hits=[
            memory_pb.RecallHit(
                kind=hit.kind,
                score=hit.score,
                arms=hit.arms,
                fact=None if hit.fact is None else fact_to_proto(hit.fact),
                utterance=None if hit.utterance is None else utterance_to_proto(hit.utterance),
                clip=None if hit.clip is None else stored_clip_to_proto(hit.clip),
            )
            for hit in recall.hits
        ],
        revision=recall.revision,
        arms=recall.arms,
        valid_at_ns=recall.valid_at_ns,
    )


def recall_from_proto(message: memory_pb.RecallResponse) -> Recall:
    """The answer to a recall."""
    return Recall(
        tuple(
            RecallHit(
                hit.kind,
                hit.score,
                dict(sorted(hit.arms.items())),  # a message has them in any order
                fact_from_proto(hit.fact) if hit.HasField("fact") else None,
                utterance_from_proto(hit.utterance) if hit.HasField("utterance") else None,
                stored_clip_from_proto(hit.clip) if hit.HasField("clip") else None,
            )
            for hit in message.hits
        ),
        message.revision,
        tuple(message.arms),
        message.valid_at_ns if message.HasField("valid_at_ns") else None,
    )


def long_term_to_proto(memory: LongTermMemory) -> memory_pb.GetLongTermMemoryResponse:
    """Long-term memory as a message."""
    return memory_pb.GetLongTermMemoryResponse(
        tokens=matrix_to_proto(memory.tokens),
        spans=[
            memory_pb.MemorySpan(
                stream=span.stream,
                level=span.level,
                start_ns=span.start_ns,
                end_ns=span.end_ns,
                clips=span.clips,
            )
            for span in memory.spans
        ],
        space=memory.space,
        revision=memory.revision,
    )


def long_term_from_proto(message: memory_pb.GetLongTermMemoryResponse) -> LongTermMemory:
    """The long-term memory of a message; ``tokens`` is (0, dim) when nothing is sealed."""
    return LongTermMemory(
        matrix_elements(message.tokens, "tokens"),
        tuple(
            MemorySpan(span.stream, span.level, span.start_ns, span.end_ns, span.clips)
            for span in message.spans
        ),
        message.space,
        message.revision,
    )


def _feature_to_proto(feature: VectorLike | None) -> pb.Vector | None:
    return None if feature is None else vector_to_proto(as_vector(feature, "feature"))
