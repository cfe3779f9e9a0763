"""The record of a stream got a time zone: earlier records are read, and earlier readers read ours."""

from __future__ import annotations

import msgspec

from memdb.store.envelope import Kind, seal
from memdb.store.records import Record, StreamRecord, encode_record, pack, unpack
from memdb.store.schema import Table, number_key

KEY = number_key(7)


class FormerStreamRecord(Record, frozen=True):
    """As it was written by the first release of format 1."""

    name: str
    space_no: int
    revision: int


def test_a_record_without_a_zone_is_of_utc() -> None:
    former = seal(KEY, encode_record(FormerStreamRecord("door", 3, 5)), Kind.RECORD)

    assert unpack(Table.STREAMS, KEY, former, StreamRecord) == StreamRecord("door", 3, 5, "UTC")


def test_an_earlier_reader_reads_the_rest() -> None:
    ours = encode_record(StreamRecord("door", 3, 5, "Europe/Berlin"))

    former = msgspec.msgpack.decode(ours, type=FormerStreamRecord)

    assert former == FormerStreamRecord("door", 3, 5)


def test_a_zone_is_kept() -> None:
    record = StreamRecord("door", 3, 5, "Europe/Berlin")

    assert unpack(Table.STREAMS, KEY, pack(KEY, record), StreamRecord) == record
