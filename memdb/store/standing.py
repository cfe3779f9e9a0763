"""Standing questions in a transaction: under keys of their own in table ``meta``, which readers of the
same format that know nothing of them leave alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from memdb.errors import DataLoss
from memdb.store import schema, standing_names
from memdb.store.records import StandingCountRecord, StandingRecord, pack, unpack
from memdb.store.schema import META_QUESTIONS, META_STANDING, Table
from memdb.store.transaction import Transaction
from memdb.types.arrays import Array

DTYPES: Final = ("<f2", "<f4")


def counted(txn: Transaction) -> StandingCountRecord:
    """How many there are, and which number is next."""
    stored = txn.get(Table.META, META_STANDING)
    if stored is None:
        return StandingCountRecord()
    return unpack(Table.META, META_STANDING, stored, StandingCountRecord)


def put_counted(txn: Transaction, counts: StandingCountRecord) -> None:
    """Store what `counted` gives."""
    txn.put(Table.META, META_STANDING, pack(META_STANDING, counts))


def get(txn: Transaction, no: int) -> StandingRecord | None:
    """One question; raises `DataLoss`."""
    key = schema.standing_key(no)
    stored = txn.get(Table.META, key)
    return None if stored is None else unpack(Table.META, key, stored, StandingRecord)


def put(txn: Transaction, no: int, record: StandingRecord) -> None:
    """Store a question, or write over it."""
    key = schema.standing_key(no)
    txn.put(Table.META, key, pack(key, record))


def remove(txn: Transaction, no: int) -> bool:
    """Remove a question; whether it was there."""
    return txn.delete(Table.META, schema.standing_key(no))


def every(txn: Transaction) -> Iterator[tuple[int, StandingRecord]]:
    """(number, record) of all of them, oldest first.

    Raises `DataLoss`: where one is damaged, and at the end (``MISSING``) where one is hidden.
    """
    found = 0
    for key, stored in txn.scan(Table.META, META_QUESTIONS):
        yield schema.split_standing_key(key), unpack(Table.META, key, stored, StandingRecord)
        found += 1
    wanted = counted(txn).count
    if found != wanted:
        raise DataLoss(
            f"{wanted} standing questions expected", reason="MISSING", field="meta", value=found
        )


def damage(txn: Transaction) -> list[tuple[str, str]]:
    """(where, what) is wrong with any of them."""
    found: list[tuple[str, str]] = []
    named: set[int] = set()
    count = 0
    for key, stored in txn.scan(Table.META, META_QUESTIONS):
        count += 1
        try:
            no = schema.split_standing_key(key)
            record = unpack(Table.META, key, stored, StandingRecord)
            if record.name:
                named.add(no)
            feature(record)
            if record.then_feature is not None:
                feature(record, then=True)
        except DataLoss as error:
            found.append((f"{Table.META.value}/{key.hex()}", str(error)))
    wanted = counted(txn).count
    if count != wanted:
        where = f"{Table.META.value}/{META_STANDING.hex()}"
        found.append((where, f"{wanted} standing questions expected, {count} found"))
    # Of a question that is damaged nobody can tell whether it has a name.
    return found or standing_names.damage(txn, named)


def check(txn: Transaction) -> None:
    """Raise `DataLoss` where one of them is damaged or hidden."""
    for where, what in damage(txn):
        raise DataLoss(what, reason="BAD_RECORD", field=where)


def of_stream(txn: Transaction, stream_no: int) -> list[tuple[int, StandingRecord]]:
    """Those that name a stream; damaged ones are passed over."""
    found: list[tuple[int, StandingRecord]] = []
    for key, stored in txn.scan(Table.META, META_QUESTIONS):
        try:
            record = unpack(Table.META, key, stored, StandingRecord)
            no = schema.split_standing_key(key)
        except DataLoss:
            continue  # told by whoever opens the user; a stream must be removable all the same
        if record.stream_nos is not None and stream_no in record.stream_nos:
            found.append((no, record))
    return found


def feature(record: StandingRecord, *, then: bool = False) -> Array:
    """(dim,) of a question, or of what follows it; raises `DataLoss` (``BAD_RECORD``)."""
    raw = record.then_feature if then else record.feature
    dtype = record.then_dtype if then else record.dtype
    if raw is None or dtype not in DTYPES or len(raw) % np.dtype(dtype).itemsize:
        raise DataLoss("a question has no such feature", reason="BAD_RECORD", field="meta")
    return np.frombuffer(raw, dtype)
