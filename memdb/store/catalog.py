"""The catalog environment: feature spaces and users of the database."""

from __future__ import annotations

import threading
from pathlib import Path

from memdb.config import EngineConfig
from memdb.errors import AlreadyExists, NotFound
from memdb.store.directory import DataDirectory
from memdb.store.environment import Environment, Transaction
from memdb.store.records import NameRecord, NumberRecord, SpaceRecord, pack, unpack
from memdb.store.schema import CATALOG_TABLES, FORMAT, META_FORMAT, Table
from memdb.store.system import system_errors
from memdb.store.verify import expect_entries
from memdb.types.space import Space


class Catalog:
    """Durable names; small, read at every open and kept in memory."""

    def __init__(self, directory: DataDirectory, config: EngineConfig) -> None:
        self._directory = directory
        with system_errors("catalog"):
            is_there = directory.catalog.exists()
        if is_there:
            self._env = Environment(directory.catalog, CATALOG_TABLES, config, directory.keys)
        else:
            self._env = Environment.create(
                directory.catalog,
                CATALOG_TABLES,
                config,
                lambda txn: txn.put(
                    Table.META, META_FORMAT, pack(META_FORMAT, NumberRecord(FORMAT))
                ),
                directory.keys,
            )
        self._lock = threading.Lock()
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
        with system_errors("users"):
            gone = [user for user in self._users if not directory.user_path(user).exists()]
        for user in gone:
            # An erasure was cut short after the directory had gone.
            self.remove_user(user)

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

    def remove_user(self, user: str) -> None:
        """Forget the user's name."""

        def change(txn: Transaction) -> tuple[bool, None]:
            return txn.delete(Table.USERS, user.encode()), None

        self._env.write(change)
        self._users.discard(user)

    def has_user(self, user: str) -> bool:
        """Whether the user ever wrote."""
        return user in self._users

    def users(self) -> list[str]:
        """Every user, by id."""
        return sorted(self._users)

    def check(self) -> list[str]:
        """What is wrong with the stored bytes, in words."""
        wrong: list[str] = []
        with self._env.read() as txn:
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
        with self._env.read() as txn:
            self._env.copy(folder, txn)

    def close(self) -> None:
        """Close the environment."""
        self._env.close()
