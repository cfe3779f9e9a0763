"""Checking a user's tables: every envelope, and that the tables agree with each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from memdb import deadline
from memdb.errors import DataLoss
from memdb.store import schema, standing
from memdb.store.clips import check_short_memory
from memdb.store.envelope import Kind, unseal
from memdb.store.opened import opened
from memdb.store.records import ClipRecord, CountersRecord, LedgerRecord, LogRecord, unpack
from memdb.store.schema import META_COUNTERS, USER_TABLES, Table
from memdb.store.transaction import Transaction
from memdb.store.verify_told import untold
from memdb.types.change import Discrepancy

__all__ = [
    "KINDS",
    "UNSEALED",
    "Kind",
    "TableReport",
    "check_counts",
    "check_lookups",
    "check_tables",
    "expect_entries",
]

R = TypeVar("R", bound=msgspec.Struct)

KINDS = {
    Table.VECTORS: Kind.ROW,
    Table.TEXTS: Kind.ROW,
    Table.KEYFRAMES: Kind.BLOB,
}
"""Of the values of each table; records where nothing is said."""

UNSEALED: Final = frozenset({Table.SHORT_MEMORY, Table.PYRAMID})
"""Tables whose entries are not looked at one by one: bare bytes, checked with the clips that describe them; and sums
that nobody reads, of users that an earlier release wrote.
"""


@dataclass(slots=True)
class TableReport:
    """What a check of one user's tables found."""

    user: str
    clips: int = 0
    values: int = 0
    discrepancies: list[Discrepancy] = field(default_factory=list)
    _places: set[str] = field(default_factory=set)

    def note(self, where: str, what: str) -> None:
        """Add a discrepancy."""
        self.discrepancies.append(Discrepancy(self.user, where, what))
        self._places.add(where)

    def places(self) -> frozenset[str]:
        """Where something is wrong."""
        return frozenset(self._places)

    def note_entry(self, table: Table, key: bytes, what: str) -> None:
        """Add one of an entry, which is told once however often it is met."""
        where = f"{table.value}/{key.hex()}"
        if where not in self._places:
            self.note(where, what)


def check_tables(txn: Transaction, user: str) -> TableReport:
    """Check every value and every reference; one read transaction, so one moment.

    Raises `DeadlineExceeded` when nobody waits any more.
    """
    report = TableReport(user)
    for table in USER_TABLES:
        if table in UNSEALED:
            continue
        try:
            _check_envelopes(txn, table, report)
        except DataLoss as error:
            # Of the scan itself: an order or a decryption that fails ends it.
            report.note(error.field or table.value, str(error))
    # What is damaged is passed over: it says nothing of the others.
    for check in (_check_clips, _check_ledger, _check_log, _check_standing, _check_told):
        try:
            check(txn, report)
        except DataLoss as error:
            if error.field not in report.places():
                report.note(error.field or "tables", str(error))
    return report


def _check_standing(txn: Transaction, report: TableReport) -> None:
    for where, what in standing.damage(txn):
        if where not in report.places():
            report.note(where, what)


def _check_told(txn: Transaction, report: TableReport) -> None:
    for where, what in untold(txn):
        if where not in report.places():
            report.note(where, what)


def _read(
    report: TableReport, table: Table, key: bytes, stored: memoryview, kind: type[R]
) -> R | None:
    """A record, None where it is damaged, which is noted."""
    try:
        return unpack(table, key, stored, kind)
    except DataLoss as error:
        report.note_entry(table, key, str(error))
        return None


def _check_envelopes(txn: Transaction, table: Table, report: TableReport) -> None:
    for key, stored in txn.scan(table):
        deadline.check()
        report.values += 1
        try:
            unseal(table, key, stored, KINDS.get(table, Kind.RECORD))
        except DataLoss as error:
            report.note_entry(table, key, str(error))


_LOOKED_UP = (Table.LEDGER, Table.VALUES, Table.SNAPSHOTS, Table.FACT_KEYS)
"""Tables that are asked for a key which may rightly be absent."""


def check_counts(txn: Transaction, counters: CountersRecord, *, twins: bool = True) -> None:
    """Raise `DataLoss` (``MISSING``) unless tables have as many entries as the counters say.

    twins: whether also unless there are as many vectors as records of clips.
    """
    for table, known in (
        (Table.LEDGER, counters.next_clip_no - counters.removed_numbers),
        (Table.STREAMS, counters.next_stream_no - counters.removed_streams),
        (Table.SPACES, counters.next_space_no),
        (Table.LOG, counters.revision),
        (Table.VECTORS, txn.count(Table.CLIPS if twins else Table.VECTORS)),
    ):
        expect_entries(txn, table, known)


