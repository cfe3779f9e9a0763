"""Looking at every stored value, a little at a time, while everything goes on.

Bits rot where nobody reads.  A scrub walks all tables of all users, over and over, at a stated rate, and
checks what a read would check.  It holds no transaction longer than one page of entries, opens no
index and closes no user to make room.  What it finds is reported in every round, logged once a day as long as it is
there (`memdb.engine.known_damage`), and kept apart: parts of clips at once, the rest by opening the user anew, which
happens once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from memdb.clock import Clock
from memdb.engine.known_damage import KnownDamage
from memdb.engine.scrub_place import ScrubPlace
from memdb.engine.users import Users
from memdb.errors import DataLoss, MemdbError
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


@dataclass(slots=True)
class ScrubReport:
    """What one step of a scrub saw."""

    values: int = 0
    bytes_read: int = 0
    users_finished: int = 0
    damaged: list[Discrepancy] = field(default_factory=list)


class Scrub:
    """Where the scrub of a database is; used by one thread at a time."""

    def __init__(self, users: Users, catalog: Catalog, clock: Clock) -> None:
        self._users = users
        self._catalog = catalog
        self._place = ScrubPlace()
        self._known = KnownDamage(clock)

    def step(self, bytes_max: int) -> ScrubReport:
        """Go on for about ``bytes_max`` bytes, at most once around."""
        report = ScrubReport()
        users = self._catalog.users()
        number, goes_on = self._place.find(users)
        try:
            if not goes_on:
                self._known.begin()
            for _ in range(len(users) + 1):
                if number == len(users):  # around
                    self._known.keep(users)
                    self._of_catalog(report)
                    number = 0
                elif self._of_user(users[number], report, bytes_max):
                    report.users_finished += 1
                    number += 1
                else:
                    break
                self._place.begin()
                self._known.begin()
        finally:
            self._place.leave(number, users[number] if number < len(users) else None)
        return report

    def forget(self, user: str) -> None:
        """A user is erased: nothing is kept of it; in any thread."""
        if self._place.forget(user):
            self._known.begin()
        self._known.forget(user)

    def _of_user(self, user: str, report: ScrubReport, bytes_max: int) -> bool:
        """Go on with one user; whether it is finished."""
        before = len(report.damaged)
        is_whole = False
        try:
            while self._place.table < len(USER_TABLES):
                if report.bytes_read >= bytes_max:
                    return False
                with self._users.environment(user) as environment, environment.read() as txn:
                    try:
                        self._page(user, txn, report, bytes_max)
                    except (
                        DataLoss
                    ) as error:  # of its structure: nothing more of the table can be had
                        table = USER_TABLES[self._place.table].value
                        report.damaged.append(Discrepancy(user, table, str(error)))
                        self._next_table()
            is_whole = True
        except MemdbError as error:
            if isinstance(error, DataLoss):
                report.damaged.append(Discrepancy(user, "environment", str(error)))
        finally:
            new = [found.where for found in report.damaged[before:] if self._known.meet(found)]
            if is_whole:
                self._known.end(user)
            if new:
                self._users.damage_found(user, new)
        return True

    def _of_catalog(self, report: ScrubReport) -> None:
        """Look at the names of users and spaces, which are few: once around."""
        try:
            wrong = self._catalog.check()
        except MemdbError:
            return  # it is being made anew, or cannot be read for now
        self._known.begin()
        for where, what in wrong:
            found = Discrepancy("", where, what)
            report.damaged.append(found)
            self._known.meet(found)
        self._known.end("")

    def _page(self, user: str, txn: Transaction, report: ScrubReport, bytes_max: int) -> None:
        place = self._place
        table = USER_TABLES[place.table]
        seen = 0
        for key, stored in txn.scan(table, after=place.after):
            size = len(key) + len(stored)
            try:
                size += _check(txn, table, key, stored)
            except DataLoss as error:
                where = error.field or f"{table.value}/{key.hex()}"
                report.damaged.append(Discrepancy(user, where, str(error)))
            report.values += 1
            report.bytes_read += size
            place.after = key
            seen += size
            if seen >= PAGE_BYTES or report.bytes_read >= bytes_max:
                return
        self._next_table()

    def _next_table(self) -> None:
        self._place.table += 1
        self._place.after = b""


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
