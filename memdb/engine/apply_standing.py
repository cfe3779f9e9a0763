"""Applying to standing questions: a new one, the end of one, the end of a stream that some name."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from memdb.engine.applied import Applied
from memdb.engine.apply_stream import space_no_of
from memdb.engine.state import Draft
from memdb.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from memdb.store import standing, standing_names
from memdb.store.idents import IdKind, make_id, parse_id
from memdb.store.records import LogEntry, StandingCountRecord, StandingRecord
from memdb.store.transaction import Transaction
from memdb.types.arrays import Array, check_dim
from memdb.types.limits import STANDING_MAX
from memdb.types.operation import CreateStanding
from memdb.types.space import Space
from memdb.types.standing import COSINE_MAX, StandingQuestion, StandingSpec


def check_fits(spec: StandingSpec, space: Space) -> None:
    """Refuse a question that does not fit its space; raises `InvalidArgument` (``DIM_MISMATCH``,
    ``ZERO_VECTOR``, ``OUT_OF_RANGE`` of a cosine that there is not).
    """
    least = spec.min_score
    if least is not None and space.metric == "cosine" and least > COSINE_MAX:
        # A question that is never told of anything looks like one that has nothing to tell.
        raise InvalidArgument(
            "a cosine is at most 1", reason="OUT_OF_RANGE", field="min_score", value=least
        )
    for field, feature in (
        ("question_feature", spec.feature),
        ("then_feature", spec.then_feature),
    ):
        if feature is None:
            continue
        check_dim(feature, space.dim, field)
        if space.metric == "cosine" and not feature.any():
            raise InvalidArgument(
                "a zero vector has no direction", reason="ZERO_VECTOR", field=field
            )


def create_standing(
    txn: Transaction, applied: Applied, operation: CreateStanding
) -> StandingQuestion:
    """Store a question; of a name that has one, what it has.

    Raises `AlreadyExists` (``NAME_TAKEN``), `ResourceExhausted` (``QUOTA``), `NotFound`
    (``STREAM_NOT_FOUND``), `FailedPrecondition` (``SPACE_MISMATCH``), and as `check_fits`.
    """
    draft, spec, space = applied.draft, operation.spec, operation.space
    counts = draft.standing
    check_fits(spec, space)
    stream_nos = None if spec.streams is None else _numbers(draft, spec.streams, space)
    known = _named(txn, draft, operation.name)
    if known is not None:
        names = {stream.no: stream.name for stream in draft.streams.values()}
        question = as_question(known[1], known[0], draft.user, draft.id_key, draft.spaces, names)
        check_same(spec, space, question, operation.name)
        return question
    if counts.count >= STANDING_MAX:
        raise ResourceExhausted(
            f"the user has {STANDING_MAX} standing questions: remove one of them",
            reason="QUOTA",
            field="standing",
            value=counts.count,
        )
    feature, then = spec.feature, spec.then_feature
    record = StandingRecord(
        spec.kind,
        space_no_of(txn, draft, space),
        stream_nos,
        math.inf if spec.min_score is None else spec.min_score,
        spec.window_ns,
        spec.sealed_only,
        spec.text,
        draft.revision,
        operation.created_ns,
        operation.armed_ns,
        feature.dtype.str,
        feature.tobytes(),
        "" if then is None else then.dtype.str,
        None if then is None else then.tobytes(),
        spec.min_relevance,
        operation.name,
        standing.filter_record(
            spec.only,
            math.inf if spec.min_score is None else spec.min_score,
            spec.min_relevance,
        ),
    )
    no = counts.next_no
    standing.put(txn, no, record)
    if operation.name:
        standing_names.put(txn, draft.id_key, operation.name, no)
    _count(txn, draft, StandingCountRecord(no + 1, counts.count + 1, draft.revision))
    _log(applied, "standing", no)
    names = {stream.no: stream.name for stream in draft.streams.values()}
    return as_question(record, no, draft.user, draft.id_key, draft.spaces, names)


def remove_standing(txn: Transaction, applied: Applied, question_id: str) -> int:
    """Remove a question; raises `NotFound` (``STANDING_NOT_FOUND``)."""
    draft = applied.draft
    no = parse_id(draft.id_key, IdKind.STANDING, question_id)
    record = None if no is None else standing.get(txn, no)
    if no is None or record is None:
        raise not_found(question_id)
    _remove(txn, draft, no, record)
    counts = draft.standing
    _count(txn, draft, StandingCountRecord(counts.next_no, counts.count - 1, draft.revision))
    _log(applied, "remove-standing", no)
    return draft.revision


def leave_stream(
    txn: Transaction,
    applied: Applied,
    stream_no: int,
    questions: Sequence[tuple[int, StandingRecord]],
) -> None:
    """Let questions forget a stream that goes; one that asks no other goes with it."""
    draft = applied.draft
    gone = 0
    for no, record in questions:
        left = tuple(other for other in record.stream_nos or () if other != stream_no)
        if left:
            standing.put(txn, no, msgspec.structs.replace(record, stream_nos=left))
        else:
            _remove(txn, draft, no, record)
            _log(applied, "remove-standing", no)
            gone += 1
    if questions:
        counts = draft.standing
        _count(txn, draft, StandingCountRecord(counts.next_no, counts.count - gone, draft.revision))


def as_question(
    record: StandingRecord,
    no: int,
    user: str,
    id_key: bytes,
    spaces: dict[int, Space],
    stream_names: dict[int, str],
) -> StandingQuestion:
    """The value behind a record."""
    return StandingQuestion(
        make_id(id_key, IdKind.STANDING, no),
        user,
        record.kind,
        standing.feature(record),
        record.min_score if record.min_relevance is None else None,
        None if record.then_feature is None else standing.feature(record, then=True),
        None if record.window_ns is None else record.window_ns / 1e9,
        None
        if record.stream_nos is None
        else tuple(stream_names[no] for no in record.stream_nos if no in stream_names),
        spaces[record.space_no].name,
        record.sealed_only,
        record.text,
        record.birth,
        record.created_ns,
        record.armed_ns,
        record.min_relevance,
        record.name or None,
        **standing.clip_filter(record).options(),
    )


def check_same(spec: StandingSpec, space: Space, question: StandingQuestion, name: str) -> None:
    """Refuse another question under a name that is taken; raises `AlreadyExists` (``NAME_TAKEN``)."""
    window_s = None if spec.window_ns is None else spec.window_ns / 1e9
    streams = None if spec.streams is None else set(spec.streams)
    same = (
        (spec.kind, spec.min_score, spec.min_relevance, window_s, spec.sealed_only, spec.text)
        == (
            question.kind,
            question.min_score,
            question.min_relevance,
            question.window_s,
            question.sealed_only,
            question.text,
        )
        and space.name == question.space
        and streams == (None if question.streams is None else set(question.streams))
        and spec.only == question.only
        and _same_array(spec.feature, question.feature)
        and _same_array(spec.then_feature, question.then_feature)
    )
    if not same:
        raise AlreadyExists(
            "another standing question has this name",
            reason="NAME_TAKEN",
            field="name",
            value=name,
        )


def _same_array(one: Array | None, other: Array | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.dtype == other.dtype and np.array_equal(one, other)


def _named(txn: Transaction, draft: Draft, name: str) -> tuple[int, StandingRecord] | None:
    """(number, record) of the question of a name, none of no name."""
    no = standing_names.named(txn, draft.id_key, name) if name else None
    record = None if no is None else standing.get(txn, no)
    return None if no is None or record is None else (no, record)


def _remove(txn: Transaction, draft: Draft, no: int, record: StandingRecord) -> None:
    standing.remove(txn, no)
    standing_names.remove(txn, draft.id_key, record)


def not_found(question_id: str) -> NotFound:
    """What an id is answered that names no standing question of the user."""
    return NotFound(
        "no such standing question",
        reason="STANDING_NOT_FOUND",
        field="question_id",
        value=question_id,
    )


def _numbers(draft: Draft, names: tuple[str, ...], space: Space) -> tuple[int, ...]:
    numbers: list[int] = []
    for name in dict.fromkeys(names):
        stream = draft.streams.get(name)
        if stream is None:
            raise NotFound("no such stream", reason="STREAM_NOT_FOUND", field="streams", value=name)
        actual = draft.spaces[stream.space_no]
        if actual != space:
            raise FailedPrecondition(
                f"stream {name} is in space {actual.name}",
                reason="SPACE_MISMATCH",
                field="space",
                value=space.name,
            )
        numbers.append(stream.no)
    return tuple(numbers)


def _count(txn: Transaction, draft: Draft, counts: StandingCountRecord) -> None:
    standing.put_counted(txn, counts)
    draft.standing = counts


def _log(applied: Applied, kind: str, no: int) -> None:
    applied.entries.append(
        LogEntry(kind, no=no, name=make_id(applied.draft.id_key, IdKind.STANDING, no))
    )
