"""Applying how an erasure goes on: begun, everything removed, ended (`memdb.engine.removal`)."""

from __future__ import annotations

from memdb.engine.applied import Applied
from memdb.engine.holds import held, is_held, stream_named
from memdb.engine.state import StreamState
from memdb.store import removal, schema
from memdb.store.lost import lost_entries, lost_numbers
from memdb.store.records import ErasureRecord, LogEntry, pack, unpack
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.operation import BeginErasure, RemoveLost


def begin_erasure(txn: Transaction, applied: Applied, operation: BeginErasure) -> int:
    """Note an erasure; another that has not ended yet is taken into it.

    Raises `NotFound` (``STREAM_NOT_FOUND``), `FailedPrecondition` (``LEGAL_HOLD``).
    """
    for name in operation.streams:
        if is_held(applied, stream_named(applied, name).no):
            raise held(name)
    draft = applied.draft
    held_names = {s.no: s.name for s in draft.streams.values() if is_held(applied, s.no)}
    for clip_no in operation.clip_nos if held_names else ():
        remains = removal.remains(txn, clip_no, tuple(draft.spaces))
        if remains is not None and remains.stream_no in held_names:
            raise held(held_names[remains.stream_no])
    record = ErasureRecord(operation.streams, operation.clip_nos)
    stored = txn.get(Table.META, schema.META_ERASURE)
    if stored is not None:
        before = unpack(Table.META, schema.META_ERASURE, stored, ErasureRecord)
        record = ErasureRecord(
            tuple(dict.fromkeys((*before.streams, *record.streams))),
            tuple(dict.fromkeys((*before.clip_nos, *record.clip_nos))),
        )
    txn.put(Table.META, schema.META_ERASURE, pack(schema.META_ERASURE, record))
    applied.entries.append(LogEntry("begin-erasure"))
    return applied.draft.revision


def await_compaction(txn: Transaction, applied: Applied) -> int:
    """Note that what the erasure names is removed: its names go, and freed pages are left."""
    stored = txn.get(Table.META, schema.META_ERASURE)
    bare = pack(schema.META_ERASURE, ErasureRecord((), ()))
    if stored is None or bytes(stored) == bare:
        return applied.draft.revision - 1
    txn.put(Table.META, schema.META_ERASURE, bare)
    applied.entries.append(LogEntry("await-compaction"))
    return applied.draft.revision


def end_erasure(txn: Transaction, applied: Applied) -> int:
    """Forget that there was an erasure."""
    if txn.delete(Table.META, schema.META_ERASURE):
        applied.entries.append(LogEntry("end-erasure"))
        return applied.draft.revision
    return applied.draft.revision - 1


def remove_lost(txn: Transaction, applied: Applied, operation: RemoveLost) -> int:
    """Remove entries that belong to nothing that can be read, and what damaged rows of the ledger
    say; their numbers stay refused.
    """
    draft = applied.draft
    lost = lost_entries(txn, tuple(draft.spaces), frozenset(operation.versions))
    rows = lost_numbers(txn, tuple(draft.spaces))
    if not lost and not rows:
        return draft.revision - 1
    for table, key in lost:
        txn.delete(table, key)
    for key in rows:
        # Not deleted: nobody can tell whether this number is taken.
        txn.put(Table.LEDGER, key, b"")
    applied.entries.append(LogEntry("remove-lost", no=len(lost) + len(rows)))
    return draft.revision


def is_being_erased(txn: Transaction, applied: Applied, stream: StreamState) -> bool:
    """Whether an erasure that has not ended names a stream or a clip of it."""
    stored = txn.get(Table.META, schema.META_ERASURE)
    if stored is None:
        return False
    record = unpack(Table.META, schema.META_ERASURE, stored, ErasureRecord)
    if stream.name in record.streams:
        return True
    found = (removal.remains(txn, no, tuple(applied.draft.spaces)) for no in record.clip_nos)
    return any(remains is not None and remains.stream_no == stream.no for remains in found)
