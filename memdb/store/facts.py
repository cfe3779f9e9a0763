"""Versions of facts in a transaction."""

from __future__ import annotations

from collections.abc import Iterator

from memdb.store import schema
from memdb.store.idents import IdKind, make_id
from memdb.store.records import FactRecord, NumberRecord, unpack
from memdb.store.rows import unpack_row
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.arrays import Array
from memdb.types.fact import Fact


def holder(txn: Transaction, name: str) -> int | None:
    """Number of the fact that holds the key ``name``."""
    key = name.encode()
    stored = txn.get(Table.FACT_KEYS, key)
    return None if stored is None else unpack(Table.FACT_KEYS, key, stored, NumberRecord).no


def versions(
    txn: Transaction, fact_no: int, after: int | None = None
) -> Iterator[tuple[int, FactRecord]]:
    """(birth, record) of every version, or of those after a birth, oldest first; each read when its turn
    comes.
    """
    begin = b"" if after is None else schema.version_key(fact_no, after)
    for key, stored in txn.scan(Table.FACTS, schema.revision_key(fact_no), after=begin):
        yield schema.split_version_key(key)[1], unpack(Table.FACTS, key, stored, FactRecord)


def version(txn: Transaction, fact_no: int, birth: int) -> FactRecord | None:
    """One version, None when there is no such."""
    key = schema.version_key(fact_no, birth)
    stored = txn.get(Table.FACTS, key)
    return None if stored is None else unpack(Table.FACTS, key, stored, FactRecord)


def birth_after(txn: Transaction, fact_no: int, birth: int) -> int | None:
    """Birth of the version that replaced the one of ``birth``, None for the newest."""
    prefix, after = schema.revision_key(fact_no), schema.version_key(fact_no, birth)
    for key, _ in txn.scan(Table.FACTS, prefix, after=after):
        return schema.split_version_key(key)[1]
    return None


def at(txn: Transaction, fact_no: int, revision: int) -> tuple[int, FactRecord] | None:
    """(birth, record) of the version current at ``revision``."""
    found = txn.last_at_or_before(
        Table.FACTS, schema.version_key(fact_no, revision), schema.revision_key(fact_no)
    )
    if found is None:
        return None
    key, stored = found
    return schema.split_version_key(key)[1], unpack(Table.FACTS, key, stored, FactRecord)


def newest(txn: Transaction, fact_no: int) -> tuple[int, FactRecord] | None:
    """(birth, record) of the newest version."""
    return at(txn, fact_no, (1 << 64) - 1)


def feature(txn: Transaction, space_no: int, fact_no: int, birth: int) -> Array | None:
    """(dim,) text feature of a version, a copy; None when it came without."""
    key = schema.text_key(space_no, schema.FACT, fact_no, 0, birth)
    stored = txn.get(Table.TEXTS, key)
    return None if stored is None else unpack_row(Table.TEXTS, key, stored)[1].copy()


def remove(txn: Transaction, fact_no: int) -> dict[int, FactRecord]:
    """Remove every version, its feature and its key; birth -> record of each."""
    found = list(versions(txn, fact_no))
    for birth, record in found:
        txn.delete(Table.FACTS, schema.version_key(fact_no, birth))
        if record.text_space_no is not None:
            txn.delete(
                Table.TEXTS, schema.text_key(record.text_space_no, schema.FACT, fact_no, 0, birth)
            )
        if record.key is not None:
            txn.delete(Table.FACT_KEYS, record.key.encode())
    return dict(found)


def holds_from(record: FactRecord, committed_ns: int) -> int:
    """Since when a version holds: earlier releases let one whose validity was not said begin when it was written,
    which may be later than the time by which its commit is told.
    """
    if record.valid_from_ns == record.written_ns:
        return min(record.valid_from_ns, committed_ns)
    return record.valid_from_ns


def as_fact(
    record: FactRecord, user: str, id_key: bytes, fact_no: int, birth: int, superseded: int | None
) -> Fact:
    """The value behind a record."""
    return Fact(
        id=make_id(id_key, IdKind.FACT, fact_no),
        user=user,
        text=record.text,
        about=record.about,
        key=record.key,
        valid_from_ns=record.valid_from_ns,
        valid_to_ns=record.valid_to_ns,
        evidence=tuple(make_id(id_key, IdKind.CLIP, no) for no in record.evidence),
        revision=birth,
        written_ns=record.written_ns,
        superseded_revision=superseded,
    )
