"""Backup of a running database: consistent at one revision per user, while writers go on.

Each user is read in one transaction: its compacted copy, or what changed since the parent archive,
together with the counters that say of which revision it is.  Nothing holds all users at one moment,
since users share nothing; the catalog is copied last, so that it knows every space that a user does.

The archive grows in a temporary directory beside its name.  Files are synced, then the manifest,
then the name: a backup that was cut short has no manifest and not its name, and its remains go with
the next backup into the same folder.

Of an encrypted directory the archive holds no key.  Copies of the data keys lie beside it and are
brought up to date by every backup: those of new users come, those of erased users are destroyed,
and all are wrapped by the master key of now.
"""

from __future__ import annotations

import shutil
import stat
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from msgspec.structs import replace

import memdb
from memdb import deadline, failpoints
from memdb.clock import Clock
from memdb.engine.users import Users
from memdb.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from memdb.eventlog import event_log
from memdb.store.appearing import (
    FILE_NAME,
    check_free,
    checked_name,
    in_place,
    making,
    usable,
)
from memdb.store.archive import (
    ARCHIVE_FORMAT,
    DELTA,
    FULL,
    INCREMENTAL,
    PLAIN_FORMAT,
    UNCHANGED,
    Archive,
    FileEntry,
    Manifest,
    Parent,
    UserEntry,
    file_entry,
    write_manifest,
)
from memdb.store.archive_place import check_place
from memdb.store.assembly import identity_of, log_head_of
from memdb.store.catalog import Catalog
from memdb.store.delta import Base, NeedsFull, changed, write_delta
from memdb.store.derived import DERIVED_FILE
from memdb.store.directory import DataDirectory
from memdb.store.environment import Environment
from memdb.store.erased import ERASED_FILE, read_erased
from memdb.store.files import make_directories, sync_directory
from memdb.store.keycopies import FOLDER, KeyCopies
from memdb.store.lock_file import LOCK_FILE
from memdb.store.records import CountersRecord, unpack
from memdb.store.schema import DATA_FILE, FORMAT, META_COUNTERS, USER_TABLES, Table
from memdb.store.shredding import KEY_FILE
from memdb.store.structure import CLEAN_FILE
from memdb.store.system import system_errors
from memdb.store.transaction import Transaction
from memdb.types.backup import BackupReport

_TEMPORARY: Final = ".memdb-backup-"
_CHUNK_BYTES: Final = 1 << 20
_NOT_COPIED: Final = (DATA_FILE, LOCK_FILE, KEY_FILE, CLEAN_FILE, DERIVED_FILE)
"""Of a user's directory: what is copied otherwise, has no place in an archive, or is derived."""

_OF_ALL: Final = ("CLOSED", "FORKED")
"""What is wrong with the database, and not with one user of it."""

log = event_log("memdb.engine")


@dataclass(slots=True)
class _Growing:
    """An archive that is being written."""

    folder: Path
    parent: Archive | None
    copies: KeyCopies
    """Of its data keys, where it has any."""
    users: dict[str, UserEntry] = field(default_factory=dict)
    """By user id."""
    files: dict[str, FileEntry] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    """User ids."""
    erased_before: dict[str, int] = field(default_factory=dict)
    """How many users had been erased, since the backup began, when a user was copied."""

    def erased_since(self, erased: Sequence[str]) -> list[str]:
        """Users that were erased after they were copied: whoever has such a name now is another."""
        return [user for user in self.users if user in erased[self.erased_before[user] :]]

    def add_file(self, path: str) -> None:
        """Make a file durable and note it."""
        deadline.check()
        failpoints.hit("backup.file_before_sync")
        self.files[path] = file_entry(self.folder, path)
        failpoints.hit("backup.file_after_sync")

    def remove(self, user: str) -> None:
        """Leave a user out."""
        entry = self.users.pop(user)
        for path in entry.files:
            del self.files[path]
        if entry.files:
            shutil.rmtree(self.folder / "users" / entry.name)


