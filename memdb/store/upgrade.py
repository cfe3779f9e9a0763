"""Making a data directory anew: in the format of this release, and under another master key or none.

Every environment is copied, entry by entry, into one of its own below ``DIR/.upgrade``, then all of
them take the places of the old ones at once (`memdb.store.swap`).  Until then the old are only read.

::

    DIR/.upgrade/PLAN           what is being made: format and check value of the master key
    DIR/.upgrade/sources/NAME   newest transaction of the environment that users/NAME was copied from
    DIR/.upgrade/making/NAME    the copy while it is not whole

Cut short anywhere, the same call goes on: what was copied and whose source has not changed is kept.
The copy needs as much room again; that of the old is given back at the end.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memdb import failpoints
from memdb.config import EngineConfig
from memdb.errors import DataLoss, FailedPrecondition
from memdb.store.creation import create_environment
from memdb.store.directory import GONE, DataDirectory, key_ring
from memdb.store.disk import check_disk
from memdb.store.environment import Environment
from memdb.store.files import sync_directory, write_file
from memdb.store.format import FormatLine
from memdb.store.former import read_former, write_former
from memdb.store.masterkey import check_value, write_marker
from memdb.store.renewal import renewed
from memdb.store.schema import CATALOG, CATALOG_TABLES, DATA_FILE, FORMAT, USER_TABLES, Table
from memdb.store.swap import STAGED, decide, finish_swap
from memdb.store.system import system_errors
from memdb.store.transaction import Transaction

if TYPE_CHECKING:
    from memdb.store.keyring import KeyRing

Entry = tuple[Table, bytes, bytes | memoryview]
Convert = Callable[[Table, bytes, memoryview], Iterable[Entry]]
"""What becomes of an entry; keys and values in clear, values in their envelopes."""

_ANOTHER_KEY: Final = ("MASTER_KEY_REQUIRED", "MASTER_KEY_MISMATCH", "NOT_ENCRYPTED")
_EMPTIED: Final = (Table.LEDGER, Table.LOG)
_CHUNK_BYTES: Final = 8 << 20
"""Bytes of one transaction of the copy."""


@dataclass(frozen=True, slots=True)
class UpgradeReport:
    """What was made anew."""

    format: int
    environments: int
    copied: int
    """By this call; the others by one that was cut short."""
    bytes_before: int
    bytes_after: int


def upgrade(
    path: str | os.PathLike[str],
    *,
    master_key: bytes | None = None,
    new_master_key: bytes | None = None,
    target: FormatLine | None = None,
    convert: Convert | None = None,
) -> UpgradeReport:
    """Make the directory anew, readable with ``new_master_key``, or with none where that is None.

    target, convert: the format to reach, and how an entry gets there (`renewed`, by default).

    Raises what `DataDirectory` does (``FORMAT_NEWER`` also of one that it opens), `DataLoss` naming the
    value that cannot be read, `ResourceExhausted` (``DISK_FULL``), `Unavailable` (``IO_FAILED``,
    ``OPEN_FAILED``); the directory is as it was then.
    """
    target = target or FormatLine(FORMAT)
    try:
        directory = DataDirectory(path, create=False, master_key=master_key, keep_staged=True)
    except FailedPrecondition as error:
        if error.reason not in _ANOTHER_KEY:
            raise
        # A call that was cut short at its very end: then the new key opens it.
        return _ended(path, new_master_key, error)
    try:
        _check_not_older(directory, target)
        _check_swappable(directory)
        with system_errors(STAGED):
            staged = _begin(directory, target, new_master_key)
        new_keys = None if new_master_key is None else key_ring(new_master_key)
        sources = [
            (directory.catalog, staged / CATALOG, CATALOG_TABLES),
            *(
                (folder, staged / "users" / folder.name, USER_TABLES)
                for folder in directory.user_folders()
            ),
        ]
        before = sum(_data_bytes(old) for old, _, _ in sources)
        copied = 0
        for old, new, tables in sources:
            with system_errors(f"{STAGED}/{new.name}"):
                copied += _copied(old, new, tables, directory.keys, new_keys, convert)
        after = sum(_data_bytes(new) for _, new, _ in sources)
        with system_errors(STAGED):
            decide(directory.path, target.line())
            finish_swap(directory.path)
            directory.empty_trash()
        return UpgradeReport(target.number, len(sources), copied, before, after)
    finally:
        directory.close()


def _ended(
    path: str | os.PathLike[str], new_master_key: bytes | None, refusal: FailedPrecondition
) -> UpgradeReport:
    """What an earlier call reached; raises ``refusal`` where none did."""
    try:
        directory = DataDirectory(path, create=False, master_key=new_master_key, keep_staged=True)
    except FailedPrecondition:
        raise refusal from None
    try:
        folders = [directory.catalog, *directory.user_folders()]
        size = sum(map(_data_bytes, folders))
        return UpgradeReport(directory.format.number, len(folders), 0, size, size)
    finally:
        directory.close()


def _check_not_older(directory: DataDirectory, target: FormatLine) -> None:
    """Refuse a directory of a newer format, which may be open here all the same: what that one adds
    would be left out of the copy, and nobody told.

    Raises `FailedPrecondition` (``FORMAT_NEWER``).
    """
    if directory.format.number > target.number:
        raise FailedPrecondition(
            f"written by a newer memdb (format {directory.format.number}), which has what this one "
            f"(format {target.number}) does not copy: use that one's upgrade",
            reason="FORMAT_NEWER",
            field="format",
            value=directory.format.number,
        )


def _check_swappable(directory: DataDirectory) -> None:
    """Refuse what could not be swapped, or would be lost with the old.

    Raises `FailedPrecondition` (``STRANGE_FILE``, ``OTHER_FILE_SYSTEM``).
    """
    with system_errors("path"):
        users = {folder.name for folder in directory.user_folders()}
        strange = sorted(
            name
            for path in directory.users.iterdir()
            if (name := path.name) not in users and not name.startswith(GONE)
        )
        here = directory.path.lstat().st_dev
        mounted = [
            folder
            for folder in (directory.catalog, directory.users)
            if folder.lstat().st_dev != here or os.path.ismount(folder)  # follows no link
        ]
    if strange:
        raise FailedPrecondition(
            "something lies beside the directories of users, and would go with them: take it away first",
            reason="STRANGE_FILE",
            field="path",
            value=str(directory.users / strange[0]),
        )
    if mounted:
        raise FailedPrecondition(
            "another file system is mounted here, and the new could not take its place",
            reason="OTHER_FILE_SYSTEM",
            field="path",
            value=str(mounted[0]),
        )


def _begin(directory: DataDirectory, target: FormatLine, new_master_key: bytes | None) -> Path:
    """The folder for what is made; what a call with another plan left in it is dropped."""
    staged = directory.path / STAGED
    check = "plain" if new_master_key is None else check_value(new_master_key).hex()
    plan = target.line() + check.encode() + b"\n"
    if staged.exists() and _read(staged / "PLAN") != plan:
        directory.drop_staged()
    for folder in (staged, *(staged / name for name in ("users", "making", "sources"))):
        folder.mkdir(mode=0o700, exist_ok=True)
    for left in (staged / "making").iterdir():
        shutil.rmtree(left)
    if new_master_key is not None:
        write_marker(staged, new_master_key)
    write_file(staged / "PLAN", plan)
    sync_directory(directory.path)
    return staged


def _copied(
    old: Path,
    new: Path,
    tables: Sequence[Table],
    old_keys: KeyRing | None,
    new_keys: KeyRing | None,
    convert: Convert | None,
) -> bool:
    """Whether an environment was copied: not where that was done before and it has not changed."""
    staged = new.parent.parent if new.name != CATALOG else new.parent
    mark = staged / "sources" / new.name
    making = staged / "making" / new.name
    size = _data_bytes(old)
    # No quota but the disk: a copy is about as large as what is alive in its source.
    config = EngineConfig(map_bytes_max=max(EngineConfig().map_bytes_max, 4 * size))
    check_disk(staged, config, size)
    source = Environment(old, tables, config, old_keys)
    try:
        state = str(source.newest_transaction()).encode()
        if new.exists():
            if _read(mark) == state:
                sync_directory(new.parent)  # it may have been cut short before this
                return False
            shutil.rmtree(new)
        target = create_environment(making, tables, config, lambda _: None, new_keys)
        try:
            with source.read() as reading:
                for chunk in _chunks(_entries(reading, tables, convert)):
                    _put(target, chunk)
                if convert is None:
                    _compare_counts(reading, target, tables, old.name)
        finally:
            target.close()
        if old_keys is not None and new.name != CATALOG:
            write_former(making, [*read_former(old), old_keys.unwrap(old)[0].hex()])
        else:
            write_former(making, read_former(old))
        write_file(mark, state)
        failpoints.hit("upgrade.before_copied")
        making.rename(new)
        failpoints.hit("upgrade.after_copied")
        sync_directory(making.parent)
        sync_directory(new.parent)
        return True
    finally:
        source.close()


def _entries(
    reading: Transaction, tables: Sequence[Table], convert: Convert | None
) -> Iterator[Entry]:
    for table in tables:
        for key, value in reading.scan(table):
            if not len(value) and not _is_emptied(reading, table, key):
                raise DataLoss(
                    "a value could not be decrypted",
                    reason="CHECKSUM",
                    field=f"{table.value}/{key.hex()}",
                )
            yield from (convert or renewed)(table, key, value)


def _is_emptied(reading: Transaction, table: Table, key: bytes) -> bool:
    """Whether an erasure left nothing of an entry but its key, which it does to what was damaged."""
    try:
        return table in _EMPTIED and len(reading.get(table, key) or b"") == 0
    except DataLoss:
        return False


def _chunks(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    chunk: list[Entry] = []
    size = 0
    for entry in entries:
        chunk.append(entry)
        size += len(entry[1]) + len(entry[2])
        if size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _put(target: Environment, chunk: list[Entry]) -> None:
    def change(txn: Transaction) -> tuple[bool, None]:
        for table, key, value in chunk:
            txn.put(table, key, value)
        return True, None

    target.write(change, 2 * sum(len(key) + len(value) for _, key, value in chunk))


def _compare_counts(
    reading: Transaction, target: Environment, tables: Sequence[Table], name: str
) -> None:
    with target.read() as made:
        for table in tables:
            if table is not Table.PYRAMID and made.count(table) != reading.count(table):
                raise DataLoss(
                    f"{reading.count(table)} entries gave {made.count(table)}",
                    reason="KEY_ORDER",
                    field=f"{name}/{table.value}",
                )


def _data_bytes(folder: Path) -> int:
    try:
        return (folder / DATA_FILE).stat().st_size
    except FileNotFoundError:
        return 0


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
