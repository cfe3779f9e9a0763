"""Applying what takes clips away: whole, in part, superseded versions, and the stream that held them.

What is removed is removed at every moment: `as_of` does not bring it back.
"""

from __future__ import annotations

from typing import Final

from memdb.engine.applied import Applied, Removed
from memdb.engine.apply_standing import leave_stream
from memdb.engine.effects import RemovedClip, ThinnedVersion
from memdb.engine.holds import held, is_held, stream_named
from memdb.engine.snapshots import ended_snapshots
from memdb.errors import DataLoss, FailedPrecondition
from memdb.store import removal, schema, standing
from memdb.store.idents import IdKind, make_id
from memdb.store.records import (
    HistoryRecord,
    LedgerRecord,
    LogEntry,
    LogRecord,
    pack,
    unpack,
)
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.operation import (
    CollectVersions,
    RemoveClips,
    RemoveStream,
    ThinClips,
)

SPANS_MAX: Final = 4096
"""Stretches of revisions that a user's history knows apart as collected."""


def remove_clips(txn: Transaction, applied: Applied, operation: RemoveClips) -> Removed:
    """Remove clips, whatever of them can be read; those that are gone already, and those of a held
    stream, are passed over.

    Raises `DataLoss` where tables are out of order; nothing is removed then.
    """
    draft = applied.draft
    space_nos = tuple(draft.spaces)
    going: list[removal.Remains] = []
    for clip_no in dict.fromkeys(operation.clip_nos):
        remains = removal.remains(txn, clip_no, space_nos)
        if remains is not None and not is_held(applied, remains.stream_no):
            going.append(remains)
    numbers = frozenset(remains.clip_no for remains in going)
    facts = removal.without_evidence(txn, numbers) if operation.is_erasure and going else []
    # Decided: from here on nothing is read that could be damaged.
    for remains in going:
        removal.remove_whole(txn, remains.clip_no, space_nos)
        times = (None, None) if operation.is_erasure else (remains.start_ns, remains.end_ns)
        _put_stone(txn, applied, remains, times, b"" if operation.is_erasure else remains.contents)
        kind = "erase" if operation.is_erasure else "expire"
        clip_id = make_id(draft.id_key, IdKind.CLIP, remains.clip_no)
        applied.entries.append(LogEntry(kind, no=remains.clip_no, name=clip_id))
        if remains.space_no is not None:
            number = None if operation.is_erasure else remains.number
            applied.effects.removed.append(
                RemovedClip(remains.space_no, remains.clip_no, number, times)
            )
    for key, record in facts:
        txn.put(Table.FACTS, key, pack(key, record))
    changed = dict.fromkeys(schema.split_version_key(key)[0] for key, _ in facts)
    return Removed(
        tuple(remains.clip_no for remains in going),
        tuple(make_id(draft.id_key, IdKind.FACT, no) for no in changed),
        sum(remains.size for remains in going),
    )


def _put_stone(
    txn: Transaction,
    applied: Applied,
    remains: removal.Remains,
    times: tuple[int | None, int | None],
    contents: bytes,
) -> None:
    """Keep the number of a clip taken."""
    draft = applied.draft
    if remains.number is None or remains.stream_no not in _stream_nos(applied):
        return
    key = schema.ledger_key(*remains.number)
    row = _ledger_row(txn, key)
    if row is not None and row.removed:
        return  # it was removed before, and what was left of it goes now
    if not txn.holds(Table.LEDGER, key):
        draft.removed_numbers -= 1  # its row was lost; the ledger has one more from now on
    # Birth stays: which numbers had come at an earlier moment does not change.
    birth = remains.birth
    if birth is None:
        birth = draft.revision if row is None else row.birth
    stone = LedgerRecord(remains.clip_no, birth, True, contents, draft.revision, *times)
    txn.put(Table.LEDGER, key, pack(key, stone))
    draft.stones += 1


def _ledger_row(txn: Transaction, key: bytes) -> LedgerRecord | None:
    """What the ledger says under a key, None where there is nothing or it cannot be read."""
    try:
        stored = txn.get(Table.LEDGER, key)
        return None if stored is None else unpack(Table.LEDGER, key, stored, LedgerRecord)
    except DataLoss:
        return None


def _readable_versions(txn: Transaction, clip_no: int) -> list[removal.Version]:
    """The versions of a clip, none where one is damaged: it is left as it is, and the sweep goes on."""
    try:
        return removal.versions(txn, clip_no)
    except DataLoss:
        return []