class Backups:
    """Backups of one open database; one at a time."""

    def __init__(
        self, directory: DataDirectory, catalog: Catalog, users: Users, clock: Clock
    ) -> None:
        self._directory = directory
        self._catalog = catalog
        self._users = users
        self._clock = clock
        self._running = threading.Lock()

    def back_up(self, path: Path, parent: Path | None) -> BackupReport:
        """Write the archive ``path``, building upon ``parent`` where one is given.

        Raises `AlreadyExists` (``PATH_EXISTS``), `InvalidArgument` (``BAD_PATH``,
        ``PARENT_ELSEWHERE``), `FailedPrecondition` (``BACKUP_RUNNING``, ``NO_DIRECTORY``,
        ``WRONG_DATABASE``), `ResourceExhausted` (``DISK_FULL``), `Unavailable` (``IO_FAILED``),
        `DataLoss` (``BAD_ERASED``, ``KEY_MISSING`` and ``BAD_KEY_FILE`` of the catalog), and as
        `Archive` for the parent.
        """
        with usable(path):
            return self._backed_up(checked_name(path), parent)

    def _backed_up(self, target: Path, parent: Path | None) -> BackupReport:
        if FOLDER in (target.name, target.parent.name):
            raise InvalidArgument(
                f"{FOLDER} is where copies of data keys lie, and nothing else",
                reason="BAD_PATH",
                field="path",
                value=str(target),
            )
        check_place(target, self._directory.path)
        if not self._running.acquire(blocking=False):
            raise FailedPrecondition("a backup is running", reason="BACKUP_RUNNING", field="path")
        try:
            check_free(target)
            archive = None if parent is None else self._parent(parent, target)
            make_directories(target.parent, 0o700)
            with making(target, _TEMPORARY) as (folder, _):
                copies = KeyCopies(target.parent / FOLDER)
                return self._write(_Growing(folder, archive, copies), target)
        finally:
            self._running.release()

    def _parent(self, path: Path, target: Path) -> Archive:
        archive = Archive(checked_name(path))
        if archive.path.parent != target.parent:
            raise InvalidArgument(
                "the parent lies in another folder: a restore looks for it beside the archive",
                reason="PARENT_ELSEWHERE",
                field="parent",
                value=str(path),
            )
        if archive.secret() != self._directory.secret:
            raise FailedPrecondition(
                "the parent is an archive of another database",
                reason="WRONG_DATABASE",
                field="parent",
                value=str(path),
            )
        archive.chain(more=1)  # or what is made could never be restored
        return archive

    def _write(self, growing: _Growing, target: Path) -> BackupReport:
        folder = growing.folder
        (folder / "users").mkdir(mode=0o700)
        with self._catalog.noting_removed() as erased:
            for user in self._catalog.users():
                self._add_user(growing, user, erased)
            failpoints.hit("backup.before_catalog")
            self._copy_catalog(folder / "catalog", erased)
            growing.add_file(f"catalog/{DATA_FILE}")
            for name in ("FORMAT", "SECRET"):
                shutil.copyfile(self._directory.path / name, folder / name)
                growing.add_file(name)
            catalog_key = self._kept(growing, self._directory.catalog)
            for user in growing.erased_since(erased):
                growing.remove(user)
        self._destroy_keys(growing)
        filled = [f"users/{user.name}" for user in growing.users.values() if user.files]
        for made in (*filled, "users", "catalog"):
            sync_directory(folder / made)
        parent = growing.parent
        manifest = Manifest(
            archive=ARCHIVE_FORMAT if catalog_key else PLAIN_FORMAT,
            format=FORMAT,
            memdb=memdb.__version__,
            created_ns=self._clock.now_ns(),
            kind=FULL if parent is None else INCREMENTAL,
            parent=None if parent is None else Parent(parent.path.name, parent.id),
            damaged=tuple(self._directory.user_path(user).name for user in growing.damaged),
            users=tuple(growing.users.values()),
            files=tuple(growing.files.values()),
            data_key=catalog_key,
        )
        failpoints.hit("backup.before_manifest")
        identity = write_manifest(folder, manifest)
        failpoints.hit("backup.before_rename")
        with in_place(folder, target):
            failpoints.hit("backup.after_rename")
        kinds = [user.kind for user in manifest.users]
        return BackupReport(
            path=str(target),
            id=identity,
            parent=None if parent is None else parent.id,
            users=len(kinds),
            full=kinds.count(FULL),
            incremental=kinds.count(INCREMENTAL),
            unchanged=kinds.count(UNCHANGED),
            bytes_written=sum(file.bytes for file in manifest.files),
            damaged=tuple(growing.damaged),
        )

    def _copy_catalog(self, made: Path, erased: Sequence[str]) -> None:
        """Copy the catalog, without a name that was erased while it was copied."""
        made.mkdir(mode=0o700)
        while True:
            known = len(erased)
            self._catalog.copy(made)
            if len(erased) == known:
                return
            (made / DATA_FILE).unlink()

    def _add_user(self, growing: _Growing, user: str, erased: Sequence[str]) -> None:
        deadline.check()
        path = self._directory.user_path(user)
        made = growing.folder / "users" / path.name
        made.mkdir(mode=0o700)
        failpoints.hit("backup.user_before")
        try:
            with self._users.environment(user) as environment, environment.read() as txn:
                growing.erased_before[user] = len(erased)
                key_id = self._kept(growing, path)
                entry = _copied(growing, path.name, key_id, environment, txn)
                extra = _copied_files(growing, path)
        except (NotFound, DataLoss, FailedPrecondition, Unavailable) as error:
            if error.reason in _OF_ALL:
                raise
            for name in [name for name in growing.files if name.startswith(f"users/{path.name}/")]:
                del growing.files[name]
            shutil.rmtree(made)
            # Its backups of before stay; one user that is damaged, or whose disk fails, must not keep the others
            # from theirs.
            if not isinstance(error, NotFound):
                log.exception("a user is not in the backup", extra={"fields": {"user": user}})
                growing.damaged.append(user)
                with suppress(DataLoss, Unavailable):
                    self._kept(growing, path)  # those backups need it, by the master key of now
            return
        failpoints.hit("backup.user_after")
        growing.users[user] = entry = replace(entry, files=(*entry.files, *extra))
        if not entry.files:
            made.rmdir()

    def _kept(self, growing: _Growing, environment: Path) -> str:
        """Id of the data key of an environment, of which there is a copy now; empty for a plain one."""
        keys = self._directory.keys
        return "" if keys is None else growing.copies.keep(keys, environment)

    def _destroy_keys(self, growing: _Growing) -> None:
        """Have every erasure so far reach the copies of keys, and the archive tell of it."""
        directory = self._directory
        erased = read_erased(directory.path)
        if not erased:
            return
        gone = growing.copies.destroy(erased, directory.living_key, directory.former_keys)
        if gone:
            log.info("copies of data keys were destroyed", extra={"fields": {"copies": len(gone)}})
        shutil.copyfile(directory.path / ERASED_FILE, growing.folder / ERASED_FILE)
        growing.add_file(ERASED_FILE)


