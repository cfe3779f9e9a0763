"""What changed in a user's environment between two revisions: found by the log, written as a file of
puts and deletes, applied to a copy.

The log names by number what each commit wrote, and versions are keyed by the commit, so the cost is
that of the changes.  Values are copied as they are stored.  Tables that the log does not lead into
(small ones: counters, spaces, streams, keys of facts, snapshots, sums) are copied whole.

Nothing is taken for granted: a log entry of a kind that is not known here, or a table whose number of
entries is not what its puts explain, gives no delta, and the user is copied in full.

A delta file::

    offset  size  field
         0     8  magic      b"mdbdelta"
         8     4  version    u32, 1
        12     8  from       u64, revision it is applied to
        20     8  to         u64, revision it leads to
        28     -  frames

A frame::

    offset  size  field
         0     1  action     1 put, 2 delete every key with this prefix, 3 end
         1     1  table      u8, bytes of the table's name
         2     2  key        u16, bytes of the key
         4     4  value      u32, bytes of the value
         8     -  name, key, value

Integers are little-endian.  ``end`` is the last frame; its key is the number of frames before it, u64.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from memdb.errors import DataLoss
from memdb.store import schema
from memdb.store.records import (
    ClipRecord,
    CountersRecord,
    FactRecord,
    LogEntry,
    LogRecord,
    unpack,
)
from memdb.store.schema import USER_TABLES, Table
from memdb.store.transaction import Transaction

_MAGIC: Final = b"mdbdelta"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sIQQ")
_FRAME: Final = struct.Struct("<BBHI")
_COUNT: Final = struct.Struct("<Q")
_ROOM_BYTES: Final = 1 << 20
"""After which it is asked anew whether the disk has room."""
_PUT: Final = 1
_DELETE: Final = 2
_END: Final = 3

_BY_LOG: Final = frozenset(
    {
        Table.LOG,
        Table.LEDGER,
        Table.CLIPS,
        Table.VECTORS,
        Table.SHORT_MEMORY,
        Table.KEYFRAMES,
        Table.TEXTS,
        Table.FACTS,
        Table.VALUES,
    }
)
"""Tables that the log leads into; all others are copied whole."""
_KINDS: Final = frozenset(
    {
        "clip",
        "fact",
        "forget",
        "retention",
        "stream",
        "sweep",
        "value",
        "remove-value",
        "snapshot",
        "release",
        "settings",
        "standing",
        "remove-standing",
    }
)
"""Kinds of log entries whose effects are known here."""
_TABLES: Final = {table.value: table for table in USER_TABLES}


@dataclass(frozen=True, slots=True)
class Base:
    """What the delta is made against."""

    revision: int
    next_clip_no: int
    entries: dict[str, int]
    """Of each table."""


@dataclass(frozen=True, slots=True)
class Put:
    """Store a value under a key."""

    table: Table
    key: bytes
    value: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove every entry whose key begins with ``prefix``."""

    table: Table
    prefix: bytes


class NeedsFull(Exception):
    """No delta tells what changed."""


def changed(txn: Transaction, base: Base, revision: int) -> Iterator[Put | Delete]:
    """Everything that leads from ``base`` to ``revision``, the transaction's; values are valid until
    the next one.

    Raises `NeedsFull`, at the latest at the end, and `DataLoss` for a record that is damaged.
    """
    puts: Counter[Table] = Counter()
    unexplained: set[Table] = set()
    for change in _changed(txn, base, revision):
        if isinstance(change, Delete):
            unexplained.add(change.table)
        elif change.table is not Table.LEDGER:
            puts[change.table] += 1
        yield change
    for table in _BY_LOG - unexplained:
        expected = base.entries.get(table.value, 0) + puts[table]
        if table is Table.LEDGER:
            # A row is written over by its clip's next version.
            expected = _ledger_rows(txn, base)
        if txn.count(table) != expected:
            raise NeedsFull(f"{table.value} has {txn.count(table)} entries, not {expected}")


def _ledger_rows(txn: Transaction, base: Base) -> int:
    counters = schema.META_COUNTERS
    stored = txn.get(Table.META, counters)
    if stored is None:
        raise NeedsFull("no counters")
    new = unpack(Table.META, counters, stored, CountersRecord).next_clip_no - base.next_clip_no
    return base.entries.get(Table.LEDGER.value, 0) + new


def _changed(txn: Transaction, base: Base, revision: int) -> Iterator[Put | Delete]:
    for table in USER_TABLES:
        if table not in _BY_LOG:
            yield Delete(table, b"")
            yield from (Put(table, key, value) for key, value in raw_scan(txn, table))
    for birth in range(base.revision + 1, revision + 1):
        key = schema.revision_key(birth)
        stored = txn.get(Table.LOG, key)
        if stored is None:
            raise NeedsFull(f"log record {birth} is not there")
        record = unpack(Table.LOG, key, stored, LogRecord)
        yield _raw(txn, Table.LOG, key)
        for entry in record.entries:
            yield from _entry(txn, entry, birth)


def _entry(txn: Transaction, entry: LogEntry, birth: int) -> Iterator[Put | Delete]:
    if entry.kind not in _KINDS:
        raise NeedsFull(f"the log has an entry of kind {entry.kind!r}")
    if entry.kind == "clip":
        yield from _clip(txn, entry.no, birth)
    elif entry.kind == "fact":
        yield from _fact(txn, entry.no, birth)
    elif entry.kind == "value":
        key = schema.value_key(entry.name, birth)
        if txn.holds(Table.VALUES, key):  # else removed since; a later entry says so
            yield _raw(txn, Table.VALUES, key)
    elif entry.kind == "remove-value":
        prefix = schema.value_prefix(entry.name)
        if txn._cipher is not None:
            prefix = txn._cipher.hide_prefix(Table.VALUES, prefix)
        yield Delete(Table.VALUES, prefix)
    elif entry.kind == "forget":
        yield Delete(Table.FACTS, schema.revision_key(entry.no))
        for space, _ in txn.scan(Table.SPACES):
            first = schema.text_key(int.from_bytes(space, "big"), schema.FACT, entry.no, 0, 0)
            yield Delete(Table.TEXTS, first[:-12])


