"""Applying operations to a user's store, inside one write transaction.

Deterministic: reads no clock, draws no random number, makes no id that is not derived from the
state.  Each operation is first decided (validated against the draft and the stored state) and only
then written, so one that is refused leaves nothing behind and the others of its commit go on.
"""

from __future__ import annotations

from collections.abc import Sequence

from memdb.engine.applied import Applied, Outcome
from memdb.engine.apply_clip import write_clip
from memdb.engine.apply_erasure import (
    await_compaction,
    begin_erasure,
    end_erasure,
    remove_lost,
)
from memdb.engine.apply_fact import forget_fact, put_fact, put_facts, revise_fact
from memdb.engine.apply_plain import plain_from, write_plain
from memdb.engine.apply_removal import (
    collect_versions,
    remove_clips,
    remove_stream,
    thin_clips,
)
from memdb.engine.apply_retention import mark_sweep, set_retention
from memdb.engine.apply_run import one_by_one, write_run
from memdb.engine.apply_standing import create_standing, remove_standing
from memdb.engine.apply_stream import space_no_of, stream_of
from memdb.engine.apply_value import remove_value
from memdb.engine.snapshots import ended_snapshots
from memdb.errors import FailedPrecondition, MemdbError, NotFound, ResourceExhausted
from memdb.store import schema
from memdb.store.records import (
    LogEntry,
    LogRecord,
    SnapshotRecord,
    ValueRecord,
    pack,
)
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.limits import SNAPSHOTS_MAX
from memdb.types.operation import (
    AwaitCompaction,
    BeginErasure,
    CollectVersions,
    ConfigureUser,
    CreateStanding,
    CreateStream,
    EndErasure,
    ForgetFact,
    MarkSweep,
    Operation,
    PutFact,
    PutFacts,
    PutSnapshot,
    PutValue,
    ReleaseSnapshot,
    RemoveClips,
    RemoveLost,
    RemoveStanding,
    RemoveStream,
    RemoveValue,
    ReviseFact,
    SetRetention,
    ThinClips,
    WriteClip,
    WriteRun,
)
from memdb.types.snapshot import Snapshot
from memdb.types.space import Space


def apply(txn: Transaction, applied: Applied, operations: list[Operation]) -> None:
    """Write the operations' effects, the log record and the counters into ``txn``.

    applied: what the operations before these in the same commit gave; added to.
    """
    draft = applied.draft
    _apply_each(txn, applied, operations)
    if applied.changed:
        key = schema.revision_key(draft.revision)
        txn.put(
            Table.LOG, key, pack(key, LogRecord(draft.time_ns, tuple(applied.entries))), append=True
        )
        txn.put(Table.META, schema.META_COUNTERS, pack(schema.META_COUNTERS, draft.counters()))


def _apply_each(txn: Transaction, applied: Applied, operations: Sequence[Operation]) -> None:
    """Decide and write operations, as many of them at once as may be."""
    done = 0
    while done < len(operations):
        operation = operations[done]
        if type(operation) is WriteRun:
            _write_run(txn, applied, operation)
            done += 1
            continue
        plain = plain_from(applied, operations, done)
        if plain is None:
            _try(txn, applied, operation)
            done += 1
            continue
        for are_new, clips in plain.stretches(txn):
            if are_new:
                write_plain(txn, applied, clips)
            else:
                for clip in clips.operations:
                    _try(txn, applied, clip)
        done += len(plain)


def _write_run(txn: Transaction, applied: Applied, operation: WriteRun) -> None:
    """Decide and write the clips of a run; one outcome joins those that are there, with what became of each."""
    acks = write_run(txn, applied, operation)
    if acks is not None:
        applied.outcomes.append(acks)
        return
    before, applied.outcomes = applied.outcomes, []
    try:
        _apply_each(txn, applied, one_by_one([operation]))
    finally:
        outcomes, applied.outcomes = applied.outcomes, before
    applied.outcomes.append(outcomes)  # type: ignore[arg-type]  # clips give acks


def _try(txn: Transaction, applied: Applied, operation: Operation) -> None:
    """Decide and write one operation; its outcome, which may be why it is refused, joins those that are there."""
    assert not isinstance(operation, WriteRun), "its clips have an outcome each"
    try:
        outcome = (
            write_clip(txn, applied, operation)
            if isinstance(operation, WriteClip)
            else remove_clips(txn, applied, operation)
            if isinstance(operation, RemoveClips)
            else remove_lost(txn, applied, operation)
            if isinstance(operation, RemoveLost)
            else _apply_one(txn, applied, operation)
        )
        applied.outcomes.append(outcome)
    except MemdbError as error:
        applied.outcomes.append(error)


