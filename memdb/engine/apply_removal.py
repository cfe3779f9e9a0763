"""Applying what takes clips away: whole, in part, superseded versions, and the stream that held them.

What is removed is removed at every moment: `as_of` does not bring it back.
"""

from __future__ import annotations

from memdb.engine.applied import Applied, Removed
from memdb.engine.effects import RemovedClip, ThinnedVersion
from memdb.engine.pyramid import PyramidDraft
from memdb.engine.state import StreamState
from memdb.errors import FailedPrecondition, NotFound
from memdb.index.directions import prepared_rows
from memdb.store import removal, schema
from memdb.store.environment import Transaction
from memdb.store.idents import IdKind, make_id
from memdb.store.records import (
    ErasureRecord,
    HistoryRecord,
    LedgerRecord,
    LogEntry,
    NumberRecord,
    RetentionRecord,
    pack,
    unpack,
)
from memdb.store.schema import Table
from memdb.types.operation import (
    BeginErasure,
    CollectVersions,
    MarkSweep,
    RemoveClips,
    RemoveStream,
    SetRetention,
    ThinClips,
)
from memdb.types.retention import Retention


def remove_clips(
    txn: Transaction, applied: Applied, pyramid: PyramidDraft, operation: RemoveClips
) -> Removed:
    """Remove clips; those that are gone already, and those of a held stream, are passed over."""
    draft = applied.draft
    removed: list[int] = []
    size = 0
    for clip_no in operation.clip_nos:
        versions = removal.versions(txn, clip_no)
        if not versions or _is_held(applied, versions[-1].record.stream_no):
            continue
        newest = versions[-1]
        record = newest.record
        for version in versions:
            removal.remove_version(txn, version)
            size += version.row.short_memory_bytes + version.row.keyframe_bytes
        if record.sealed:
            cosine = draft.spaces[record.space_no].metric == "cosine"
            (vector,) = prepared_rows(newest.global_memory[None], cosine=cosine)
            pyramid.subtract(txn, record.stream_no, record.start_ns, vector)
        key = schema.ledger_key(record.stream_no, record.epoch, record.seq)
        times = (None, None) if operation.is_erasure else (record.start_ns, record.end_ns)
        # Birth stays: which numbers had come at an earlier moment does not change.
        first = versions[0].birth
        stone = LedgerRecord(clip_no, first, True, b"", draft.revision, *times)
        txn.put(Table.LEDGER, key, pack(key, stone))
        draft.stones += 1
        removed.append(clip_no)
        applied.effects.removed.append(RemovedClip(record.space_no, clip_no))
        kind = "erase" if operation.is_erasure else "expire"
        clip_id = make_id(draft.id_key, IdKind.CLIP, clip_no)
        applied.entries.append(LogEntry(kind, no=clip_no, name=clip_id))
    facts: list[int] = []
    if operation.is_erasure and removed:
        facts = removal.drop_evidence(txn, frozenset(removed))
    return Removed(
        tuple(removed),
        tuple(make_id(draft.id_key, IdKind.FACT, no) for no in facts),
        size,
    )


def thin_clips(txn: Transaction, applied: Applied, operation: ThinClips) -> Removed:
    """Remove heavy parts; clips that lack them already, or whose stream is held, are passed over."""
    draft = applied.draft
    thinned: list[int] = []
    total = 0
    for clip_no in operation.clip_nos:
        versions = removal.versions(txn, clip_no)
        if not versions or _is_held(applied, versions[-1].record.stream_no):
            continue
        size = 0
        for version in versions:
            size += removal.thin_version(
                txn,
                version,
                short_memory=operation.short_memory,
                keyframes=operation.keyframes,
            )
        if size:
            total += size
            thinned.append(clip_no)
            applied.effects.thinned.append(
                ThinnedVersion(
                    versions[-1].record.space_no,
                    clip_no,
                    operation.short_memory,
                    operation.keyframes,
                )
            )
            clip_id = make_id(draft.id_key, IdKind.CLIP, clip_no)
            applied.entries.append(LogEntry("thin", no=clip_no, name=clip_id))
    return Removed(tuple(thinned), (), total)


