"""Taking versions of clips out of a transaction, whole or in part."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from memdb.store import schema
from memdb.store.environment import Transaction
from memdb.store.records import ClipRecord, FactRecord, pack, unpack
from memdb.store.rows import Row, pack_row, unpack_row
from memdb.store.schema import Table
from memdb.types.arrays import Array


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
        row = replace(row, short_memory_bytes=0)
    if keyframes and record.keyframes:
        for index in range(record.keyframes):
            txn.delete(Table.KEYFRAMES, schema.keyframe_key(clip_no, birth, index))
        record = msgspec.structs.replace(record, keyframes=0, thinned=True)
        row = replace(row, keyframe_bytes=0)
    if record is not version.record:
        txn.put(Table.CLIPS, key, pack(key, record))
        vector_key = schema.vector_key(record.space_no, clip_no, birth)
        txn.put(Table.VECTORS, vector_key, pack_row(vector_key, row, version.global_memory))
    return before - row.short_memory_bytes - row.keyframe_bytes


def drop_evidence(txn: Transaction, clip_nos: frozenset[int]) -> list[int]:
    """Take clips out of the evidence of every version of every fact; the facts that named them."""
    changed: list[tuple[bytes, FactRecord]] = []
    for key, stored in txn.scan(Table.FACTS):
        record = unpack(Table.FACTS, key, stored, FactRecord)
        if not clip_nos.isdisjoint(record.evidence):
            kept = tuple(no for no in record.evidence if no not in clip_nos)
            changed.append((key, msgspec.structs.replace(record, evidence=kept)))
    for key, record in changed:
        txn.put(Table.FACTS, key, pack(key, record))
    return list(dict.fromkeys(schema.split_version_key(key)[0] for key, _ in changed))
