"""One transaction: the tables of an environment by key, in the clear whether it is encrypted or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from operator import lt
from typing import TYPE_CHECKING, Any, Final

import lmdb

from memdb.errors import DataLoss, Internal
from memdb.store.schema import Table

if TYPE_CHECKING:
    # It needs a library that is there only where something is encrypted.
    from memdb.store.cipher import Cipher

Handles = dict[Table, Any]
"""The opened named databases; py-lmdb keeps their type private."""

_AROUND_BYTES: Final = 64 << 10
"""What the kernel maps around a page that is looked at."""
BLOCK_ENTRIES: Final = 512
"""Entries of a `Transaction.blocks` at most: enough that what is paid for each block is little, fewer than what sets
off Python's collector."""
_NAMES: Final = frozenset(table.value.encode() for table in Table)
BLOCK_BYTES: Final = 4 << 20
"""Of values that are decrypted together; one that is larger is a block of its own."""


class Transaction:
    """One LMDB transaction with the tables of its environment.

    Where the environment has a cipher, callers see plain keys and values all the same; every read
    may then raise `DataLoss` (``CHECKSUM``, ``TRUNCATED``) naming table and key.
    """

    __slots__ = ("_cipher", "_handles", "_txn", "touched")

    def __init__(
        self, txn: lmdb.Transaction, handles: Handles, cipher: Cipher | None = None
    ) -> None:
        self._txn = txn
        self._handles = handles
        self._cipher = cipher
        self.touched = 0
        """Bytes of the file that reads may have brought into this process's memory."""

    def abort(self) -> None:
        """End it; what it lent is valid no more."""
        self._txn.abort()

    def get(self, table: Table, key: bytes) -> memoryview | None:
        """The stored bytes, valid until the transaction ends."""
        cipher = self._cipher
        hidden = key if cipher is None else cipher.hide(table, key)
        stored: memoryview | None = self._txn.get(hidden, db=self._handles[table])  # type: ignore[assignment]  # buffers=True
        if stored is None:
            return None
        self.touched += _AROUND_BYTES + len(stored)
        return stored if cipher is None else cipher.open(table, key, stored)

    def put(
        self, table: Table, key: bytes, value: bytes | memoryview, *, append: bool = False
    ) -> None:
        """Store; ``append`` is for keys greater than every other of the table."""
        if self._cipher is not None:
            value = self._cipher.seal(table, key, value)
            key = self._cipher.hide(table, key)
        if not self._txn.put(key, value, db=self._handles[table], append=append):
            # LMDB says so and goes on; the record would silently not be there.
            raise _not_after_the_last()

    def put_all(
        self,
        table: Table,
        entries: Mapping[bytes, bytes | memoryview],
        *,
        append: bool = False,
    ) -> None:
        """`put` of some entries, in their order, in one call of LMDB's binding."""
        if len(entries) == 1:  # which needs no cursor
            for key, value in entries.items():
                self.put(table, key, value, append=append)
            return
        cipher = self._cipher
        items: Iterable[tuple[bytes, bytes | memoryview]] = entries.items()
        if cipher is not None:
            # One by one: the encrypted values of a commit together are as large as all that it stores.
            items = (
                (cipher.hide(table, key), cipher.seal(table, key, value)) for key, value in items
            )
        with self._txn.cursor(self._handles[table]) as cursor:
            _, added = cursor.putmulti(items, append=append)
        if added != len(entries):
            raise _not_after_the_last()

    def delete(self, table: Table, key: bytes) -> bool:
        """Remove; whether there was something."""
        if self._cipher is not None:
            key = self._cipher.hide(table, key)
        return bool(self._txn.delete(key, db=self._handles[table]))

    def clear(self, table: Table) -> None:
        """Remove every entry of the table."""
        self._txn.drop(self._handles[table], delete=False)

    def has_unknown_tables(self) -> bool:
        """Whether there are tables that a newer release made, which only adds: of those nothing is known here."""
        with self._txn.cursor() as names:
            found = names.iternext(keys=True, values=False)
            return any(bytes(name) not in _NAMES for name in found)

    def count(self, table: Table) -> int:
        """Entries of the table."""
        return int(self._txn.stat(self._handles[table])["entries"])

    def scan(
        self, table: Table, prefix: bytes = b"", *, after: bytes = b""
    ) -> Iterator[tuple[bytes, memoryview]]:
        """Entries whose key begins with ``prefix`` and is greater than ``after``, in key order; keys
        are copies, values views.

        With a cipher, tables whose keys are names come in an order of their own.  What it cannot decrypt
        comes as nothing, which no value is, under the key as it is stored where that is damaged too.

        Raises `DataLoss` (``KEY_ORDER``) when they come in another order: pages were mixed up, and
        some entries are hidden behind others told twice.
        """
        cipher = self._cipher
        if cipher is not None:
            prefix = cipher.hide_prefix(table, prefix)
            after = cipher.hide(table, after) if after else b""
        with self._txn.cursor(self._handles[table]) as cursor:
            begin = max(prefix, after)
            found = cursor.set_range(begin) if begin else cursor.first()
            if found and after and bytes(cursor.key()) == after:
                found = cursor.next()
            if not found:
                return
            self.touched += _AROUND_BYTES
            last: bytes | None = None
            for key, value in cursor.iternext(keys=True, values=True):
                copied = bytes(key)
                if last is not None and copied <= last:
                    raise DataLoss(
                        "keys are out of order", reason="KEY_ORDER", field=table.value, value=copied
                    )
                last = copied
                if not copied.startswith(prefix):
                    return
                self.touched += len(value)
                if cipher is None:
                    yield copied, value  # type: ignore[misc]  # buffers=True
                else:
                    yield cipher.entry(table, copied, value)

    def blocks(
        self, table: Table, prefix: bytes = b""
    ) -> Iterator[tuple[list[bytes], list[memoryview]]]:
        """`scan`, some at a time: the keys of a block and their values.

        Whoever opens a user looks at each of its entries: one by one that is a fifth of the opening.
        """
        cipher = self._cipher
        if cipher is not None:
            prefix = cipher.hide_prefix(table, prefix)
        with self._txn.cursor(self._handles[table]) as cursor:
            if not (cursor.set_range(prefix) if prefix else cursor.first()):
                return
            entries = iter(cursor.iternext(keys=True, values=True))
            last: list[bytes] = []
            while True:
                keys: list[bytes] = []
                values: list[memoryview] = []
                self.touched += _AROUND_BYTES
                for key, value in islice(entries, BLOCK_ENTRIES):
                    keys.append(bytes(key))
                    values.append(value)  # type: ignore[arg-type]  # buffers=True
                if not keys:
                    return
                self.touched += sum(map(len, values))
                _check_order(table, last + keys)
                last = keys[-1:]
                ends = not last[0].startswith(prefix)
                if ends:
                    # They are in order: those that begin with it come first.
                    count = sum(key.startswith(prefix) for key in keys)
                    del keys[count:], values[count:]
                if cipher is None:
                    if keys:
                        yield keys, values
                else:
                    # Copies, and not views of the file as the others are.
                    for begin, end in _pieces(values):
                        shown = [
                            cipher.entry(table, *entry)
                            for entry in zip(keys[begin:end], values[begin:end], strict=True)
                        ]
                        yield [key for key, _ in shown], [value for _, value in shown]
                if ends:
                    return

    def holds(self, table: Table, key: bytes) -> bool:
        """Whether there is an entry, whatever its value is."""
        hidden = key if self._cipher is None else self._cipher.hide(table, key)
        return self._txn.get(hidden, db=self._handles[table]) is not None

    def has_any(self, table: Table, keys: Sequence[bytes]) -> bool:
        """Whether there is an entry of some keys, which ascend, whatever its value is."""
        if len(keys) > 1 and self._cipher is None:
            # One look where all of them lie behind the last of the table, or between two that are there.
            with self._txn.cursor(self._handles[table]) as cursor:
                if not cursor.set_range(keys[0]) or bytes(cursor.key()) > keys[-1]:
                    return False
        return any(Transaction.holds(self, table, key) for key in keys)

    def keys(self, table: Table, prefix: bytes = b"") -> Iterator[bytes]:
        """Keys that begin with ``prefix``, in key order, whatever their values are."""
        cipher = self._cipher
        if cipher is not None:
            prefix = cipher.hide_prefix(table, prefix)
        with self._txn.cursor(self._handles[table]) as cursor:
            if not (cursor.set_range(prefix) if prefix else cursor.first()):
                return
            for key in cursor.iternext(keys=True, values=False):
                copied = bytes(key)
                if not copied.startswith(prefix):
                    return
                yield copied if cipher is None else cipher.show(table, copied)

    def newest_versions(self, table: Table, birth: bytes) -> Iterator[bytes]:
        """Of a table whose keys end with the revision of a version: the key of the newest version born at or before
        ``birth`` of each name, in the order of the table, whatever their values are.

        Versions between are passed over: a name costs the same whether it has one or a million.  Raises
        `DataLoss` (``KEY_ORDER``) as `scan`.
        """
        cipher, tail = self._cipher, len(birth)
        with self._txn.cursor(self._handles[table]) as cursor:
            found = cursor.first()
            self.touched += _AROUND_BYTES
            last = b""
            while found:
                stored = bytes(cursor.key())
                if last and stored <= last:
                    raise DataLoss(
                        "keys are out of order", reason="KEY_ORDER", field=table.value, value=stored
                    )
                name = last = stored[:-tail]
                newest = stored if stored[-tail:] <= birth else None
                found = cursor.next()
                if found and bytes(cursor.key())[:-tail] == name:
                    if newest is not None:
                        newest = self._at_or_before(cursor, name + birth, newest)
                    last = name + b"\xff" * tail
                    found = cursor.set_range(last)
                    if found and bytes(cursor.key()) == last:
                        found = cursor.next()
                if newest is not None:
                    yield newest if cipher is None else cipher.show(table, newest)

    def _at_or_before(self, cursor: lmdb.Cursor, key: bytes, known: bytes) -> bytes:
        """The greatest stored key <= ``key``, of which ``known`` is one."""
        if cursor.set_range(key):
            if bytes(cursor.key()) == key:
                return key
            cursor.prev()
        else:
            cursor.last()
        return max(known, bytes(cursor.key()))

    def last_at_or_before(
        self, table: Table, key: bytes, prefix: bytes
    ) -> tuple[bytes, memoryview] | None:
        """The entry with the greatest key <= ``key`` that begins with ``prefix``; where keys are names
        the prefix is the whole name.
        """
        cipher = self._cipher
        if cipher is not None:
            key, prefix = cipher.hide(table, key), cipher.hide_prefix(table, prefix)
        with self._txn.cursor(self._handles[table]) as cursor:
            if cursor.set_range(key):
                if bytes(cursor.key()) != key and not cursor.prev():
                    return None
            elif not cursor.last():
                return None
            found = bytes(cursor.key())
            if not found.startswith(prefix):
                return None
            value = memoryview(cursor.value())
            self.touched += _AROUND_BYTES + len(value)
            if cipher is None:
                return found, value
            shown = cipher.show(table, found)
            return shown, cipher.open(table, shown, value)


def _not_after_the_last() -> Internal:
    return Internal("a key is not after the last of its table", reason="KEY_ORDER")


def _pieces(values: list[memoryview]) -> Iterator[tuple[int, int]]:
    """Stretches [begin, end) of some values, of `BLOCK_BYTES` at most or one value each."""
    begin = size = 0
    for place, value in enumerate(values):
        size += len(value)
        if size > BLOCK_BYTES and place > begin:
            yield begin, place
            begin, size = place, len(value)
    if begin < len(values):
        yield begin, len(values)


def _check_order(table: Table, keys: list[bytes]) -> None:
    """Raise `DataLoss` (``KEY_ORDER``) unless each is greater than the one before."""
    if all(map(lt, keys, islice(keys, 1, None))):
        return
    wrong = next(after for before, after in pairwise(keys) if after <= before)
    raise DataLoss("keys are out of order", reason="KEY_ORDER", field=table.value, value=wrong)