def _copied(
    growing: _Growing, name: str, key_id: str, environment: Environment, txn: Transaction
) -> UserEntry:
    """Write what the archive needs of one user's environment."""
    stored = txn.get(Table.META, META_COUNTERS)
    if stored is None:
        raise DataLoss("the user's counters are missing", reason="MISSING", field="meta")
    counters = unpack(Table.META, META_COUNTERS, stored, CountersRecord)
    data = f"users/{name}/{DATA_FILE}"
    entry = UserEntry(
        name=name,
        kind=FULL,
        revision=counters.revision,
        time_ns=counters.time_ns,
        next_clip_no=counters.next_clip_no,
        entries={table.value: txn.count(table) for table in USER_TABLES},
        identity=identity_of(txn),
        log_head=log_head_of(txn, counters.revision),
        files=(data,),
        data_key=key_id,
    )
    base = None if growing.parent is None else growing.parent.users.get(name)
    if base is not None and txn.has_unknown_tables():
        base = None  # no delta would tell what changed there
    if base is not None and _continues(txn, entry, base):
        if base.revision == entry.revision:
            return replace(entry, kind=UNCHANGED, files=())
        delta = f"users/{name}/{DELTA}"
        if _delta_written(growing.folder / delta, environment, txn, base, entry.revision):
            growing.add_file(delta)
            return replace(entry, kind=INCREMENTAL, files=(delta,))
    environment.copy(growing.folder / "users" / name, txn)
    growing.add_file(data)
    return entry


def _continues(txn: Transaction, entry: UserEntry, base: UserEntry) -> bool:
    """Whether the user is the one of the parent archive, with a history that goes on from there."""
    return (
        entry.identity == base.identity
        and entry.data_key == base.data_key
        and base.revision <= entry.revision
        and log_head_of(txn, base.revision) == base.log_head
        and (entry.revision != base.revision or entry.entries == base.entries)
    )


def _delta_written(
    path: Path, environment: Environment, txn: Transaction, base: UserEntry, revision: int
) -> bool:
    known = Base(base.revision, base.next_clip_no, base.entries)
    changes = changed(txn, known, revision)
    try:
        write_delta(
            path,
            changes,
            base.revision,
            revision,
            lambda size: environment.check_room(path.parent, size),
        )
    except (NeedsFull, DataLoss):
        # Damaged records lead nowhere; a full copy takes them as they are, and all the others.
        path.unlink(missing_ok=True)
        return False
    return True


def _copied_files(growing: _Growing, path: Path) -> list[str]:
    """Copy what else lies in the user's directory, but its key; the paths in the archive.

    Raises `Unavailable` (``IO_FAILED``) where it cannot be read, `FailedPrecondition` (``STRANGE_FILE``).
    """
    copied: list[str] = []
    with system_errors(path.name):
        found = [(source.name, source.lstat().st_mode) for source in sorted(path.iterdir())]
    for file, mode in found:
        if file in _NOT_COPIED or file.startswith("."):
            continue
        if not stat.S_ISREG(mode) or FILE_NAME.match(file) is None or file == DELTA:
            # Left out it would be missed when it is too late, and an archive that had it could not be read.
            raise FailedPrecondition(
                "a user's directory holds what an archive cannot: take it away",
                reason="STRANGE_FILE",
                field=path.name,
                value=file,
            )
        name = f"users/{path.name}/{file}"
        with system_errors(path.name):
            source = (path / file).open("rb")
        with source, (growing.folder / name).open("xb") as sink:
            while chunk := _read(source, path.name):
                sink.write(chunk)
        growing.add_file(name)
        copied.append(name)
    return copied


def _read(source: BinaryIO, field: str) -> bytes:
    """Some more of a file; of what the system says only this is the user's, and what is said of the archive is not."""
    with system_errors(field):
        return source.read(_CHUNK_BYTES)
