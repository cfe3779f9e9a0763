"""Applying the removal of a value."""

from __future__ import annotations

from memdb.engine.applied import Applied
from memdb.errors import NotFound
from memdb.store import schema
from memdb.store.records import LogEntry
from memdb.store.schema import Table
from memdb.store.transaction import Transaction


def remove_value(txn: Transaction, applied: Applied, name: str) -> int:
    """Remove every version of a value; raises `NotFound` (``VALUE_NOT_FOUND``)."""
    found = list(txn.keys(Table.VALUES, schema.value_prefix(name)))
    if not found:
        raise NotFound("no such value", reason="VALUE_NOT_FOUND", field="key", value=name)
    for key in found:
        txn.delete(Table.VALUES, key)
    applied.entries.append(LogEntry("remove-value", name=name))
    return applied.draft.revision
