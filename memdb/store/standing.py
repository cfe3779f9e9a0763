"""Standing questions in a transaction: under keys of their own in table ``meta``, which readers of the
same format that know nothing of them leave alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np

from memdb.errors import DataLoss
from memdb.store import schema, standing_names
from memdb.store.records import (
    ClipFilterRecord,
    StandingCountRecord,
    StandingRecord,
    pack,
    unpack,
)
from memdb.store.schema import META_QUESTIONS, META_STANDING, Table
from memdb.store.transaction import Transaction
from memdb.types.arrays import Array
from memdb.types.calendar import Calendar
from memdb.types.clip_filter import EVERY_CLIP, ClipFilter
from memdb.types.label_filter import Not, values_of

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
    return None if stored is None else _read(key, stored)


def put(txn: Transaction, no: int, record: StandingRecord) -> None:
    """Store a question, or write over it."""
    key = schema.standing_key(no)
    if record.only is not None:
        # Told from the filter alone: see `StandingRecord.min_score`.
        record = msgspec.structs.replace(record, min_score=math.inf, min_relevance=None)
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
        yield schema.split_standing_key(key), _read(key, stored)
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
            record = _read(key, stored)
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
            record = _read(key, stored)
            no = schema.split_standing_key(key)
        except DataLoss:
            continue  # told by whoever opens the user; a stream must be removable all the same
        if record.stream_nos is not None and stream_no in record.stream_nos:
            found.append((no, record))
    return found


def filter_record(
    only: ClipFilter, min_score: float, min_relevance: float | None
) -> ClipFilterRecord | None:
    """What `StandingRecord.only` is of a question that needs so much of the clips that a filter admits."""
    if only.is_empty:
        return None
    calendar = only.calendar or Calendar()
    labels = tuple((key, values_of(values), isinstance(values, Not)) for key, values in only.labels)
    return ClipFilterRecord(
        labels, calendar.hours, calendar.weekdays, calendar.zone, min_score, min_relevance
    )


def clip_filter(record: StandingRecord) -> ClipFilter:
    """Which clips a question looks at."""
    only = record.only
    if only is None:
        return EVERY_CLIP
    calendar = None
    if only.hours or only.weekdays:
        calendar = Calendar(only.hours, only.weekdays, only.zone)
    labels = tuple((key, Not(*values) if no else values) for key, values, no in only.labels)
    return ClipFilter(labels, calendar)


def _read(key: bytes, stored: bytes | memoryview) -> StandingRecord:
    """A question as it was put; raises `DataLoss`."""
    record = unpack(Table.META, key, stored, StandingRecord)
    if record.only is None:
        return record
    return msgspec.structs.replace(
        record, min_score=record.only.min_score, min_relevance=record.only.min_relevance
    )


def feature(record: StandingRecord, *, then: bool = False) -> Array:
    """(dim,) of a question, or of what follows it; raises `DataLoss` (``BAD_RECORD``)."""
    raw = record.then_feature if then else record.feature
    dtype = record.then_dtype if then else record.dtype
    if raw is None or dtype not in DTYPES or len(raw) % np.dtype(dtype).itemsize:
        raise DataLoss("a question has no such feature", reason="BAD_RECORD", field="meta")
    return np.frombuffer(raw, dtype)
