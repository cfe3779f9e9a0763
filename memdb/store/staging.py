"""What a commit is going to write, made ready while the commit before it is still under way.

Reads see, in this order, what was staged here, what the commits before are writing, and what is
committed.  Nothing reaches the environment until `write_into` puts all of it into a transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from memdb.store.native_commit import ReadyCommit
from memdb.store.schema import META_COUNTERS, Table
from memdb.store.transaction import Transaction

Entries = dict[Table, dict[bytes, bytes | memoryview]]
"""table -> key -> value, in the order of the writes to each table."""


class NotStaged(Exception):
    """A read that only a transaction of its own can answer rightly."""


class Staged(Transaction):
    """A read transaction that takes writes."""

    __slots__ = ("_layers", "entries")

    def __init__(self, txn: Transaction, below: Sequence[Entries], entries: Entries) -> None:
        """below: what the commits before are writing, the newest first; entries: what was staged, added to."""
        super().__init__(txn._txn, txn._handles, txn._cipher)
        self._layers = (entries, *below)
        self.entries = entries

    def get(self, table: Table, key: bytes) -> memoryview | None:
        for entries in self._layers:
            staged = entries.get(table)
            if staged is not None and key in staged:
                return memoryview(staged[key])
        return Transaction.get(self, table, key)

    def put(
        self, table: Table, key: bytes, value: bytes | memoryview, *, append: bool = False
    ) -> None:
        staged = self.entries.get(table)
        if staged is None:
            staged = self.entries[table] = {}
        staged[key] = value

    def put_all(
        self,
        table: Table,
        entries: Mapping[bytes, bytes | memoryview],
        *,
        append: bool = False,
    ) -> None:
        staged = self.entries.get(table)
        if staged is None:
            staged = self.entries[table] = {}
        staged.update(entries)

    def has_any(self, table: Table, keys: Sequence[bytes]) -> bool:
        for entries in self._layers:
            staged = entries.get(table)
            if staged is not None and not staged.keys().isdisjoint(keys):
                return True
        return super().has_any(table, keys)

    def holds(self, table: Table, key: bytes) -> bool:
        return self.has_any(table, (key,))

    def scan(
        self, table: Table, prefix: bytes = b"", *, after: bytes = b""
    ) -> Iterator[tuple[bytes, memoryview]]:
        for entries in self._layers:
            if any(key.startswith(prefix) for key in entries.get(table, ())):
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
    """Put everything that was staged into a write transaction, table by table."""
    for table, staged in entries.items():
        # A commit has one record there, the newest.
        txn.put_all(table, staged, append=table is Table.LOG)


def ready_commit(entries: Entries, counters: bytes) -> ReadyCommit:
    """What `write_into` puts, to be committed at once where the counters of the newest commit are these."""
    tables = [
        (table.value.encode(), staged, table is Table.LOG) for table, staged in entries.items()
    ]
    return ReadyCommit((Table.META.value.encode(), META_COUNTERS, counters), tables)
