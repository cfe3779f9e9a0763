"""Entries that belong to nothing that can be read: what is left where a key or both twins of a version
were damaged.

Nobody is served them and nothing names them, so no erasure by name reaches them; but they may be of
what is being erased, and no byte of that may stay.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from memdb.errors import DataLoss
from memdb.store import schema
from memdb.store.records import ClipRecord, LedgerRecord, unpack
from memdb.store.rows import unpack_row
from memdb.store.schema import Table
from memdb.store.transaction import Transaction

Entry = tuple[Table, bytes]
Number = tuple[int, int, int]


def lost_entries(
    txn: Transaction, space_nos: Collection[int], unknown: frozenset[tuple[int, int]]
) -> list[Entry]:
    """Entries of clips that no version owns.

    unknown: versions, (clip number, birth) each, of which nothing can be read.
    """
    lost: list[Entry] = []
    for table in (Table.CLIPS, Table.VECTORS):
        for key in txn.keys(table):
            try:
                version = _version(table, key)
            except DataLoss:
                lost.append((table, key))
                continue
            has_twin = _has_twin(txn, table, version, space_nos)
            if (version in unknown or not has_twin) and not _is_readable(txn, table, key):
                lost.append((table, key))
    lost_keys = set(lost)
    for table in (Table.SHORT_MEMORY, Table.KEYFRAMES, Table.TEXTS):
        for key in txn.keys(table):
            owner = _owner(txn, table, key)
            if owner is not None and (
                not _is_owned(txn, owner, space_nos, lost_keys)
                or not _is_expected(txn, table, key, owner)
            ):
                lost.append((table, key))
    return lost


def lost_numbers(txn: Transaction, space_nos: Collection[int]) -> list[bytes]:
    """Keys of rows of the ledger that cannot be read, hold something, and are of no clip that can."""
    unreadable: list[tuple[bytes, Number | None]] = []
    for key, stored in txn.scan(Table.LEDGER):
        try:
            unpack(Table.LEDGER, key, stored, LedgerRecord)
        except DataLoss:
            if not _is_blank(txn, key):
                unreadable.append((key, _number(key)))
    if not unreadable:
        return []
    known = set(_numbers(txn, space_nos))
    return [key for key, number in unreadable if number not in known]


def _version(table: Table, key: bytes) -> tuple[int, int]:
    if table is Table.CLIPS:
        return schema.split_version_key(key)
    return schema.split_vector_key(key)[1:]


def _has_twin(
    txn: Transaction, table: Table, version: tuple[int, int], space_nos: Collection[int]
) -> bool:
    if table is Table.VECTORS:
        return txn.holds(Table.CLIPS, schema.version_key(*version))
    return any(txn.holds(Table.VECTORS, schema.vector_key(no, *version)) for no in space_nos)


def _is_readable(txn: Transaction, table: Table, key: bytes) -> bool:
    try:
        stored = txn.get(table, key)
        assert stored is not None, "its key was just read"
        if table is Table.CLIPS:
            unpack(table, key, stored, ClipRecord)
        else:
            unpack_row(table, key, stored)
    except DataLoss:
        return False
    return True


def _owner(txn: Transaction, table: Table, key: bytes) -> tuple[int, int] | None:
    """The version that a part belongs to, (-1, -1) where its key cannot be; None of a fact."""
    try:
        if table is Table.TEXTS:
            _, kind, no, _, birth = schema.split_text_key(key)
            if kind == schema.UTTERANCE:
                return no, birth
            is_of_fact = kind == schema.FACT and (
                txn.holds(Table.FACTS, schema.version_key(no, birth))
                or _is_readable(txn, table, key)
            )
            return None if is_of_fact else (-1, -1)
        if table is Table.KEYFRAMES:
            return schema.split_keyframe_key(key)[:2]
        return schema.split_version_key(key)
    except DataLoss:
        return -1, -1


def _is_owned(
    txn: Transaction, owner: tuple[int, int], space_nos: Collection[int], lost: set[Entry]
) -> bool:
    if owner[0] < 0:
        return False
    record = Table.CLIPS, schema.version_key(*owner)
    rows = ((Table.VECTORS, schema.vector_key(no, *owner)) for no in space_nos)
    return any(entry not in lost and txn.holds(*entry) for entry in (record, *rows))


def _is_expected(txn: Transaction, table: Table, key: bytes, owner: tuple[int, int]) -> bool:
    """Whether the record of a version, where it can be read, says that it has such a part."""
    record_key = schema.version_key(*owner)
    try:
        stored = txn.get(Table.CLIPS, record_key)
        if stored is None:
            return True
        record = unpack(Table.CLIPS, record_key, stored, ClipRecord)
    except DataLoss:
        return True
    if table is Table.SHORT_MEMORY:
        return record.short_memory is not None
    if table is Table.KEYFRAMES:
        return schema.split_keyframe_key(key)[2] < record.keyframes
    space_no, _, _, index, _ = schema.split_text_key(key)
    return space_no == record.text_space_no and index < len(record.transcript)


def _is_blank(txn: Transaction, key: bytes) -> bool:
    """Whether nothing is left of a row but its number."""
    try:
        stored = txn.get(Table.LEDGER, key)
    except DataLoss:
        return False
    return stored is None or len(stored) == 0


def _number(key: bytes) -> Number | None:
    try:
        return schema.split_ledger_key(key)
    except DataLoss:
        return None


def _numbers(txn: Transaction, space_nos: Collection[int]) -> Iterator[Number]:
    """Numbers of every clip of which something can be read."""
    for key, stored in txn.scan(Table.CLIPS):
        try:
            record = unpack(Table.CLIPS, key, stored, ClipRecord)
            yield record.stream_no, record.epoch, record.seq
        except DataLoss:
            continue
    for space_no in space_nos:
        for key, stored in txn.scan(Table.VECTORS, schema.number_key(space_no)):
            try:
                row = unpack_row(Table.VECTORS, key, stored)[0]
                yield row.stream_no, row.epoch, row.seq
            except DataLoss:
                continue