def collect_versions(txn: Transaction, applied: Applied, operation: CollectVersions) -> Removed:
    """Remove superseded versions and note the moments that can no more be told."""
    collected: list[int] = []
    spans: list[tuple[int, int]] = []
    size = 0
    for clip_no, birth, death in operation.versions:
        for version in removal.versions(txn, clip_no):
            if version.birth != birth or _is_held(applied, version.record.stream_no):
                continue
            removal.remove_version(txn, version)
            size += version.row.short_memory_bytes + version.row.keyframe_bytes
            applied.effects.collected.append((version.record.space_no, clip_no, birth, death))
            collected.append(clip_no)
            spans.append((birth, death))
    if spans:
        stored = txn.get(Table.META, schema.META_HISTORY)
        if stored is not None:
            record = unpack(Table.META, schema.META_HISTORY, stored, HistoryRecord)
            spans += record.collected
        merged = merge_spans(spans)
        txn.put(Table.META, schema.META_HISTORY, pack(schema.META_HISTORY, HistoryRecord(merged)))
        applied.draft.collected = merged
        applied.entries.append(LogEntry("collect", no=len(collected)))
    return Removed(tuple(collected), (), size)


def merge_spans(spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The union of half-open intervals, in order, none touching the next."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return tuple(merged)


def remove_stream(txn: Transaction, applied: Applied, operation: RemoveStream) -> int:
    """Remove an empty stream and its ledger.

    Raises `NotFound` (``STREAM_NOT_FOUND``), `FailedPrecondition` (``LEGAL_HOLD``,
    ``STREAM_NOT_EMPTY``).
    """
    draft = applied.draft
    stream = _stream(applied, operation.stream)
    if _is_held(applied, stream.no):
        raise held(operation.stream)
    rows = [
        (key, unpack(Table.LEDGER, key, stored, LedgerRecord))
        for key, stored in txn.scan(Table.LEDGER, schema.number_key(stream.no))
    ]
    if any(not row.removed for _, row in rows):
        raise FailedPrecondition(
            "the stream still holds clips",
            reason="STREAM_NOT_EMPTY",
            field="stream",
            value=operation.stream,
        )
    for key, _ in rows:
        txn.delete(Table.LEDGER, key)
    key = schema.number_key(stream.no)
    txn.delete(Table.STREAMS, key)
    txn.delete(Table.RETENTION, key)
    draft.retention.pop(stream.no, None)
    del draft.streams[operation.stream]
    draft.removed_streams += 1
    draft.removed_numbers += len(rows)
    draft.stones -= len(rows)
    applied.effects.removed_streams.append(stream.no)
    # By number: the name is what is being erased.
    applied.entries.append(LogEntry("remove-stream", no=stream.no))
    return draft.revision


def set_retention(txn: Transaction, applied: Applied, operation: SetRetention) -> int:
    """Set a stream's policy; raises `NotFound` (``STREAM_NOT_FOUND``)."""
    draft = applied.draft
    stream = _stream(applied, operation.stream)
    policy = operation.retention
    if draft.retention.get(stream.no, Retention()) == policy:
        return draft.revision - 1
    key = schema.number_key(stream.no)
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
        txn.put(Table.RETENTION, key, pack(key, record))
        draft.retention[stream.no] = policy
    applied.entries.append(LogEntry("retention", no=stream.no, name=operation.stream))
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


def begin_erasure(txn: Transaction, applied: Applied, operation: BeginErasure) -> int:
    """Note an erasure; another that has not ended yet is taken into it.

    Raises `NotFound` (``STREAM_NOT_FOUND``), `FailedPrecondition` (``LEGAL_HOLD``).
    """
    for name in operation.streams:
        if _is_held(applied, _stream(applied, name).no):
            raise held(name)
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


def end_erasure(txn: Transaction, applied: Applied) -> int:
    """Forget that there was an erasure."""
    if txn.delete(Table.META, schema.META_ERASURE):
        applied.entries.append(LogEntry("end-erasure"))
        return applied.draft.revision
    return applied.draft.revision - 1


def held(stream: str) -> FailedPrecondition:
    """The error of whoever would erase what is under legal hold."""
    return FailedPrecondition(
        "the stream is under legal hold", reason="LEGAL_HOLD", field="stream", value=stream
    )


def _stream(applied: Applied, name: str) -> StreamState:
    stream = applied.draft.streams.get(name)
    if stream is None:
        raise NotFound("no such stream", reason="STREAM_NOT_FOUND", field="stream", value=name)
    return stream


def _is_held(applied: Applied, stream_no: int) -> bool:
    policy = applied.draft.retention.get(stream_no)
    return policy is not None and policy.hold