def _apply_one(
    txn: Transaction,
    applied: Applied,
    operation: CreateStream
    | PutFact
    | PutFacts
    | ReviseFact
    | ForgetFact
    | PutValue
    | RemoveValue
    | PutSnapshot
    | ReleaseSnapshot
    | ConfigureUser
    | ThinClips
    | RemoveStream
    | SetRetention
    | CollectVersions
    | MarkSweep
    | BeginErasure
    | AwaitCompaction
    | EndErasure
    | CreateStanding
    | RemoveStanding,
) -> Outcome:
    match operation:
        case CreateStream(stream=name, space=space, zone=zone):
            stream = stream_of(txn, applied, name, space, zone)
            return applied.draft.state().stream_info(stream.name)
        case PutFact():
            return put_fact(txn, applied, operation)
        case PutFacts(facts=facts):
            return put_facts(txn, applied, facts)
        case ReviseFact():
            return revise_fact(txn, applied, operation)
        case ForgetFact(fact_id=fact_id):
            return forget_fact(txn, applied, fact_id)
        case PutValue(key=name, json=json):
            key = schema.value_key(name, applied.draft.revision)
            txn.put(Table.VALUES, key, pack(key, ValueRecord(json)))
            applied.entries.append(LogEntry("value", name=name))
            return applied.draft.revision
        case RemoveValue(key=name):
            return remove_value(txn, applied, name)
        case PutSnapshot():
            return _put_snapshot(txn, applied, operation)
        case ReleaseSnapshot(name=name):
            if not txn.delete(Table.SNAPSHOTS, name.encode()):
                raise NotFound(
                    "no such snapshot", reason="SNAPSHOT_NOT_FOUND", field="snapshot", value=name
                )
            applied.entries.append(LogEntry("release", name=name))
            return applied.draft.revision
        case ConfigureUser(text_space=space):
            return _configure(txn, applied, space)
        case ThinClips():
            return thin_clips(txn, applied, operation)
        case RemoveStream():
            return remove_stream(txn, applied, operation)
        case SetRetention():
            return set_retention(txn, applied, operation)
        case CollectVersions():
            return collect_versions(txn, applied, operation)
        case MarkSweep():
            return mark_sweep(txn, applied, operation)
        case BeginErasure():
            return begin_erasure(txn, applied, operation)
        case AwaitCompaction():
            return await_compaction(txn, applied)
        case EndErasure():
            return end_erasure(txn, applied)
        case CreateStanding():
            return create_standing(txn, applied, operation)
        case RemoveStanding(question_id=question_id):
            return remove_standing(txn, applied, question_id)


def _configure(txn: Transaction, applied: Applied, space: Space) -> int:
    """Set the user's text space, once: features of two spaces must not meet, now or as of then."""
    draft = applied.draft
    if draft.text_space_no is not None:
        current = draft.spaces[draft.text_space_no]
        if current != space:
            raise FailedPrecondition(
                f"the user's texts are in space {current.name}",
                reason="TEXT_SPACE_SET",
                field="text_space",
                value=space.name,
            )
        return draft.revision - 1
    draft.text_space_no = space_no_of(txn, draft, space)
    draft.text_space_revision = draft.revision
    applied.entries.append(LogEntry("settings", no=draft.text_space_no, name=space.name))
    return draft.revision


def _put_snapshot(txn: Transaction, applied: Applied, operation: PutSnapshot) -> Snapshot:
    if txn.count(Table.SNAPSHOTS) >= SNAPSHOTS_MAX:
        for ended in ended_snapshots(txn, operation.created_ns):
            txn.delete(Table.SNAPSHOTS, ended)
    key = operation.name.encode()
    if txn.count(Table.SNAPSHOTS) >= SNAPSHOTS_MAX and txn.get(Table.SNAPSHOTS, key) is None:
        raise ResourceExhausted(
            f"the user has {SNAPSHOTS_MAX} live snapshots: release one of them",
            reason="QUOTA",
            field="snapshot",
            value=operation.name,
        )
    revision = applied.draft.revision
    record = SnapshotRecord(revision, operation.created_ns, operation.expires_ns)
    txn.put(Table.SNAPSHOTS, key, pack(key, record))
    applied.entries.append(
        LogEntry(
            "snapshot",
            no=revision,
            name=operation.name,
            created_ns=operation.created_ns,
            expires_ns=operation.expires_ns,
        )
    )
    return Snapshot(
        operation.name,
        revision,
        operation.created_ns,
        operation.expires_ns,
        applied.draft.user,
    )
