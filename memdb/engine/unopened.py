"""Looking into the store of a user that is not open, without making its indexes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from memdb.config import EngineConfig
from memdb.errors import NotFound
from memdb.store.directory import DataDirectory
from memdb.store.environment import Environment
from memdb.store.schema import DATA_FILE, META_ERASURE, USER_TABLES, Table
from memdb.store.system import system_errors

SMALL_BYTES_MAX: Final = 64 << 20
"""Data file of a user that is read so: calls on it wait for tenths of a second."""


class Unopened:
    """The stores of users, for who holds their slots: an environment is not opened twice."""

    def __init__(self, directory: DataDirectory, config: EngineConfig) -> None:
        self._directory = directory
        self._config = config

    def is_small(self, user: str) -> bool:
        """Whether calls on the user may wait while its store is read; raises `NotFound` (``USER_NOT_FOUND``)."""
        with system_errors("user"):
            if not self._directory.has_user(user):
                raise NotFound("no such user", reason="USER_NOT_FOUND", field="user", value=user)
            file = self._directory.user_path(user) / DATA_FILE
            # Where there is no file, opening it says what is wrong.
            return not file.exists() or file.stat().st_size <= SMALL_BYTES_MAX

    @contextmanager
    def environment(self, user: str) -> Iterator[Environment]:
        """Its environment for the length of a block; raises what keeps it from being opened."""
        path = self._directory.user_path(user)
        environment = Environment(path, USER_TABLES, self._config, self._directory.keys)
        try:
            yield environment
        finally:
            environment.close()

    def has_chores(self, user: str) -> bool:
        """Whether a sweep has to open it: for policies, or an erasure that has not ended; raises as `environment`."""
        with self.environment(user) as environment, environment.read() as txn:
            return bool(txn.count(Table.RETENTION)) or txn.holds(Table.META, META_ERASURE)
