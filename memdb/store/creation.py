"""An environment comes into being whole: it is made in a temporary directory, synced and renamed, because
a crash while LMDB writes its first two meta pages leaves a file it refuses to open.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb

from memdb import failpoints
from memdb.config import EngineConfig
from memdb.errors import ResourceExhausted, Unavailable
from memdb.store.disk import check_disk
from memdb.store.environment import Environment
from memdb.store.files import sync_directory, sync_file
from memdb.store.lock_file import make_lock_file
from memdb.store.schema import DATA_FILE, Table
from memdb.store.system import refusal, system_errors, told_full, words_of
from memdb.store.transaction import Handles, Transaction

if TYPE_CHECKING:
    # They need a library that is there only where something is encrypted.
    from memdb.store.cipher import Cipher
    from memdb.store.keyring import KeyRing


def create_environment(
    path: Path,
    tables: Sequence[Table],
    config: EngineConfig,
    fill: Callable[[Transaction], None],
    keys: KeyRing | None = None,
) -> Environment:
    """Make an environment that holds what ``fill`` writes; after a crash, or where the system
    refuses any of it, it is whole or absent.

    Raises `ResourceExhausted` (``DISK_FULL``, ``FILES``), `Unavailable` (``OPEN_FAILED``,
    ``IO_FAILED``).
    """
    parent = path.parent
    temporary = parent / f".new-{path.name}-{secrets.token_hex(4)}"
    try:
        with system_errors(path.name):
            temporary.mkdir(mode=0o700)
            check_disk(parent, config)
            cipher = None if keys is None else keys.create(temporary, path.name)
            _fill(temporary, tables, fill, cipher)
            failpoints.hit("create.before_rename")
            temporary.rename(path)
    except lmdb.Error as error:
        shutil.rmtree(temporary, ignore_errors=True)
        check_disk(parent, config)
        if told_full(error):
            raise ResourceExhausted(
                "the file system was full before the environment was made",
                reason="DISK_FULL",
                field=path.name,
            ) from error
        raise Unavailable(
            f"environment cannot be made: {words_of(error, path)}",
            reason="OPEN_FAILED",
            field=path.name,
        ) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    failpoints.hit("create.after_rename")
    try:
        sync_directory(parent)
    except OSError as error:
        # Power may take its name: nobody must come upon it and rely on it.
        with suppress(OSError):
            path.rename(temporary)
        shutil.rmtree(temporary, ignore_errors=True)
        raise refusal(error, path.name) from error
    return Environment(path, tables, config, keys)


def _fill(
    folder: Path,
    tables: Sequence[Table],
    fill: Callable[[Transaction], None],
    cipher: Cipher | None,
) -> None:
    make_lock_file(folder)
    with (
        lmdb.open(str(folder), map_size=16 << 20, max_dbs=len(Table) + 1, mode=0o600) as env,
        env.begin(write=True) as txn,
    ):
        handles: Handles = {
            table: env.open_db(table.value.encode(), txn=txn, create=True) for table in tables
        }
        failpoints.hit("create.filling")
        fill(Transaction(txn, handles, cipher))
    sync_file(folder / DATA_FILE)
    sync_directory(folder)
