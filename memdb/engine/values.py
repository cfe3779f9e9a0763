"""Reading values by key, and the keys."""

from __future__ import annotations

from heapq import nsmallest

from memdb.store import schema
from memdb.store.records import ValueRecord, unpack
from memdb.store.schema import Table
from memdb.store.transaction import Transaction


def value_json(txn: Transaction, key: str, revision: int) -> str | None:
    """The value as of a revision, as JSON text; None when there is none."""
    wanted = schema.value_key(key, revision)
    found = txn.last_at_or_before(Table.VALUES, wanted, wanted[:-8])
    return None if found is None else unpack(Table.VALUES, found[0], found[1], ValueRecord).json


def value_keys(
    txn: Transaction, prefix: str, after: str | None, limit: int, revision: int
) -> list[str]:
    """The first ``limit`` keys that have a value as of a revision, sorted, of those that begin with
    ``prefix`` and come behind ``after``.

    The table has them in an order of its own (by length, or encrypted), so all are looked at.
    """
    found = (schema.split_value_key(key) for key in txn.keys(Table.VALUES))
    wanted = {
        key
        for key, birth in found
        if birth <= revision and key.startswith(prefix) and (after is None or key > after)
    }
    return nsmallest(limit, wanted)
