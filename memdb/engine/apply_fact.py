"""Applying to facts: a new one, a new version of one, the end of one."""

from __future__ import annotations

from collections.abc import Sequence

from memdb.engine.applied import Applied
from memdb.engine.checks import check_feature, no_such_fact
from memdb.engine.effects import ForgottenFact, NewFact
from memdb.engine.state import Draft
from memdb.errors import NotFound
from memdb.index.columns import ALIVE
from memdb.index.text import Document
from memdb.index.text_filter import NO_END
from memdb.store import clips, facts, schema
from memdb.store.idents import IdKind, parse_id
from memdb.store.records import (
    FactRecord,
    LogEntry,
    NumberRecord,
    pack,
)
from memdb.store.rows import NO_STREAM
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.arrays import Array
from memdb.types.checks import check_range
from memdb.types.fact import Fact
from memdb.types.operation import (
    PutFact,
    ReviseFact,
)
from memdb.types.space import Space
from memdb.types.statements import FIELD as STATEMENTS
from memdb.types.validity import OPEN

_END = int(ALIVE)


def _evidence(
    txn: Transaction, draft: Draft, clip_ids: tuple[str, ...], within: str = ""
) -> tuple[int, ...]:
    numbers: list[int] = []
    for index, clip_id in enumerate(clip_ids):
        no = parse_id(draft.id_key, IdKind.CLIP, clip_id)
        if no is None or clips.version_at(txn, no, draft.revision) is None:
            raise NotFound(
                "no such clip",
                reason="CLIP_NOT_FOUND",
                field=f"{within}evidence[{index}]",
                value=clip_id,
            )
        numbers.append(no)
    return tuple(numbers)


def put_fact(txn: Transaction, applied: Applied, operation: PutFact) -> Fact:
    """Store a fact, or the next version of the one that holds its key.

    Raises `NotFound` (``CLIP_NOT_FOUND``), `InvalidArgument` (``TIME_RANGE``, ``DIM_MISMATCH``),
    `FailedPrecondition` (``NO_TEXT_SPACE``).
    """
    return _put(txn, applied, operation, _record(txn, applied.draft, operation))


def put_facts(txn: Transaction, applied: Applied, operations: Sequence[PutFact]) -> list[Fact]:
    """`put_fact` of each, or of none: raises as it, the field with the place of the statement."""
    # All are decided before the first is written.
    records = [
        _record(txn, applied.draft, operation, f"{STATEMENTS}[{index}].")
        for index, operation in enumerate(operations)
    ]
    return [
        _put(txn, applied, operation, record)
        for operation, record in zip(operations, records, strict=True)
    ]


def _record(txn: Transaction, draft: Draft, operation: PutFact, within: str = "") -> FactRecord:
    """What is to be stored; within: what the names of its fields begin with.  Raises as `put_fact`."""
    evidence = _evidence(txn, draft, operation.evidence, within)
    # From when it was written, not from when that was committed: a fact holds once it is there.  It may have
    # joined a commit that had begun already; as of that, which is told by its own time, it is to hold.
    valid_from_ns = (
        min(operation.written_ns, draft.time_ns)
        if operation.valid_from_ns is None
        else operation.valid_from_ns
    )
    if operation.valid_to_ns is not None:
        check_range(
            valid_from_ns,
            operation.valid_to_ns,
            f"{within}valid_to",
            start="start"
            if operation.valid_from_ns is not None
            else "now, from when it holds unless valid_from says otherwise",
        )
    if operation.feature is not None:
        check_feature(_text_space(draft), operation.feature, f"{within}feature")
    return FactRecord(
        operation.text,
        operation.about,
        operation.key,
        valid_from_ns,
        operation.valid_to_ns,
        evidence,
        operation.written_ns,
        None if operation.feature is None else draft.text_space_no,
    )


