"""Applying operations to a user's store, inside one write transaction.

Deterministic: reads no clock, draws no random number, makes no id that is not derived from the
state.  Each operation is first decided (validated against the draft and the stored state) and only
then written, so one that is refused leaves nothing behind and the others of its commit go on.
"""

from __future__ import annotations

from memdb.engine.applied import Applied, Outcome
from memdb.engine.apply_clip import write_clip
from memdb.engine.apply_fact import forget_fact, put_fact, revise_fact
from memdb.engine.apply_stream import space_no_of, stream_of
from memdb.engine.pyramid import PyramidDraft
from memdb.engine.state import Draft
from memdb.errors import MemdbError, NotFound
from memdb.store import schema
from memdb.store.environment import Transaction
from memdb.store.records import (
    LogEntry,
    LogRecord,
    SnapshotRecord,
    ValueRecord,
    pack,
    unpack,
)
from memdb.store.schema import Table
from memdb.types.operation import (
    ConfigureUser,
    CreateStream,
    ForgetFact,
    Operation,
    PutFact,
    PutSnapshot,
    PutValue,
    ReleaseSnapshot,
    ReviseFact,
    WriteClip,
)
from memdb.types.snapshot import Snapshot
from memdb.types.stream import StreamInfo


def apply(txn: Transaction, draft: Draft, operations: list[Operation]) -> Applied:
    """Write the operations' effects, the log record and the counters into ``txn``."""
    applied = Applied(draft)
    pyramid = PyramidDraft()
    for operation in operations:
        try:
            applied.outcomes.append(_apply_one(txn, applied, pyramid, operation))
        except MemdbError as error:
            applied.outcomes.append(error)
    if applied.changed:
        pyramid.store(txn)
        key = schema.revision_key(draft.revision)
        txn.put(
            Table.LOG, key, pack(key, LogRecord(draft.time_ns, tuple(applied.entries))), append=True
        )
        txn.put(Table.META, schema.META_COUNTERS, pack(schema.META_COUNTERS, draft.counters()))
    return applied


def _apply_one(
    txn: Transaction, applied: Applied, pyramid: PyramidDraft, operation: Operation
) -> Outcome:
    match operation:
        case WriteClip():
            return write_clip(txn, applied, pyramid, operation)
        case CreateStream(stream=name, space=space):
            stream = stream_of(txn, applied, name, space)
            return StreamInfo(name, applied.draft.spaces[stream.space_no].name, stream.revision)
        case PutFact():
            return put_fact(txn, applied, operation)
        case ReviseFact():
            return revise_fact(txn, applied, operation)
        case ForgetFact(fact_id=fact_id):
            return forget_fact(txn, applied, fact_id)
        case PutValue(key=name, json=json):
            key = schema.value_key(name, applied.draft.revision)
            txn.put(Table.VALUES, key, pack(key, ValueRecord(json)))
            applied.entries.append(LogEntry("value", name=name))
            return applied.draft.revision
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
            space_no = space_no_of(txn, applied.draft, space)
            if applied.draft.text_space_no != space_no:
                applied.draft.text_space_no = space_no
                applied.entries.append(LogEntry("settings", no=space_no, name=space.name))
                return applied.draft.revision
            return applied.draft.revision - 1


def _put_snapshot(txn: Transaction, applied: Applied, operation: PutSnapshot) -> Snapshot:
    expired = [
        key
        for key, stored in txn.scan(Table.SNAPSHOTS)
        if unpack(Table.SNAPSHOTS, key, stored, SnapshotRecord).expires_ns <= operation.created_ns
    ]
    for key in expired:
        txn.delete(Table.SNAPSHOTS, key)
    key = operation.name.encode()
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
    return Snapshot(operation.name, revision, operation.created_ns, operation.expires_ns)


__all__ = ["Applied", "Outcome", "apply"]