def thin_clips(txn: Transaction, applied: Applied, operation: ThinClips) -> Removed:
    """Remove heavy parts; clips that lack them already, whose stream is held, or that are damaged,
    are passed over.
    """
    draft = applied.draft
    thinned: list[int] = []
    total = 0
    for clip_no in operation.clip_nos:
        versions = _readable_versions(txn, clip_no)
        if not versions or is_held(applied, versions[-1].record.stream_no):
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
    """Remove superseded versions and note the moments that can no more be told.

    Snapshots whose leases had ended go in the same commit: one that is there keeps its moment, and would be believed.
    """
    collected: list[int] = []
    spans: list[tuple[int, int]] = []
    size = 0
    # Before anything is removed: damage here must refuse all of it.
    stored = txn.get(Table.META, schema.META_HISTORY)
    before = (
        ()
        if stored is None
        else unpack(Table.META, schema.META_HISTORY, stored, HistoryRecord).collected
    )
    ended_ns = operation.ended_ns
    ended = [] if ended_ns is None else ended_snapshots(txn, ended_ns)
    for clip_no, birth, death in operation.versions:
        for version in _readable_versions(txn, clip_no):
            if version.birth != birth or is_held(applied, version.record.stream_no):
                continue
            removal.remove_version(txn, version)
            size += version.row.short_memory_bytes + version.row.keyframe_bytes
            applied.effects.collected.append((version.record.space_no, clip_no, birth, death))
            collected.append(clip_no)
            spans.append((birth, death))
    if spans:
        merged = bounded_spans(merge_spans([*spans, *before]))
        txn.put(Table.META, schema.META_HISTORY, pack(schema.META_HISTORY, HistoryRecord(merged)))
        applied.draft.collected = merged
        for key in ended:
            txn.delete(Table.SNAPSHOTS, key)
            applied.entries.append(LogEntry("release", name=key.decode()))
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


def bounded_spans(spans: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """At most `SPANS_MAX`: the oldest become one.  Each clip that was revised leaves one, and every
    collection writes all of them.
    """
    excess = len(spans) - SPANS_MAX
    return spans if excess <= 0 else ((spans[0][0], spans[excess][1]), *spans[excess + 1 :])


def remove_stream(txn: Transaction, applied: Applied, operation: RemoveStream) -> int:
    """Remove an empty stream and its ledger; rows of the ledger that cannot be read go as well.

    Raises `NotFound` (``STREAM_NOT_FOUND``), `FailedPrecondition` (``LEGAL_HOLD``,
    ``STREAM_NOT_EMPTY``).
    """
    draft = applied.draft
    stream = stream_named(applied, operation.stream)
    if is_held(applied, stream.no):
        raise held(operation.stream)
    prefix = schema.number_key(stream.no)
    rows = [(key, _ledger_row(txn, key)) for key in txn.keys(Table.LEDGER, prefix)]
    if any(row is not None and not row.removed for _, row in rows) or (
        any(row is None for _, row in rows) and removal.has_clips(txn, stream.no, stream.space_no)
    ):
        raise FailedPrecondition(
            "the stream still holds clips",
            reason="STREAM_NOT_EMPTY",
            field="stream",
            value=operation.stream,
        )
    nameless = _without_name(txn, stream.no, operation.stream)
    questions = standing.of_stream(txn, stream.no)
    # Decided: from here on nothing is read that could be damaged.
    for key, _ in rows:
        txn.delete(Table.LEDGER, key)
    for key, value in nameless:
        txn.put(Table.LOG, key, value)
    key = schema.number_key(stream.no)
    txn.delete(Table.STREAMS, key)
    txn.delete(Table.RETENTION, key)
    draft.retention.pop(stream.no, None)
    del draft.streams[operation.stream]
    leave_stream(txn, applied, stream.no, questions)
    draft.removed_streams += 1
    draft.removed_numbers += len(rows)
    draft.stones -= sum(1 for _, row in rows if row is not None)
    applied.effects.removed_streams.append(stream.no)
    # By number: the name is what is being erased.
    applied.entries.append(LogEntry("remove-stream", no=stream.no))
    return draft.revision


def _without_name(txn: Transaction, stream_no: int, name: str) -> list[tuple[bytes, bytes]]:
    """The log's records that have the name of a stream, as they are without it: earlier releases wrote
    it beside its policies.

    One that cannot be read, and holds the name's letters, becomes nothing: it may be such a one.
    """
    raw = name.encode()
    nameless: list[tuple[bytes, bytes]] = []
    for key, stored in txn.scan(Table.LOG):
        if raw not in bytes(stored):
            continue
        try:
            record = unpack(Table.LOG, key, stored, LogRecord)
        except DataLoss:
            nameless.append((key, b""))
            continue
        if any(entry.kind == "retention" and entry.no == stream_no for entry in record.entries):
            entries = tuple(
                LogEntry(entry.kind, entry.no, content=entry.content)
                if entry.kind == "retention"
                else entry
                for entry in record.entries
            )
            nameless.append((key, pack(key, LogRecord(record.time_ns, entries))))
    return nameless


def _stream_nos(applied: Applied) -> set[int]:
    return {stream.no for stream in applied.draft.streams.values()}
