"""Looking at every stored value, a little at a time, while everything goes on.

Bits rot where nobody reads.  A scrub walks all tables of all users, over and over, at a stated rate, and
checks what a read would check.  It holds no transaction longer than one page of entries, opens no
index and closes no user to make room.  What it finds is logged and reported in every round, and kept
apart: parts of clips at once, the rest by opening the user anew, which happens once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from memdb.engine.users import Users
from memdb.errors import DataLoss, MemdbError
from memdb.eventlog import event_log
from memdb.store.catalog import Catalog
from memdb.store.clips import check_short_memory
from memdb.store.envelope import unseal
from memdb.store.records import ClipRecord, unpack
from memdb.store.schema import USER_TABLES, Table
from memdb.store.transaction import Transaction
from memdb.store.verify import KINDS, UNSEALED, Kind
from memdb.types.change import Discrepancy

PAGE_BYTES: Final = 4 << 20
"""Bytes that are looked at in one transaction, about."""

log = event_log("memdb.engine")


@dataclass(slots=True)
class ScrubReport:
    """What one step of a scrub saw."""

    values: int = 0
    bytes_read: int = 0
    users_finished: int = 0
    damaged: list[Discrepancy] = field(default_factory=list)


class Scrub:
    """Where the scrub of a database is; used by one thread at a time."""

    def __init__(self, users: Users, catalog: Catalog) -> None:
        self._users = users
        self._catalog = catalog
        self._user = ""
        self._table = 0
        self._after = b""
        self._seen: set[tuple[str, str]] = set()
        """Damage that was found, (user, where) each."""

    def step(self, bytes_max: int) -> ScrubReport:
        """Go on for about ``bytes_max`` bytes, at most once around."""
        report = ScrubReport()
        users = self._catalog.users()
        for _ in range(len(users) + 1):
            user = next((user for user in users if user >= self._user), None)
            if user is None:  # around
                self._of_catalog(report)
                self._user, self._table, self._after = "", 0, b""
                continue
            if user != self._user:
                self._user, self._table, self._after = user, 0, b""
            if not self._of_user(report, bytes_max):
                break
            report.users_finished += 1
            self._user, self._table, self._after = user + "\0", 0, b""
        return report

    def _of_user(self, report: ScrubReport, bytes_max: int) -> bool:
        """Go on with one user; whether it is finished."""
        before = len(report.damaged)
        try:
            while self._table < len(USER_TABLES):
                if report.bytes_read >= bytes_max:
                    return False
                with self._users.environment(self._user) as environment, environment.read() as txn:
                    try:
                        self._page(txn, report, bytes_max)
                    except (
                        DataLoss
                    ) as error:  # of its structure: nothing more of the table can be had
                        table = USER_TABLES[self._table].value
                        report.damaged.append(Discrepancy(self._user, table, str(error)))
                        self._next_table()
        except MemdbError as error:
            if isinstance(error, DataLoss):
                report.damaged.append(Discrepancy(self._user, "environment", str(error)))
        finally:
            new = self._told(report.damaged[before:])
            if new:
                self._users.damage_found(self._user, new)
        return True

    def _of_catalog(self, report: ScrubReport) -> None:
        """Look at the names of users and spaces, which are few: once around."""
        try:
            wrong = self._catalog.check()
        except MemdbError:
            return  # it is being made anew, or cannot be read for now
        found = [Discrepancy("", where, what) for where, what in wrong]
        report.damaged += found
        self._told(found)

    def forget(self, user: str) -> None:
        """The user was erased; on any thread."""
        for place in list(self._seen):
            if place[0] == user:
                self._seen.discard(place)

    def _told(self, damaged: list[Discrepancy]) -> list[str]:
        """Log what this process sees for the first time, and where that is.  What was done about it then is not done
        again in every round, of which a small database has one a second.
        """
        new = []
        for found in damaged:
            place = found.user, found.where
            if place in self._seen:
                continue
            self._seen.add(place)
            new.append(found.where)
            whose = {"user": found.user} if found.user else {}
            fields = {**whose, "where": found.where, "what": found.what}
            log.error("the scrub found damage", extra={"fields": fields})
        return new

    def _page(self, txn: Transaction, report: ScrubReport, bytes_max: int) -> None:
        table = USER_TABLES[self._table]
        seen = 0
        for key, stored in txn.scan(table, after=self._after):
            size = len(key) + len(stored)
            try:
                size += _check(txn, table, key, stored)
            except DataLoss as error:
                where = error.field or f"{table.value}/{key.hex()}"
                report.damaged.append(Discrepancy(self._user, where, str(error)))
            report.values += 1
            report.bytes_read += size
            self._after = key
            seen += size
            if seen >= PAGE_BYTES or report.bytes_read >= bytes_max:
                return
        self._next_table()

    def _next_table(self) -> None:
        self._table += 1
        self._after = b""


def _check(txn: Transaction, table: Table, key: bytes, stored: memoryview) -> int:
    """Check one entry; bytes that were read beside it."""
    if table in UNSEALED:
        return 0
    unseal(table, key, stored, KINDS.get(table, Kind.RECORD))
    if table is Table.CLIPS:
        record = unpack(table, key, stored, ClipRecord)
        if record.short_memory is not None:
            check_short_memory(key, txn.get(Table.SHORT_MEMORY, key), record.short_memory)
            return record.short_memory.length
    return 0
