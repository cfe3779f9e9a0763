"""Reading values by key, and the keys."""

from __future__ import annotations

from heapq import nsmallest

from memdb.errors import DataLoss
from memdb.store import schema
from memdb.store.envelope import Kind, unseal
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

    The table has them in an order of its own (by length, or encrypted), so all are looked at.  A key is told once
    its value's checksum, which covers it, has matched: raises `DataLoss` as `unpack`.
    """
    last_birth = schema.revision_key(revision)
    stored = txn.newest_versions(Table.VALUES, last_birth)
    named = ((schema.split_value_key(key)[0], key) for key in stored)
    found = nsmallest(
        limit,
        (one for one in named if one[0].startswith(prefix) and (after is None or one[0] > after)),
    )
    for _, key in found:
        value = txn.get(Table.VALUES, key)
        if value is None:
            raise DataLoss("a value is missing", reason="MISSING", field=f"values/{key.hex()}")
        unseal(Table.VALUES, key, value, Kind.RECORD)
    return [name for name, _ in found]
