"""What a commit is going to write, made ready while the commit before it is still under way.

Reads see, in this order, what was staged here, what the commit before is writing, and what is
committed.  Nothing reaches the environment until `write_into` puts all of it into a transaction.
"""

from __future__ import annotations

from collections.abc import Iterator

from memdb.store.schema import Table
from memdb.store.transaction import Transaction

Entries = dict[tuple[Table, bytes], tuple[bytes | memoryview, bool]]
"""(table, key) -> (value, whether it is appended), in the order of the writes."""


class NotStaged(Exception):
    """A read that only a transaction of its own can answer rightly."""


class Staged(Transaction):
    """A read transaction that takes writes."""

    __slots__ = ("_below", "entries")

    def __init__(self, txn: Transaction, below: Entries, entries: Entries) -> None:
        """below: what the commit before is writing; entries: what was staged, added to."""
        super().__init__(txn._txn, txn._handles, txn._cipher)
        self._below = below
        self.entries = entries

    def get(self, table: Table, key: bytes) -> memoryview | None:
        for entries in (self.entries, self._below):
            found = entries.get((table, key))
            if found is not None:
                return memoryview(found[0])
        return super().get(table, key)

    def put(
        self, table: Table, key: bytes, value: bytes | memoryview, *, append: bool = False
    ) -> None:
        self.entries[table, key] = value, append

    def scan(
        self, table: Table, prefix: bytes = b"", *, after: bytes = b""
    ) -> Iterator[tuple[bytes, memoryview]]:
        for entries in (self.entries, self._below):
            if any(found is table and key.startswith(prefix) for found, key in entries):
                raise NotStaged
        return super().scan(table, prefix, after=after)

    def delete(self, table: Table, key: bytes) -> bool:
        raise NotStaged

    def clear(self, table: Table) -> None:
        raise NotStaged

    def count(self, table: Table) -> int:
        raise NotStaged

    def last_at_or_before(
        self, table: Table, key: bytes, prefix: bytes
    ) -> tuple[bytes, memoryview] | None:
        raise NotStaged


def write_into(txn: Transaction, entries: Entries) -> None:
    """Put everything that was staged into a write transaction."""
    put = txn.put
    for (table, key), (value, append) in entries.items():
        put(table, key, value, append=append)