def check_lookups(txn: Transaction, counters: CountersRecord) -> None:
    """What an open must know before "not there" may be taken as an answer.

    A damaged key or page can hide an entry from a look-up: the clip would be stored twice, the value
    would read as never put.  So every entry of such tables is unsealed (a checksum covers its key),
    and tables have as many entries as the counters say.  Raises `DataLoss` (``MISSING``, or as
    `unseal`).
    """
    for table in _LOOKED_UP:
        kind = KINDS.get(table, Kind.RECORD)
        found = sum(len(block.keys) for block in opened(txn, table, kind))
        expect_entries(txn, table, found)
    check_counts(txn, counters)


def expect_entries(txn: Transaction, table: Table, found: int) -> None:
    """Raise `DataLoss` (``MISSING``) unless the table has ``found`` entries by LMDB's own count."""
    counted = txn.count(table)
    if found != counted:
        raise DataLoss(
            f"{counted} entries expected", reason="MISSING", field=table.value, value=found
        )


def _check_clips(txn: Transaction, report: TableReport) -> None:
    """Every version of a clip has all its parts, and no part stands alone."""
    versions = 0
    with_short = 0
    keyframes = 0
    damaged = 0
    for key, stored in txn.scan(Table.CLIPS):
        deadline.check()
        versions += 1
        where = f"clips/{key.hex()}"
        record = _read(report, Table.CLIPS, key, stored, ClipRecord)
        if record is None:
            damaged += 1
            continue
        clip_no, birth = schema.split_version_key(key)
        if txn.get(Table.VECTORS, schema.vector_key(record.space_no, clip_no, birth)) is None:
            report.note(where, "has no global memory")
        if record.short_memory is not None:
            with_short += 1
            report.values += 1
            try:
                check_short_memory(key, txn.get(Table.SHORT_MEMORY, key), record.short_memory)
            except DataLoss as error:
                report.note(f"short_memory/{key.hex()}", str(error))
        keyframes += record.keyframes
        for index in range(record.keyframes):
            if txn.get(Table.KEYFRAMES, schema.keyframe_key(clip_no, birth, index)) is None:
                report.note(where, f"keyframe {index} is missing")
    for table, expected in (
        (Table.VECTORS, versions),
        (Table.SHORT_MEMORY, with_short),
        (Table.KEYFRAMES, keyframes),
    ):
        # What a damaged record needs, nobody can tell, but for its global memory.
        if txn.count(table) != expected and (table is Table.VECTORS or not damaged):
            report.note(table.value, f"has {txn.count(table)} entries, the clips need {expected}")


def _check_ledger(txn: Transaction, report: TableReport) -> None:
    """Every ledger row names the newest version of one clip, and no number stands twice."""
    seen: set[int] = set()
    damaged = 0
    for key, stored in txn.scan(Table.LEDGER):
        deadline.check()
        report.clips += 1
        where = f"ledger/{key.hex()}"
        ledger = _read(report, Table.LEDGER, key, stored, LedgerRecord)
        if ledger is None:
            damaged += 1
            continue
        if ledger.removed:
            report.clips -= 1
            if next(txn.scan(Table.CLIPS, schema.revision_key(ledger.clip_no)), None) is not None:
                report.note(where, "says that a clip was removed which is there")
            continue
        clip_key = schema.version_key(ledger.clip_no, ledger.birth)
        found = txn.get(Table.CLIPS, clip_key)
        if found is None:
            report.note(where, "names a clip that is not there")
            continue
        seen_before = ledger.clip_no in seen
        seen.add(ledger.clip_no)
        if seen_before:
            report.note(where, "names a clip that another number names too")
        record = _read(report, Table.CLIPS, clip_key, found, ClipRecord)
        if record is None:
            continue
        if (record.stream_no, record.epoch, record.seq) != schema.split_ledger_key(key):
            report.note(where, "names a clip of another number")
        if record.content != ledger.content or record.sealed != ledger.sealed:
            report.note(where, "disagrees with its clip")
    clips = {schema.split_version_key(key)[0] for key, _ in txn.scan(Table.CLIPS)}
    if clips != seen and not damaged:
        report.note("ledger", f"{len(clips - seen)} clips have no ledger row")


def _check_log(txn: Transaction, report: TableReport) -> None:
    """The log has every commit up to the newest, once, in order of time."""
    stored = txn.get(Table.META, META_COUNTERS)
    if stored is None:
        report.note("meta", "counters are missing")
        return
    counters = _read(report, Table.META, META_COUNTERS, stored, CountersRecord)
    if counters is None:
        return
    newest = counters.revision
    expected, time_ns = 1, None
    for key, value in txn.scan(Table.LOG):
        deadline.check()
        record = _read(report, Table.LOG, key, value, LogRecord)
        if int.from_bytes(key, "big") != expected:
            report.note("log", f"revision {expected} is missing")
            return
        if record is not None:
            if time_ns is not None and record.time_ns < time_ns:
                report.note("log", f"time goes back at revision {expected}")
            time_ns = record.time_ns
        expected += 1
    if expected != newest + 1:
        report.note("log", f"ends at {expected - 1}, the newest commit is {newest}")
