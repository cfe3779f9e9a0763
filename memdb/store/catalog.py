"""The catalog environment: feature spaces and users of the database.

When a user is forgotten the environment is made anew, so that no freed page keeps the name.
``catalog/COMPACT`` says that this is to be done: it is there before the name goes, until it is done.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from heapq import nsmallest
from pathlib import Path
from typing import Final

from memdb import failpoints
from memdb.config import EngineConfig
from memdb.errors import AlreadyExists, DataLoss, MemdbError, NotFound
from memdb.eventlog import event_log
from memdb.store.catalog_check import catalog_differences, place_of, space_of
from memdb.store.compact import compact, sweep
from memdb.store.creation import create_environment
from memdb.store.directory import DataDirectory
from memdb.store.environment import Environment
from memdb.store.files import is_named, sync_directory, write_file
from memdb.store.records import (
    CountersRecord,
    NameRecord,
    NumberRecord,
    SpaceRecord,
    UserRecord,
    pack,
    unpack,
)
from memdb.store.schema import (
    CATALOG,
    CATALOG_TABLES,
    FORMAT,
    META_COUNTERS,
    META_FORMAT,
    META_USER,
    USER_TABLES,
    Table,
)
from memdb.store.system import system_errors
from memdb.store.transaction import Transaction
from memdb.store.verify import expect_entries
from memdb.types.space import Space

MARKER: Final = "COMPACT"
_OF_ANOTHER_FILE: Final = ("KEY_MISSING", "KEY_UNREADABLE", "BAD_KEY_FILE", "BAD_SECRET")
"""Reasons why a catalog that is whole cannot be read, or not be believed, until another file is put back."""

log = event_log("memdb.store")


class Catalog:
    """Durable names; small, read at every open and kept in memory."""

    def __init__(self, directory: DataDirectory, config: EngineConfig) -> None:
        """Open the catalog, or make it; one that is damaged is made anew of what can be read of it and of what
        the users' environments say, which is all but spaces that nobody uses.

        Raises `DataLoss` for its data key, without which nobody knows what it holds, and for the key of directory
        names (``BAD_SECRET``), `Unavailable` and `ResourceExhausted`.
        """
        self._directory = directory
        self._config = config
        self._marker = directory.catalog / MARKER
        self._lock = threading.Lock()
        self._closed = False
        self._noting: list[list[str]] = []
        """Who wants to be told of the users that are removed."""
        self._spaces: dict[str, Space] = {}
        self._users: set[str] = set()
        self.mended: tuple[str, str] | None = None
        """(where, what) that was damaged when it was opened: who verifies hears of it, though it is whole by then."""
        with system_errors("catalog"):
            is_known = is_named(directory.catalog)
        is_new = not is_known
        if is_new:
            self._env = self._created()
        else:
            try:
                with system_errors("catalog"):
                    sweep(directory.catalog)
                self._env = self._read()
            except DataLoss as error:
                if error.reason in _OF_ANOTHER_FILE:
                    raise
                log.exception("the catalog is damaged, and made anew of what its users say")
                what = f"was damaged, and made anew at this opening of what its users say: {error}"
                self.mended = place_of(error.field or ""), what
                self._env = self._made_anew()
                is_known = False
        try:
            self._agree_with_users(are_known=is_known)
        except BaseException:
            # LMDB lets nobody open it a second time.
            self._env.close()
            raise
        if is_new and self._users:
            self.mended = CATALOG, "was not there, and made anew of what its users say"

    def _read(self) -> Environment:
        """The environment, opened, its names taken in; raises `DataLoss`, with those taken in that can be read."""
        environment = self._open()
        try:
            with environment.read() as txn:
                self._take_in(txn)
                expect_entries(txn, Table.SPACES, len(self._spaces))
                expect_entries(txn, Table.USERS, len(self._users))
                expect_entries(txn, Table.META, 1)
                if (stored := txn.get(Table.META, META_FORMAT)) is not None:
                    unpack(Table.META, META_FORMAT, stored, NumberRecord)
        except BaseException:
            environment.close()
            raise
        return environment

    def _take_in(self, txn: Transaction) -> None:
        """Take in every name that can be read; raises `DataLoss` where one cannot, and (``BAD_SECRET``) where users
        lie elsewhere than the key of directory names says.
        """
        damaged: DataLoss | None = None
        for key, stored in txn.scan(Table.SPACES):
            try:
                space = space_of(unpack(Table.SPACES, key, stored, SpaceRecord))
            except DataLoss as error:
                damaged = error
                continue
            self._spaces[space.name] = space
        for key, stored in txn.scan(Table.USERS):
            try:
                record = unpack(Table.USERS, key, stored, NameRecord)
            except DataLoss as error:
                damaged = error
                continue
            user = key.decode()
            if record.name != self._directory.user_path(user).name:
                # None of them would be found, and each would be taken for one that was erased.
                raise _bad_secret(record.name)
            self._users.add(user)
        if damaged is not None:
            raise damaged

    def _created(self) -> Environment:
        """A new environment, with the names that are known."""

        def fill(txn: Transaction) -> None:
            txn.put(Table.META, META_FORMAT, pack(META_FORMAT, NumberRecord(FORMAT)))
            self._put(txn, self._spaces.values(), self._users)

        directory = self._directory
        return create_environment(
            directory.catalog, CATALOG_TABLES, self._config, fill, directory.keys
        )

    def _made_anew(self) -> Environment:
        """A new environment in the place of the damaged one, which goes: it holds names that may be erased later."""
        directory = self._directory
        aside = directory.trash / f"{CATALOG}-{secrets.token_hex(4)}"
        with system_errors("catalog"):
            directory.catalog.rename(aside)
            sync_directory(aside.parent)
        try:
            made = self._created()
        except BaseException:
            with suppress(OSError):
                aside.rename(directory.catalog)
            raise
        try:
            directory.remove(aside)
        except OSError:
            log.exception("a damaged catalog stays for a sweep to remove")
        return made

    def _agree_with_users(self, *, are_known: bool) -> None:
        """Have the names be those of the directories of users.

        are_known: whether the catalog is as it was left, else each user's environment is looked at.
        """
        directory = self._directory
        try:
            # An erasure was cut short after the directory had gone, or after the name had.
            with system_errors("users"):
                gone = [user for user in self._users if not directory.has_user(user)]
            if gone:
                self.remove_users(gone)
            self.finish()
            self._take_in_strangers(are_known=are_known)
        except MemdbError:
            # The next open or sweep tries again; what is there can be used.
            log.exception("the catalog differs from the directories of users for now")

    def _take_in_strangers(self, *, are_known: bool) -> None:
        """List users again whose directories the catalog does not know, and their spaces.

        One bit of LMDB's newest meta page can bring back the transaction before, which nothing in the
        file tells from the newest.  A user that has committed was listed before; one without commits
        is what a crash left.
        """
        with system_errors("users"):
            known = {self._directory.user_path(user).name for user in self._users}
            folders = self._directory.user_folders()
        users: list[str] = []
        spaces: dict[str, Space] = {}
        for path in folders:
            if are_known and path.name in known:
                continue
            try:
                user, of_user = self._owner(path)
            except MemdbError:
                log.exception(
                    "a directory belongs to no known user", extra={"fields": {"name": path.name}}
                )
                continue
            spaces |= {space.name: space for space in of_user if space.name not in self._spaces}
            if user is not None and user not in self._users:
                log.error("the catalog had lost a user", extra={"fields": {"user": user}})
                users.append(user)
        if users or spaces:

            def change(txn: Transaction) -> tuple[bool, None]:
                self._put(txn, spaces.values(), users)
                return True, None

            self._environment().write(change)
            self._users.update(users)
            self._spaces |= spaces

    def _put(self, txn: Transaction, spaces: Iterable[Space], users: Iterable[str]) -> None:
        for space in spaces:
            key = space.name.encode()
            record = SpaceRecord(space.name, space.dim, space.metric, space.model)
            txn.put(Table.SPACES, key, pack(key, record))
        for user in users:
            key = user.encode()
            txn.put(Table.USERS, key, pack(key, NameRecord(self._directory.user_path(user).name)))

    def _owner(self, path: Path) -> tuple[str | None, list[Space]]:
        """The user whose directory it is, None before its first commit, and its spaces; raises what keeps it
        from being opened, `DataLoss`.
        """
        environment = Environment(path, USER_TABLES, self._config, self._directory.keys)
        try:
            with environment.read() as txn:
                stored, counters = (
                    txn.get(Table.META, META_USER),
                    txn.get(Table.META, META_COUNTERS),
                )
                if stored is None or counters is None:
                    return None, []
                if unpack(Table.META, META_COUNTERS, counters, CountersRecord).revision == 0:
                    return None, []
                user = unpack(Table.META, META_USER, stored, UserRecord).user
                spaces = [
                    space_of(unpack(Table.SPACES, key, value, SpaceRecord))
                    for key, value in txn.scan(Table.SPACES)
                ]
        finally:
            environment.close()
        if self._directory.user_path(user) != path:
            raise _bad_secret(path.name)
        return user, spaces

    def create_space(self, space: Space) -> Space:
        """Store ``space``; the same again is no error, another definition raises `AlreadyExists`."""
        with self._lock:
            existing = self._spaces.get(space.name)
            if existing is not None:
                if existing != space:
                    raise AlreadyExists(
                        f"space is dim {existing.dim}, {existing.metric}, model {existing.model!r}",
                        reason="SPACE_EXISTS",
                        field="space.name",
                        value=space.name,
                    )
                return existing

            def change(txn: Transaction) -> tuple[bool, None]:
                self._put(txn, [space], [])
                return True, None

            self._environment().write(change)
            self._spaces[space.name] = space
            return space

    def space(self, name: str) -> Space:
        """The space; raises `NotFound` (``SPACE_NOT_FOUND``)."""
        found = self._spaces.get(name)
        if found is None:
            raise NotFound(
                "no such space; db.create_space makes one",
                reason="SPACE_NOT_FOUND",
                field="space",
                value=name,
            )
        return found

    def find_space(self, name: str) -> Space | None:
        """The space, None where there is none of that name."""
        return self._spaces.get(name)

    def spaces(self) -> list[Space]:
        """Every space, by name."""
        return sorted(self._spaces.values(), key=lambda space: space.name)

    def add_user(self, user: str) -> None:
        """Note that the user's directory exists."""
        with self._lock:
            if user in self._users:
                return

            def change(txn: Transaction) -> tuple[bool, None]:
                self._put(txn, [], [user])
                return True, None

            self._environment().write(change)
            self._users.add(user)

    def remove_users(self, users: Collection[str]) -> None:
        """Forget users' names; their last bytes go with `finish`.  Raises what refuses a commit."""

        def change(txn: Transaction) -> tuple[bool, None]:
            for user in users:
                txn.delete(Table.USERS, user.encode())
            return True, None

        with self._lock:
            with system_errors("catalog"):
                write_file(self._marker, b"")
            failpoints.hit("catalog.marked")
            self._environment().write(change, gives_up=True)
            self._users.difference_update(users)
            for noted in self._noting:
                noted.extend(users)
            failpoints.hit("catalog.forgotten")

    @contextmanager
    def noting_removed(self) -> Iterator[list[str]]:
        """The users that are removed during the block, in their order, one that was made anew each time."""
        noted: list[str] = []
        with self._lock:
            self._noting.append(noted)
        try:
            yield noted
        finally:
            with self._lock:
                self._noting = [other for other in self._noting if other is not noted]

    def finish(self) -> None:
        """Make the environment anew if that is still to be done; raises as `compact`."""
        with self._lock, system_errors("catalog"):
            if not self._marker.exists():
                return
            try:
                self._env.close()
                compact(self._directory.catalog)
            finally:
                self._env.close()  # where that was interrupted: a file is not opened a second time
                self._env = self._open()
            self._marker.unlink()
            sync_directory(self._directory.catalog)

    def _environment(self) -> Environment:
        """The environment, opened again where whoever made it anew was interrupted (under the lock)."""
        if self._env.is_closed and not self._closed:
            self._env = self._open()
        return self._env

    def _open(self) -> Environment:
        directory = self._directory
        # What it may then have lost is found again, see `_take_in_strangers`.
        return Environment(
            directory.catalog, CATALOG_TABLES, self._config, directory.keys, older=True
        )

    def has_user(self, user: str) -> bool:
        """Whether the user ever wrote."""
        return user in self._users

    def users(self, after: str | None = None, limit: int | None = None) -> list[str]:
        """Users by id: all, or at most ``limit`` of those behind an id."""
        # A copy, made in one step: others may be added and removed meanwhile.
        behind = list(self._users)
        if after is not None:
            behind = [user for user in behind if user > after]
        if limit is None:
            return sorted(behind)
        return nsmallest(limit, behind)

    def check(self) -> list[tuple[str, str]]:
        """(where, what) of all that is wrong with what lies there now."""
        with self._lock, self._environment().read() as txn:
            users = {user: self._directory.user_path(user).name for user in self._users}
            return catalog_differences(txn, self._spaces, users)

    def copy(self, folder: Path) -> None:
        """Write a compacted copy of the environment into ``folder``; see `Environment.copy`."""
        with self._lock:
            environment = self._environment()
            with environment.read() as txn:
                environment.copy(folder, txn)

    def close(self) -> None:
        """Close the environment."""
        with self._lock:
            self._closed = True
            self._env.close()


def _bad_secret(name: str) -> DataLoss:
    return DataLoss(
        "users do not lie where the key of directory names says: it is damaged, or another directory's",
        reason="BAD_SECRET",
        field="SECRET",
        value=name,
    )