def _clip(txn: Transaction, clip_no: int, birth: int) -> Iterator[Put]:
    key = schema.version_key(clip_no, birth)
    stored = txn.get(Table.CLIPS, key)
    if stored is None:
        raise NeedsFull("a clip of the log is not there")
    record = unpack(Table.CLIPS, key, stored, ClipRecord)
    yield _raw(txn, Table.CLIPS, key)
    yield _raw(txn, Table.VECTORS, schema.vector_key(record.space_no, clip_no, birth))
    yield _raw(txn, Table.LEDGER, schema.ledger_key(record.stream_no, record.epoch, record.seq))
    if record.short_memory is not None:
        yield _raw(txn, Table.SHORT_MEMORY, key)
    for index in range(record.keyframes):
        yield _raw(txn, Table.KEYFRAMES, schema.keyframe_key(clip_no, birth, index))
    if record.text_space_no is not None:
        for index in range(len(record.transcript)):
            text = schema.text_key(record.text_space_no, schema.UTTERANCE, clip_no, index, birth)
            yield _raw(txn, Table.TEXTS, text)


def _fact(txn: Transaction, fact_no: int, birth: int) -> Iterator[Put]:
    key = schema.version_key(fact_no, birth)
    stored = txn.get(Table.FACTS, key)
    if stored is None:
        return  # forgotten since; a later entry says so
    record = unpack(Table.FACTS, key, stored, FactRecord)
    yield _raw(txn, Table.FACTS, key)
    if record.text_space_no is not None:
        text = schema.text_key(record.text_space_no, schema.FACT, fact_no, 0, birth)
        yield _raw(txn, Table.TEXTS, text)


def _raw(txn: Transaction, table: Table, key: bytes) -> Put:
    """An entry as LMDB has it, whatever the transaction makes of keys and values."""
    if txn._cipher is not None:
        key = txn._cipher.hide(table, key)
    value = txn._txn.get(key, db=txn._handles[table])
    if value is None:
        raise NeedsFull(f"{table.value}/{key.hex()} is not there")
    return Put(table, key, value)


def raw_scan(txn: Transaction, table: Table) -> Iterator[tuple[bytes, memoryview]]:
    """Every entry of a table as LMDB has it."""
    with txn._txn.cursor(txn._handles[table]) as cursor:
        for key, value in cursor.iternext(keys=True, values=True):
            yield bytes(key), value  # type: ignore[misc]  # buffers=True


def write_delta(
    path: Path,
    changes: Iterable[Put | Delete],
    base_revision: int,
    revision: int,
    check_room: Callable[[int], None],
) -> None:
    """Write a delta file; what `changed` and ``check_room`` raise leaves half a file behind.

    check_room: refuses so many bytes where they would take what has to stay free of the disk; asked
    as the file grows, since how much will change is not known before.
    """
    frames = unchecked = 0
    check_room(0)
    with path.open("xb") as file:
        file.write(_HEADER.pack(_MAGIC, _VERSION, base_revision, revision))
        for change in changes:
            frames += 1
            name = change.table.value.encode()
            if isinstance(change, Put):
                value = change.value
                unchecked += _FRAME.size + len(name) + len(change.key) + len(value)
                if unchecked >= _ROOM_BYTES:
                    file.flush()
                    check_room(unchecked)
                    unchecked = 0
                file.write(_FRAME.pack(_PUT, len(name), len(change.key), len(value)))
                file.write(name + change.key)
                file.write(value)
            else:
                file.write(_FRAME.pack(_DELETE, len(name), len(change.prefix), 0))
                file.write(name + change.prefix)
        file.write(_FRAME.pack(_END, 0, _COUNT.size, 0) + _COUNT.pack(frames))


def read_delta(path: Path, base_revision: int, revision: int) -> Iterator[Put | Delete]:
    """The changes of a delta file; raises `DataLoss` (``BAD_DELTA``) where it is not one of these
    revisions.
    """
    with path.open("rb") as file:
        left = path.stat().st_size

        def take(size: int) -> bytes:
            nonlocal left
            # Asked for before it is allocated: sizes are what the file claims.
            if size > left:
                raise _bad(path)
            left -= size
            return file.read(size)

        if take(_HEADER.size) != _HEADER.pack(_MAGIC, _VERSION, base_revision, revision):
            raise _bad(path)
        frames = 0
        while True:
            action, name_size, key_size, value_size = _FRAME.unpack(take(_FRAME.size))
            name, key, value = take(name_size), take(key_size), take(value_size)
            if action == _END:
                if key != _COUNT.pack(frames) or name or value or left:
                    raise _bad(path)
                return
            frames += 1
            yield _change(path, action, name, key, value)


def _change(path: Path, action: int, name: bytes, key: bytes, value: bytes) -> Put | Delete:
    table = _TABLES.get(name.decode("ascii", "replace"))
    if table is not None and action == _PUT and key:
        return Put(table, key, value)
    if table is not None and action == _DELETE and not value:
        return Delete(table, key)
    raise _bad(path)


def _bad(path: Path) -> DataLoss:
    return DataLoss(
        "not a delta of these revisions",
        reason="BAD_DELTA",
        field=f"{path.parent.name}/{path.name}",
    )
