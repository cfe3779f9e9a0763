"""A user's memory from its directory: made anew, or as it lies there."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from memdb.clock import Clock
from memdb.config import EngineConfig
from memdb.engine.early_file import EarlyFile, early_file
from memdb.engine.kept_index import KeptIndex
from memdb.engine.memory import UserMemory
from memdb.errors import Unavailable
from memdb.store.creation import create_environment
from memdb.store.environment import Environment
from memdb.store.records import CountersRecord, UserRecord, pack
from memdb.store.schema import FORMAT, META_COUNTERS, META_USER, USER_TABLES, Table
from memdb.store.transaction import Transaction

if TYPE_CHECKING:
    from memdb.engine.warmed import Warmed
    from memdb.store.environment import KeyRing


def create_memory(
    path: Path,
    user: str,
    config: EngineConfig,
    clock: Clock,
    keys: KeyRing | None = None,
    checkpoint_rows: int = 0,
) -> UserMemory:
    """Make a new user's directory; after a crash it is whole or absent."""
    record = UserRecord(user, secrets.token_bytes(32), clock.now_ns(), FORMAT)
    counters = CountersRecord(0, 0, 0, 0, 0, 0, None)

    def fill(txn: Transaction) -> None:
        txn.put(Table.META, META_USER, pack(META_USER, record))
        txn.put(Table.META, META_COUNTERS, pack(META_COUNTERS, counters))

    make = partial(create_environment, path, USER_TABLES, config, fill, keys)
    return _loaded(make, user, config, clock, checkpoint_rows, is_new=True)


def open_memory(
    path: Path,
    user: str,
    config: EngineConfig,
    clock: Clock,
    keys: KeyRing | None = None,
    checkpoint_rows: int = 0,
    *,
    early: bool = False,
    warmed: Warmed | None = None,
) -> UserMemory:
    """Open an existing user.  Raises `DataLoss`.

    checkpoint_rows: `IndexConfig.checkpoint_rows`.  early: let it answer early, where it can: all but questions
    has to `wait_whole`.  warmed: checkpoints that were read ahead.
    """
    # Beside the look at the store's structure.
    file = early_file(path, warmed) if early and checkpoint_rows and keys is None else None
    try:
        make = partial(Environment, path, USER_TABLES, config, keys, values_later=file is not None)
        return _loaded(make, user, config, clock, checkpoint_rows, early=file)
    except BaseException:
        if file is not None:
            file.close()
        raise


def _loaded(
    make: Callable[[], Environment],
    user: str,
    config: EngineConfig,
    clock: Clock,
    checkpoint_rows: int,
    *,
    is_new: bool = False,
    early: EarlyFile | None = None,
) -> UserMemory:
    """The user of an environment, which is closed where it cannot be had: LMDB lets nobody open
    it a second time.

    make: called here, so that no interrupt comes between the environment and who closes it.
    """
    try:
        environment = make()
    except MemoryError as error:
        raise _no_memory(user, error) from error
    try:
        kept = KeptIndex(environment, config, checkpoint_rows, early)
        memory = UserMemory(environment, user, clock, kept)
        if is_new:
            kept.put_off()  # what a new user writes now need not be kept at once
        return memory
    except MemoryError as error:
        environment.close()
        raise _no_memory(user, error) from error
    except BaseException:
        environment.close()
        raise


def _no_memory(user: str, error: MemoryError) -> Unavailable:
    return Unavailable(f"no memory to open the user: {error}", reason="OPEN_FAILED", field=user)
