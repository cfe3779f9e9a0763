"""Restore: an archive, and those it builds upon, become a data directory.

Every checksum of the whole chain is compared before anything is made, and every data key opened.  The
directory grows under a temporary name beside its own, each environment walked in another process
(`memdb.store.assembly`) and held against the counts and digests of the manifest; it is renamed when
all of it is whole and synced.  Nothing is ever overwritten.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from memdb import failpoints
from memdb.config import EngineConfig
from memdb.errors import DataLoss, NotFound
from memdb.store.appearing import (
    check_free,
    in_place,
    making,
    usable,
)
from memdb.store.archive import (
    DELTA,
    FULL,
    INCREMENTAL,
    Archive,
    UserEntry,
)
from memdb.store.archive_place import check_place
from memdb.store.archivekeys import ArchiveKeys, KeyFiles, keys_of
from memdb.store.assembly import Assembler
from memdb.store.derived import DERIVED_FILE
from memdb.store.directory import user_directory_name
from memdb.store.disk import check_disk
from memdb.store.erased import ERASED_FILE
from memdb.store.files import make_directories, sync_directory
from memdb.store.manifest_file import MANIFEST
from memdb.store.schema import CATALOG_TABLES, DATA_FILE, USER_TABLES
from memdb.types.backup import ArchiveReport, RestoreReport
from memdb.types.ids import check_id
from memdb.types.paths import check_made, checked_text

NO_KEYS: Final = KeyFiles()
_TEMPORARY: Final = ".memdb-restore-"


def verify_archive(path: str | os.PathLike[str], *, keys: KeyFiles = NO_KEYS) -> ArchiveReport:
    """Compare every byte of an archive, and of those it builds upon, with the manifests, and open
    the data keys that it needs.

    Raises what keeps an archive from being read at all, as `memdb.store.archive.Archive` and
    `memdb.store.archivekeys.keys_of`.
    """
    with usable(path):
        return _verified(Archive(Path(checked_text(path, "archive"))).chain(), keys)


def _verified(chain: list[Archive], keys: KeyFiles) -> ArchiveReport:
    found = [
        (f"{archive.path.name}/{file}", reason, what)
        for archive in chain
        for file, reason, what in archive.damage()
    ]
    newest = chain[0]
    opened = keys_of(newest, newest.users.values(), keys)
    found += [
        (error.field or name, error.reason, error.message)
        for name, error in opened.failures.items()
    ]
    return ArchiveReport(
        id=newest.id,
        kind=newest.manifest.kind,
        archives=len(chain),
        users=len(newest.users),
        files=sum(len(archive.files) + 1 for archive in chain),
        bytes_checked=sum(
            (archive.path / MANIFEST).stat().st_size
            + sum(file.bytes for file in archive.files.values())
            for archive in chain
        ),
        damaged_files=tuple(found),
        erased=len(opened.erased),
    )


def restore(
    path: str | os.PathLike[str],
    to: str | os.PathLike[str],
    *,
    user: str | None = None,
    keys: KeyFiles = NO_KEYS,
    leave_out_lost: bool = False,
    config: EngineConfig | None = None,
) -> RestoreReport:
    """Make the data directory ``to``, which must not exist or be empty, of an archive; with ``user``
    of that one alone.

    keys: of an archive of an encrypted directory; the master key is that of the new directory too.
    leave_out_lost: go on without users whose data keys are lost, and name them, instead of raising.
    Users that were erased since are left out anyhow.  config: for what has to stay free of the disk.

    Raises `AlreadyExists` (``PATH_EXISTS``), `InvalidArgument` (``BAD_PATH``), `NotFound` (``NOT_AN_ARCHIVE``,
    ``USER_NOT_FOUND``;
    ``KEY_DESTROYED`` for a ``user`` that was erased), `FailedPrecondition`
    (``FORMAT_NEWER``, ``NO_DIRECTORY``), `ResourceExhausted` (``DISK_FULL``), `Unavailable` (``IO_FAILED``),
    `DataLoss` naming the file that is damaged, and as `memdb.store.archivekeys.keys_of`; nothing is made then.
    """
    check_made(checked_text(to, "to"), "to")
    target = Path(os.path.abspath(to))  # noqa: PTH100 - links of the parent stay
    with usable(target):
        check_free(target)
        check_place(target)
    with usable(path):
        chain = Archive(Path(checked_text(path, "archive"))).chain()
        for archive in chain:
            archive.check()
        newest = chain[0]
        users = list(newest.users.values()) if user is None else [_one(newest, user)]
        opened = keys_of(newest, users, keys)
    if not leave_out_lost:
        for error in opened.failures.values():
            raise error
    if user is not None and opened.erased:
        raise NotFound(
            "the user was erased, and its data key destroyed",
            reason="KEY_DESTROYED",
            field="user",
            value=user,
        )
    users = [entry for entry in users if not opened.lacks(entry.name)]
    config = config or EngineConfig()
    with usable(target):
        make_directories(target.parent)
    sizes = [_size(user, chain) for user in users]
    passing = [_passing(user, chain) for user in users]
    check_disk(target.parent, config, sum(sizes) + max(passing, default=0))
    with making(target, _TEMPORARY) as (folder, lock), Assembler(lock) as assembler:
        _fill(folder, chain, users, opened, assembler, config)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        failpoints.hit("restore.before_rename")
        with in_place(folder, target):
            failpoints.hit("restore.after_rename")
    return RestoreReport(
        str(target),
        newest.id,
        len(users),
        size,
        newest.manifest.damaged,
        tuple(opened.erased),
        tuple(opened.failures),
    )


def _one(archive: Archive, user: str) -> UserEntry:
    name = user_directory_name(archive.secret(), check_id(user, "user"))
    found = archive.users.get(name)
    if found is None:
        raise NotFound(
            "the archive has no such user", reason="USER_NOT_FOUND", field="user", value=user
        )
    return found


def _fill(
    folder: Path,
    chain: list[Archive],
    users: list[UserEntry],
    keys: ArchiveKeys,
    assembler: Assembler,
    config: EngineConfig,
) -> None:
    newest = chain[0]
    for name in ("catalog", "users"):
        (folder / name).mkdir(mode=0o700)
    newest.copy(f"catalog/{DATA_FILE}", folder / "catalog" / DATA_FILE)
    keys.write(folder / "catalog")
    assembler.assemble(
        folder / "catalog", CATALOG_TABLES, (), f"{newest.path.name}/catalog/{DATA_FILE}"
    )
    for user in users:
        failpoints.hit("restore.user_before")
        # Again: others write meanwhile.
        check_disk(folder, config, _size(user, chain) + _passing(user, chain))
        _restore_user(folder / "users" / user.name, user, chain, keys, assembler)
        failpoints.hit("restore.user_after")
    sync_directory(folder / "users")
    if ERASED_FILE in newest.files:
        newest.copy(ERASED_FILE, folder / ERASED_FILE)
    keys.mark(folder)
    # The secret before the format: a directory with a format always has one.
    for name in ("SECRET", "FORMAT"):
        newest.copy(name, folder / name)
    failpoints.hit("restore.before_sync")
    sync_directory(folder)


def _restore_user(
    made: Path, user: UserEntry, chain: list[Archive], keys: ArchiveKeys, assembler: Assembler
) -> None:
    base, deltas = _sources(user, chain)
    made.mkdir(mode=0o700)
    base.copy(f"users/{user.name}/{DATA_FILE}", made / DATA_FILE)
    keys.write(made)
    for name in user.files:
        # What is derived is made of what was restored, whatever the archive holds.
        if Path(name).name not in (DATA_FILE, DELTA, DERIVED_FILE):
            chain[0].copy(name, made / Path(name).name)
    failpoints.hit("restore.after_copy")
    named = f"{base.path.name}/users/{user.name}/{DATA_FILE}"
    found = assembler.assemble(made, USER_TABLES, deltas, named)
    for what in ("revision", "entries", "identity", "log_head"):
        if found[what] != getattr(user, what):
            raise DataLoss(
                f"{what} of the user is not what the manifest says",
                reason="WRONG_CONTENT",
                field=named,
            )


def _size(user: UserEntry, chain: list[Archive]) -> int:
    """Bytes that the user's environment will have, about: deltas repeat what they replace."""
    base, deltas = _sources(user, chain)
    return base.files[f"users/{user.name}/{DATA_FILE}"].bytes + sum(
        delta.stat().st_size for delta, _, _ in deltas
    )


def _passing(user: UserEntry, chain: list[Archive]) -> int:
    """Bytes that are there beside it while it is made: where deltas are applied it is then written anew."""
    return _size(user, chain) if _sources(user, chain)[1] else 0


def _sources(user: UserEntry, chain: list[Archive]) -> tuple[Archive, list[tuple[Path, int, int]]]:
    """The archive with the user's full copy, and the deltas (file, from, to) since, oldest first."""
    deltas: list[tuple[Path, int, int]] = []
    for index, archive in enumerate(chain):
        entry = archive.users.get(user.name)
        if entry is None:
            break
        if entry.kind == FULL:
            return archive, deltas[::-1]
        before = chain[index + 1].users.get(user.name) if index + 1 < len(chain) else None
        if before is None:
            break
        if entry.kind == INCREMENTAL:
            delta = archive.path / "users" / user.name / DELTA
            deltas.append((delta, before.revision, entry.revision))
    raise DataLoss(
        "no archive of the chain has a full copy of the user",
        reason="BAD_MANIFEST",
        field=f"{chain[0].path.name}/{MANIFEST}",
        value=user.name,
    )