def _put(txn: Transaction, applied: Applied, operation: PutFact, record: FactRecord) -> Fact:
    draft = applied.draft
    held = None if operation.key is None else facts.holder(txn, operation.key)
    fact_no = draft.next_fact_no if held is None else held
    fact = _store_fact(txn, applied, fact_no, record, operation.feature)
    if held is None:
        draft.next_fact_no += 1
        if operation.key is not None:
            key = operation.key.encode()
            txn.put(Table.FACT_KEYS, key, pack(key, NumberRecord(fact_no)))
    return fact


def revise_fact(txn: Transaction, applied: Applied, operation: ReviseFact) -> Fact:
    """Store the next version of a fact; raises as `put_fact`, and `NotFound` (``FACT_NOT_FOUND``)."""
    draft = applied.draft
    fact_no = parse_id(draft.id_key, IdKind.FACT, operation.fact_id)
    current = None if fact_no is None else facts.newest(txn, fact_no)
    if fact_no is None or current is None:
        raise no_such_fact(operation.fact_id)
    old = current[1]
    text = old.text if operation.text is None else operation.text
    feature = operation.feature
    if (
        feature is None
        and text == old.text
        and old.text_space_no is not None
        and old.text_space_no == draft.text_space_no
    ):
        feature = facts.feature(txn, old.text_space_no, fact_no, current[0])
    valid_from_ns = (
        old.valid_from_ns if operation.valid_from_ns is None else operation.valid_from_ns
    )
    if operation.valid_to_ns == OPEN:
        valid_to_ns = None
    else:
        valid_to_ns = old.valid_to_ns if operation.valid_to_ns is None else operation.valid_to_ns
    if valid_to_ns is not None:
        check_range(valid_from_ns, valid_to_ns, "valid_to")
    record = FactRecord(
        text,
        old.about if operation.about is None else operation.about,
        old.key,
        valid_from_ns,
        valid_to_ns,
        old.evidence if operation.evidence is None else _evidence(txn, draft, operation.evidence),
        operation.written_ns,
        None if feature is None else draft.text_space_no,
    )
    return _store_fact(txn, applied, fact_no, record, feature)


def _text_space(draft: Draft) -> Space | None:
    return None if draft.text_space_no is None else draft.spaces[draft.text_space_no]


def _store_fact(
    txn: Transaction, applied: Applied, fact_no: int, record: FactRecord, feature: Array | None
) -> Fact:
    draft = applied.draft
    if feature is not None:
        check_feature(_text_space(draft), feature, "feature")
    key = schema.version_key(fact_no, draft.revision)
    txn.put(Table.FACTS, key, pack(key, record))
    if feature is not None and record.text_space_no is not None:
        clips.put_fact_feature(txn, record.text_space_no, fact_no, draft.revision, feature)
    document = Document(
        schema.FACT,
        fact_no,
        0,
        draft.revision,
        _END,
        facts.holds_from(record, draft.time_ns),
        NO_END if record.valid_to_ns is None else record.valid_to_ns,
        NO_STREAM,
        record.text,
        record.text_space_no,
        feature,
        record.about,
    )
    applied.effects.facts.append(NewFact(fact_no, document))
    applied.entries.append(LogEntry("fact", no=fact_no))
    return facts.as_fact(record, draft.user, draft.id_key, fact_no, draft.revision, None)


def forget_fact(txn: Transaction, applied: Applied, fact_id: str) -> int:
    """Remove every version of a fact; raises `NotFound` (``FACT_NOT_FOUND``)."""
    draft = applied.draft
    fact_no = parse_id(draft.id_key, IdKind.FACT, fact_id)
    gone = {} if fact_no is None else facts.remove(txn, fact_no)
    if fact_no is None or not gone:
        raise no_such_fact(fact_id)
    texts = {birth: record.text for birth, record in gone.items()}
    about = frozenset(thing for record in gone.values() for thing in record.about)
    applied.effects.forgotten.append(ForgottenFact(fact_no, texts, about))
    applied.entries.append(LogEntry("forget", no=fact_no, name=fact_id))
    return draft.revision
