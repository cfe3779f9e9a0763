"""Applying policies of streams, and how far the clock of retention has come."""

from __future__ import annotations

import xxhash

from memdb.engine.applied import Applied
from memdb.engine.apply_erasure import is_being_erased
from memdb.engine.holds import is_held, stream_named
from memdb.errors import FailedPrecondition
from memdb.store import schema
from memdb.store.records import LogEntry, NumberRecord, RetentionRecord, pack
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.operation import MarkSweep, SetRetention
from memdb.types.retention import Retention


def set_retention(txn: Transaction, applied: Applied, operation: SetRetention) -> int:
    """Set a stream's policy.

    Raises `NotFound` (``STREAM_NOT_FOUND``), `FailedPrecondition` (``ERASURE_PENDING``) for a hold
    on what is being erased.
    """
    draft = applied.draft
    stream = stream_named(applied, operation.stream)
    policy = operation.retention
    if policy.hold and not is_held(applied, stream.no) and is_being_erased(txn, applied, stream):
        raise FailedPrecondition(
            "an erasure of the stream was begun and has not ended",
            reason="ERASURE_PENDING",
            field="retention.hold",
            value=operation.stream,
        )
    if draft.retention.get(stream.no, Retention()) == policy:
        return draft.revision - 1
    key = schema.number_key(stream.no)
    content = 0
    if policy.is_empty:
        txn.delete(Table.RETENTION, key)
        draft.retention.pop(stream.no, None)
    else:
        record = RetentionRecord(
            policy.max_age_s,
            policy.max_clips,
            policy.max_bytes,
            policy.short_memory_age_s,
            policy.keyframes_age_s,
            policy.hold,
        )
        row = pack(key, record)
        txn.put(Table.RETENTION, key, row)
        content = xxhash.xxh3_64_intdigest(row)
        draft.retention[stream.no] = policy
    # By number: the name would outlive the stream.
    applied.entries.append(LogEntry("retention", no=stream.no, content=content))
    return draft.revision


def mark_sweep(txn: Transaction, applied: Applied, operation: MarkSweep) -> int:
    """Move the clock of retention."""
    txn.put(
        Table.META,
        schema.META_SWEEP,
        pack(schema.META_SWEEP, NumberRecord(operation.now_ns)),
    )
    applied.draft.sweep_ns = operation.now_ns
    applied.entries.append(LogEntry("sweep"))
    return applied.draft.revision
