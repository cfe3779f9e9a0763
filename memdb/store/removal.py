"""Taking clips out of a transaction: versions whole or in part, and clips whatever of them can be
read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from memdb.errors import DataLoss
from memdb.store import schema
from memdb.store.records import ClipRecord, FactRecord, LedgerRecord, pack, unpack
from memdb.store.rows import Row, pack_row, unpack_row
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.arrays import Array

CONTENTS_MAX: Final = 64
"""Versions of a clip that was given up whose copies are still told from other clips."""


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """One stored version of a clip."""

    clip_no: int
    birth: int
    record: ClipRecord
    row: Row
    global_memory: Array
    """(dim,), a copy."""


def versions(txn: Transaction, clip_no: int) -> list[Version]:
    """Every version of a clip, oldest first; raises `DataLoss`."""
    found: list[Version] = []
    for key, stored in txn.scan(Table.CLIPS, schema.revision_key(clip_no)):
        birth = schema.split_version_key(key)[1]
        record = unpack(Table.CLIPS, key, stored, ClipRecord)
        vector_key = schema.vector_key(record.space_no, clip_no, birth)
        row_stored = txn.get(Table.VECTORS, vector_key)
        if row_stored is None:
            continue  # `verify` names it; it must not keep the rest from being removed
        row, vector = unpack_row(Table.VECTORS, vector_key, row_stored)
        found.append(Version(clip_no, birth, record, row, vector.copy()))
    return found


def remove_version(txn: Transaction, version: Version) -> None:
    """Remove a version with all its parts."""
    clip_no, birth, record = version.clip_no, version.birth, version.record
    key = schema.version_key(clip_no, birth)
    txn.delete(Table.CLIPS, key)
    txn.delete(Table.VECTORS, schema.vector_key(record.space_no, clip_no, birth))
    txn.delete(Table.SHORT_MEMORY, key)
    for index in range(record.keyframes):
        txn.delete(Table.KEYFRAMES, schema.keyframe_key(clip_no, birth, index))
    if record.text_space_no is not None:
        for index in range(len(record.transcript)):
            txn.delete(
                Table.TEXTS,
                schema.text_key(record.text_space_no, schema.UTTERANCE, clip_no, index, birth),
            )


def thin_version(txn: Transaction, version: Version, *, short_memory: bool, keyframes: bool) -> int:
    """Remove the heavy parts of a version; the bytes that go."""
    clip_no, birth, record, row = version.clip_no, version.birth, version.record, version.row
    key = schema.version_key(clip_no, birth)
    before = row.short_memory_bytes + row.keyframe_bytes
    if short_memory and record.short_memory is not None:
        txn.delete(Table.SHORT_MEMORY, key)
        record = msgspec.structs.replace(record, short_memory=None, thinned=True)
        row = row._replace(short_memory_bytes=0)
    if keyframes and record.keyframes:
        for index in range(record.keyframes):
            txn.delete(Table.KEYFRAMES, schema.keyframe_key(clip_no, birth, index))
        record = msgspec.structs.replace(record, keyframes=0, thinned=True)
        row = row._replace(keyframe_bytes=0)
    if record is not version.record:
        txn.put(Table.CLIPS, key, pack(key, record))
        vector_key = schema.vector_key(record.space_no, clip_no, birth)
        txn.put(Table.VECTORS, vector_key, pack_row(vector_key, row, version.global_memory))
    return before - row.short_memory_bytes - row.keyframe_bytes


def without_evidence(txn: Transaction, clip_nos: frozenset[int]) -> list[tuple[bytes, FactRecord]]:
    """Versions of facts as they are without some clips among their evidence, by key; only those that
    change.

    One that cannot be read is passed over: it is never served, and holds no more than a number.
    """
    changed: list[tuple[bytes, FactRecord]] = []
    for key, stored in txn.scan(Table.FACTS):
        try:
            record = unpack(Table.FACTS, key, stored, FactRecord)
        except DataLoss:
            continue
        if not clip_nos.isdisjoint(record.evidence):
            kept = tuple(no for no in record.evidence if no not in clip_nos)
            changed.append((key, msgspec.structs.replace(record, evidence=kept)))
    return changed


@dataclass(frozen=True, slots=True, eq=False)
class Remains:
    """What can be read of a clip, whatever of it is damaged."""

    clip_no: int
    number: tuple[int, int, int] | None
    """(stream number, epoch, seq); None where nothing tells it any more."""
    space_no: int | None
    birth: int | None
    """Of its first version, as far as one knows."""
    start_ns: int | None
    end_ns: int | None
    size: int
    """Bytes of short-term memory and keyframes, as far as one knows."""
    contents: bytes
    """Hashes of its versions, one behind the other, the newest first and no more than `CONTENTS_MAX`; empty where one
    of them cannot be read."""

    @property
    def stream_no(self) -> int | None:
        """Number of its stream."""
        return None if self.number is None else self.number[0]


def remains(txn: Transaction, clip_no: int, space_nos: Collection[int]) -> Remains | None:
    """What is left of a clip, None when there is nothing of it.

    space_nos: the user's spaces.
    """
    records: dict[int, ClipRecord | None] = {}
    rows: dict[int, tuple[int, Row] | None] = {}
    anything = False
    for table, key in _keys(txn, clip_no, space_nos):
        anything = True
        try:
            if table is Table.CLIPS:
                birth = schema.split_version_key(key)[1]
                records.setdefault(birth, None)
                records[birth] = unpack(table, key, _stored(txn, table, key), ClipRecord)
            elif table is Table.VECTORS:
                space_no, _, birth = schema.split_vector_key(key)
                rows.setdefault(birth, None)
                rows[birth] = space_no, unpack_row(table, key, _stored(txn, table, key))[0]
        except DataLoss:
            continue
    if not anything:
        return None
    births = records.keys() | rows.keys()
    read = [row for _, row in sorted(rows.items()) if row is not None]
    told = [record for _, record in sorted(records.items()) if record is not None]
    newest = rows.get(max(births)) if births else None
    what = newest[1] if newest is not None else told[-1] if told else read[-1][1] if read else None
    number = None if what is None else (what.stream_no, what.epoch, what.seq)
    whole = [b for b in births if records.get(b) is not None or rows.get(b) is not None]
    if number is None:
        number = number_of(txn, clip_no)
    return Remains(
        clip_no,
        number,
        read[-1][0] if read else told[-1].space_no if told else None,
        min(whole or births, default=None),
        None if what is None else what.start_ns,
        None if what is None else what.end_ns,
        sum(row.short_memory_bytes + row.keyframe_bytes for _, row in read),
        b"".join(record.content for record in told[: -CONTENTS_MAX - 1 : -1])
        if len(told) == len(births)
        else b"",
    )


def has_clips(txn: Transaction, stream_no: int, space_no: int) -> bool:
    """Whether any clip of a stream can be read, whatever the ledger says."""
    for key, stored in txn.scan(Table.VECTORS, schema.number_key(space_no)):
        try:
            if unpack_row(Table.VECTORS, key, stored)[0].stream_no == stream_no:
                return True
        except DataLoss:
            continue
    return False


def remove_whole(txn: Transaction, clip_no: int, space_nos: Collection[int]) -> None:
    """Remove every entry that stands under a clip's number, whatever it holds."""
    for table, key in list(_keys(txn, clip_no, space_nos)):
        txn.delete(table, key)


def _keys(
    txn: Transaction, clip_no: int, space_nos: Collection[int]
) -> Iterator[tuple[Table, bytes]]:
    prefix = schema.revision_key(clip_no)
    for table in (Table.CLIPS, Table.SHORT_MEMORY, Table.KEYFRAMES):
        for key in txn.keys(table, prefix):
            yield table, key
    for space_no in space_nos:
        for key in txn.keys(Table.VECTORS, schema.number_key(space_no) + prefix):
            yield Table.VECTORS, key
        for key in txn.keys(Table.TEXTS, schema.texts_prefix(space_no, schema.UTTERANCE, clip_no)):
            yield Table.TEXTS, key


def _stored(txn: Transaction, table: Table, key: bytes) -> memoryview:
    stored = txn.get(table, key)
    assert stored is not None, "its key was just read"
    return stored


def number_of(txn: Transaction, clip_no: int) -> tuple[int, int, int] | None:
    """The number under which the ledger has a clip, be it removed or not."""
    for key, stored in txn.scan(Table.LEDGER):
        try:
            if unpack(Table.LEDGER, key, stored, LedgerRecord).clip_no == clip_no:
                return schema.split_ledger_key(key)
        except DataLoss:
            continue
    return None
