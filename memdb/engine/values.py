"""Reading values by key."""

from __future__ import annotations

from memdb.store import schema
from memdb.store.records import ValueRecord, unpack
from memdb.store.schema import Table
from memdb.store.transaction import Transaction


def value_json(txn: Transaction, key: str, revision: int) -> str | None:
    """The value as of a revision, as JSON text; None when there is none."""
    wanted = schema.value_key(key, revision)
    found = txn.last_at_or_before(Table.VALUES, wanted, wanted[:-8])
    return None if found is None else unpack(Table.VALUES, found[0], found[1], ValueRecord).json
