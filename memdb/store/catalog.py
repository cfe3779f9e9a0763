"""The catalog environment: feature spaces and users of the database.

When a user is forgotten the environment is made anew, so that no freed page keeps the name.
``catalog/COMPACT`` says that this is to be done: it is there before the name goes, until it is done.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from heapq import nsmallest
from pathlib import Path
from typing import Final

from memdb import failpoints
from memdb.config import EngineConfig
from memdb.errors import AlreadyExists, MemdbError, NotFound
from memdb.eventlog import event_log
from memdb.store.compact import compact, sweep
from memdb.store.creation import create_environment
from memdb.store.directory import DataDirectory
from memdb.store.environment import Environment
from memdb.store.files import sync_directory, write_file
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

log = event_log("memdb.store")


class Catalog:
    """Durable names; small, read at every open and kept in memory."""

    def __init__(self, directory: DataDirectory, config: EngineConfig) -> None:
        self._directory = directory
        self._config = config
        self._marker = directory.catalog / MARKER
        with system_errors("catalog"):
            is_there = directory.catalog.exists()
        if is_there:
            with system_errors("catalog"):
                sweep(directory.catalog)
            self._env = self._open()
        else:
            self._env = create_environment(
                directory.catalog,
                CATALOG_TABLES,
                config,
                lambda txn: txn.put(
                    Table.META, META_FORMAT, pack(META_FORMAT, NumberRecord(FORMAT))
                ),
                directory.keys,
            )
        self._lock = threading.Lock()
        self._noting: list[list[str]] = []
        """Who wants to be told of the users that are removed."""
        self._spaces: dict[str, Space] = {}
        self._users: set[str] = set()
        try:
            self._load()
        except BaseException:
            # LMDB lets nobody open it a second time.
            self._env.close()
            raise

    def _load(self) -> None:
        directory = self._directory
        with self._env.read() as txn:
            for key, stored in txn.scan(Table.SPACES):
                record = unpack(Table.SPACES, key, stored, SpaceRecord)
                self._spaces[record.name] = Space(
                    record.name, record.dim, record.metric, record.model
                )
            for key, stored in txn.scan(Table.USERS):
                unpack(Table.USERS, key, stored, NameRecord)
                self._users.add(key.decode())
            expect_entries(txn, Table.SPACES, len(self._spaces))
            expect_entries(txn, Table.USERS, len(self._users))
            expect_entries(txn, Table.META, 1)
        try:
            # An erasure was cut short after the directory had gone, or after the name had.
            with system_errors("users"):
                gone = [user for user in self._users if not directory.has_user(user)]
            if gone:
                self.remove_users(gone)
            self.finish()
            self._take_in_strangers()
        except MemdbError:
            # The next open or sweep tries again; what is there can be used.
            log.exception("the catalog differs from the directories of users for now")

    def _take_in_strangers(self) -> None:
        """List users again whose directories the catalog does not know.

        One bit of LMDB's newest meta page can bring back the transaction before, which nothing in the
        file tells from the newest.  A user that has committed was listed before; one without commits
        is what a crash left.
        """
        with system_errors("users"):
            known = {self._directory.user_path(user).name for user in self._users}
            strange = [p for p in self._directory.user_folders() if p.name not in known]
        for path in strange:
            try:
                user = self._owner(path)
            except MemdbError:
                log.exception(
                    "a directory belongs to no known user", extra={"fields": {"name": path.name}}
                )
                continue
            if user is not None:
                log.error("the catalog had lost a user", extra={"fields": {"user": user}})
                self._add_user(user)

    def _owner(self, path: Path) -> str | None:
        """The user whose directory it is, None before its first commit; raises what keeps it from
        being opened, `DataLoss`.
        """
        environment = Environment(path, USER_TABLES, self._config, self._directory.keys)
        try:
            with environment.read() as txn:
                stored, counters = (
                    txn.get(Table.META, META_USER),
                    txn.get(Table.META, META_COUNTERS),
                )
                if stored is None or counters is None:
                    return None
                if unpack(Table.META, META_COUNTERS, counters, CountersRecord).revision == 0:
                    return None
                user = unpack(Table.META, META_USER, stored, UserRecord).user
        finally:
            environment.close()
        return user if self._directory.user_path(user) == path else None

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
            key = space.name.encode()
            record = SpaceRecord(space.name, space.dim, space.metric, space.model)

            def change(txn: Transaction) -> tuple[bool, None]:
                txn.put(Table.SPACES, key, pack(key, record))
                return True, None

            self._env.write(change)
            self._spaces[space.name] = space
            return space

    def space(self, name: str) -> Space:
        """The space; raises `NotFound` (``SPACE_NOT_FOUND``)."""
        found = self._spaces.get(name)
        if found is None:
            raise NotFound("no such space", reason="SPACE_NOT_FOUND", field="space", value=name)
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
            if user not in self._users:
                self._add_user(user)

    def _add_user(self, user: str) -> None:
        key = user.encode()

        def change(txn: Transaction) -> tuple[bool, None]:
            txn.put(Table.USERS, key, pack(key, NameRecord(self._directory.user_path(user).name)))
            return True, None

        self._env.write(change)
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
            self._env.write(change, gives_up=True)
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
            self._env.close()
            try:
                compact(self._directory.catalog)
            finally:
                self._env = self._open()
            self._marker.unlink()
            sync_directory(self._directory.catalog)

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

    def check(self) -> list[str]:
        """What is wrong with the stored bytes, in words."""
        wrong: list[str] = []
        with self._lock, self._env.read() as txn:
            wrong.extend(
                f"user {key!r} has directory {record.name}"
                for key, stored in txn.scan(Table.USERS)
                if (record := unpack(Table.USERS, key, stored, NameRecord)).name
                != self._directory.user_path(key.decode()).name
            )
            for key, stored in txn.scan(Table.SPACES):
                unpack(Table.SPACES, key, stored, SpaceRecord)
        return wrong

    def copy(self, folder: Path) -> None:
        """Write a compacted copy of the environment into ``folder``; see `Environment.copy`."""
        with self._lock, self._env.read() as txn:
            self._env.copy(folder, txn)

    def close(self) -> None:
        """Close the environment."""
        with self._lock:
            self._env.close()
