"""LMDB's environment from its directory, with what is looked at before anybody uses it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import lmdb

from memdb.errors import DataLoss, FailedPrecondition, Unavailable
from memdb.store.files import leads_nowhere
from memdb.store.lock_file import READERS_MAX, make_lock_file
from memdb.store.schema import DATA_FILE, Table
from memdb.store.shredding import KEY_FILE
from memdb.store.structure import check_newest
from memdb.store.system import system_errors, words_of
from memdb.store.transaction import Handles

_META_BYTES: Final = 2 * 4096


def checked_size(path: Path, *, encrypted: bool) -> int:
    """Bytes of the data file in directory ``path``, which is there and of the kind that is wanted.

    Raises `DataLoss` (``MISSING``, ``TRUNCATED``), `Unavailable` (``OPEN_FAILED``) and `FailedPrecondition`
    (``MASTER_KEY_REQUIRED``).
    """
    try:
        size = (path / DATA_FILE).stat().st_size
    except FileNotFoundError as error:
        if leads_nowhere(path) or leads_nowhere(path / DATA_FILE):
            raise Unavailable(
                "it lies behind a link that leads nowhere: is its disk mounted?",
                reason="OPEN_FAILED",
                field=path.name,
            ) from error
        raise DataLoss("the data file is missing", reason="MISSING", field=path.name) from error
    if size < _META_BYTES:
        # LMDB would take an empty file for a new environment.
        raise DataLoss("no meta pages", reason="TRUNCATED", field=path.name, value=size)
    if not encrypted and (path / KEY_FILE).exists():
        raise FailedPrecondition(
            "the environment is encrypted", reason="MASTER_KEY_REQUIRED", field=path.name
        )
    return size


def open_lmdb(
    path: Path, tables: Sequence[Table], map_size: int, size: int, *, older: bool, metasync: bool
) -> tuple[lmdb.Environment, Handles]:
    """LMDB's environment in directory ``path`` and its tables.

    size: bytes of the data file.  older: `Environment`.  metasync: whether a commit waits for its meta page.

    Raises `DataLoss` (``BAD_ENVIRONMENT``, ``TRUNCATED``, ``ROLLED_BACK``, ``MISSING``, ``CORRUPTED``) and
    `Unavailable` (``OPEN_FAILED``).
    """
    name = path.name
    with system_errors(name):
        make_lock_file(path)
    try:
        env = lmdb.open(
            str(path),
            map_size=map_size,
            max_dbs=len(Table) + 1,
            max_readers=READERS_MAX,
            readahead=True,
            create=False,
            metasync=metasync,
        )
    except (lmdb.InvalidError, lmdb.VersionMismatchError) as error:
        raise DataLoss("not an LMDB environment", reason="BAD_ENVIRONMENT", field=name) from error
    except lmdb.Error as error:
        raise translated(error, path, "OPEN_FAILED") from error
    try:
        _check_whole(env, name, size)
        if not older:
            with system_errors(name):
                check_newest(path / DATA_FILE, int(env.info()["last_txnid"]))
        env.reader_check()
        # Not created here: a table whose name is damaged must not turn up empty.
        with env.begin(write=True) as txn:
            handles: Handles = {
                table: env.open_db(table.value.encode(), txn=txn, create=False) for table in tables
            }
    except lmdb.NotFoundError as error:
        env.close()
        raise DataLoss("a table is missing", reason="MISSING", field=name) from error
    except lmdb.Error as error:
        env.close()
        raise translated(error, path, "OPEN_FAILED") from error
    except BaseException:
        env.close()
        raise
    return env, handles


def _check_whole(env: lmdb.Environment, name: str, size: int) -> None:
    """Raise `DataLoss` (``TRUNCATED``) where pages are missing: reading them would be SIGBUS."""
    needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if size < needed:
        raise DataLoss(
            f"data file needs {needed} bytes", reason="TRUNCATED", field=name, value=size
        )


def translated(error: lmdb.Error, path: Path, reason: str) -> DataLoss | Unavailable:
    """What LMDB says, in our words: damage is not worth a retry, the rest may pass."""
    said = words_of(error, path)
    if isinstance(error, (lmdb.CorruptedError, lmdb.PageNotFoundError)):
        return DataLoss(f"LMDB found damage: {said}", reason="CORRUPTED", field=path.name)
    return Unavailable(f"LMDB failed: {said}", reason=reason, field=path.name)


def unreadable(error: OSError, path: Path) -> Unavailable:
    """The data file of directory ``path`` cannot be read."""
    return Unavailable(
        f"the data file cannot be read: {error.strerror}",
        reason="OPEN_FAILED",
        field=path.name,
    )
