"""Bringing what an earlier release wrote to the format of this one.

A user says in its own record which format it has.  One of an older format is read as it is, and made new in the
transaction of its first commit (`renew`), or entry by entry where the directory is made anew (`renewed`,
`memdb.store.upgrade`).  A release that does not know the format refuses the user from then on.

Format 2: table ``pyramid`` is empty, since its sums are made of the clips when they are asked for.  In format 1
each commit that sealed a clip wrote two of them, 8 bytes a dimension each: of a user with few clips an hour
two thirds of the file.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from memdb.store.records import UserRecord, pack, unpack
from memdb.store.schema import FORMAT, META_USER, Table
from memdb.store.transaction import Transaction


def renew(txn: Transaction) -> None:
    """Make the user of a write transaction one of this format; raises `DataLoss`."""
    stored = txn.get(Table.META, META_USER)
    assert stored is not None, "an open user has a record"
    record = unpack(Table.META, META_USER, stored, UserRecord)
    if record.format < FORMAT:
        txn.clear(Table.PYRAMID)
        txn.put(Table.META, META_USER, _of_this_format(record))


def renewed(
    table: Table, key: bytes, value: bytes | memoryview
) -> Iterator[tuple[Table, bytes, bytes | memoryview]]:
    """What becomes of an entry, in clear; raises `DataLoss`."""
    if table is Table.PYRAMID:
        return
    if table is Table.META and key == META_USER:
        record = unpack(table, key, value, UserRecord)
        yield table, key, value if record.format >= FORMAT else _of_this_format(record)
        return
    yield table, key, value


def _of_this_format(record: UserRecord) -> bytes:
    return pack(META_USER, msgspec.structs.replace(record, format=FORMAT))
