"""A backup archive: its layout, its manifest, and the check that every byte is what was written.

Layout of an archive::

    ARCHIVE/manifest.json             what the archive holds; written last, so that without it there
                                      is no archive
    ARCHIVE/FORMAT, ARCHIVE/SECRET    as in the data directory
    ARCHIVE/ERASED                    likewise, where there is one
    ARCHIVE/catalog/data.mdb          compacted copy of the catalog
    ARCHIVE/users/NAME/data.mdb       kind full: compacted copy of the user's environment
    ARCHIVE/users/NAME/delta          kind incremental: what changed since the parent, see
                                      `memdb.store.delta`
    ARCHIVE/users/NAME/*              other files of the user's directory, as they are, but no KEY
    data-keys/                        beside archives of an encrypted directory: its data keys (see
                                      `memdb.store.keycopies`)

Values of an encrypted directory are archived as they are stored, and the manifest names the data key
of each user by its id.  A user of kind ``unchanged`` has no data of its own: the parent's is still
right.  The parent is another archive in the same folder, named and pinned by the SHA-256 of its
manifest, so an archive's id proves its whole chain.  The manifest names no user: names of directories
tell nothing.

The manifest is JSON in one canonical spelling, ``{"body": ..., "sha256": hex of the body}``; a file
that differs from that spelling by a byte is damaged.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from memdb.errors import DataLoss, FailedPrecondition, NotFound
from memdb.store.appearing import FILE_NAME
from memdb.store.files import sync_directory, sync_file
from memdb.store.manifest_file import MANIFEST, is_archive
from memdb.store.schema import FORMAT

ARCHIVE_FORMAT: Final = 2
"""Format of archives of an encrypted directory; a reader refuses a higher one."""
PLAIN_FORMAT: Final = 1
"""Format of all others: nothing in them is newer than that."""
DELTA: Final = "delta"
SECRET_FILE: Final = "SECRET"  # noqa: S105 - a name
SECRET_BYTES: Final = 32
CHAIN_MAX: Final = 1001
"""Archives that one restore goes back through: one more than 1000, as earlier releases made them."""
_MANIFEST_BYTES_MAX: Final = 1 << 30
_CHUNK: Final = 1 << 20
_USER_NAME: Final = re.compile(r"\A[0-9a-f]{32}\Z")
_KEY_ID: Final = re.compile(r"\A[0-9a-f]{32}\Z")

FULL: Final = "full"
INCREMENTAL: Final = "incremental"
UNCHANGED: Final = "unchanged"


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the archive."""

    path: str
    """Relative to the archive, with slashes."""
    bytes: int
    sha256: str


class UserEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One user as of its revision."""

    name: str
    """Of its directory."""
    kind: str
    """``full``, ``incremental`` or ``unchanged``."""
    revision: int
    time_ns: int
    """Commit time of the revision."""
    next_clip_no: int
    entries: dict[str, int]
    """Of each table."""
    identity: str
    """Digest of the user's own record: another user, or one made anew, has another."""
    log_head: str
    """Digest of the revision's log record: another history has another."""
    files: tuple[str, ...]
    """Paths of its files in the archive."""
    data_key: str = ""
    """Id of the data key, where it is encrypted."""


class Parent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The archive that this one builds upon."""

    name: str
    """Of its directory, beside this one."""
    id: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an archive holds."""

    archive: int
    """`ARCHIVE_FORMAT` where the directory is encrypted, else `PLAIN_FORMAT`."""
    format: int
    """Of the data directory, `memdb.store.schema.FORMAT`."""
    memdb: str
    """Version that wrote it."""
    created_ns: int
    kind: str
    """``full`` or ``incremental``."""
    parent: Parent | None
    damaged: tuple[str, ...]
    """Directories of users that could not be read and are not in the archive."""
    users: tuple[UserEntry, ...]
    files: tuple[FileEntry, ...]
    data_key: str = ""
    """Id of the catalog's data key, where it is encrypted."""


class Archive:
    """A whole archive, opened: manifest read and checked, files not."""

    def __init__(self, path: Path) -> None:
        """Raises `NotFound` (``NOT_AN_ARCHIVE``) where no manifest is: nothing, something else, or
        a backup that was cut short; `FailedPrecondition` (``FORMAT_NEWER``); `DataLoss`.
        """
        self.path = path
        self.manifest, self.id = _read_manifest(path)
        self.users = {user.name: user for user in self.manifest.users}
        self.files = {file.path: file for file in self.manifest.files}
        self._check_names()

    @property
    def is_encrypted(self) -> bool:
        """Whether it is of an encrypted directory."""
        return self.manifest.data_key != ""

    def parent(self) -> Archive | None:
        """The archive before.  Raises as the constructor, and `DataLoss` (``WRONG_PARENT``)."""
        named = self.manifest.parent
        if named is None:
            return None
        try:
            parent = Archive(self.path.resolve().parent / named.name)
        except NotFound as error:
            raise NotFound(
                f"{self.path.name} builds upon the archive {named.name}, which is not beside it",
                reason="NOT_AN_ARCHIVE",
                field="archive",
                value=str(self.path.resolve().parent / named.name),
            ) from error
        if parent.id != named.id:
            raise DataLoss(
                "the parent is another archive than the one this was made upon",
                reason="WRONG_PARENT",
                field=named.name,
            )
        return parent

    def secret(self) -> bytes:
        """The key of directory names; raises `DataLoss` (``MISSING``, ``TRUNCATED``, ``CHECKSUM``, ``UNREADABLE``)."""
        self._check_file(self.files[SECRET_FILE])
        return (self.path / SECRET_FILE).read_bytes()

    def chain(self, more: int = 0) -> list[Archive]:
        """This archive and those it builds upon, newest first.

        more: how many are going to build upon it.  Raises as `parent`, and `FailedPrecondition`
        (``CHAIN``) where all of them are more than a restore goes back through.
        """
        chain = [self]
        while (parent := chain[-1].parent()) is not None:
            chain.append(parent)
            if len(chain) > CHAIN_MAX:
                break
        if len(chain) + more > CHAIN_MAX:
            raise FailedPrecondition(
                "too many archives build upon each other: begin anew with a full one",
                reason="CHAIN",
                field="parent",
                value=CHAIN_MAX,
            )
        return chain

    def damage(self) -> Iterator[tuple[str, str, str]]:
        """(path, reason, what) of every file that is not what was written.

        The only check of the bytes: it reads all of them.
        """
        for file in self.manifest.files:
            wrong = _damage(self.path / file.path, file)
            if wrong is not None:
                yield file.path, *wrong
        wanted = {*self.files, MANIFEST}
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            if not path.is_dir() and name not in wanted:
                yield name, "STRANGE_FILE", "the manifest does not name it"

    def check(self) -> None:
        """Raise `DataLoss` naming the first file that is not what was written."""
        for path, reason, what in self.damage():
            raise DataLoss(what, reason=reason, field=f"{self.path.name}/{path}")

    def _check_file(self, file: FileEntry) -> None:
        wrong = _damage(self.path / file.path, file)
        if wrong is not None:
            raise DataLoss(wrong[1], reason=wrong[0], field=f"{self.path.name}/{file.path}")

    def copy(self, name: str, target: Path) -> None:
        """Copy one file out, durably; raises `DataLoss` when its bytes changed since `check`."""
        file = self.files[name]
        digest = hashlib.sha256()
        with (self.path / name).open("rb") as source, _created(target) as sink:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                sink.write(chunk)
            sink.flush()
            os.fsync(sink.fileno())
        if digest.hexdigest() != file.sha256:
            raise _checksum(f"{self.path.name}/{name}")

    def _check_names(self) -> None:
        """What the manifest names lies inside the archive, once, and is there for its user."""
        for file in self.manifest.files:
            if not all(FILE_NAME.match(part) for part in file.path.split("/")):
                raise _bad_manifest(self.path, f"a file has the name {file.path!r}")
        named = [path for user in self.manifest.users for path in user.files]
        for user in self.manifest.users:
            if _USER_NAME.match(user.name) is None:
                raise _bad_manifest(self.path, f"a user's directory has the name {user.name!r}")
            inside = f"users/{user.name}/"
            wanted = {FULL: {inside + "data.mdb"}, INCREMENTAL: {inside + DELTA}, UNCHANGED: set()}
            if (
                not all(path.startswith(inside) and path.count("/") == 2 for path in user.files)
                or not set(user.files) <= self.files.keys()
                or user.kind not in wanted
                or not wanted[user.kind] <= set(user.files)
                or (user.kind != FULL and self.manifest.parent is None)
                or (user.data_key == "") != (self.manifest.data_key == "")
            ):
                raise _bad_manifest(self.path, f"user {user.name} and its files do not agree")
        for key_id in (self.manifest.data_key, *(user.data_key for user in self.users.values())):
            if key_id and _KEY_ID.match(key_id) is None:
                raise _bad_manifest(self.path, "a data key's id is none")
        named_parent = self.manifest.parent
        if named_parent is not None and FILE_NAME.match(named_parent.name) is None:
            raise _bad_manifest(self.path, "the parent's name is none of a directory")
        if (
            len(self.users) != len(self.manifest.users)
            or len(self.files) != len(self.manifest.files)
            or len(named) != len(set(named))
            or not {"FORMAT", SECRET_FILE, "catalog/data.mdb"} <= self.files.keys()
            or self.files[SECRET_FILE].bytes != SECRET_BYTES
        ):
            raise _bad_manifest(self.path, "a file or user is missing or stands twice")


def file_entry(folder: Path, path: str) -> FileEntry:
    """Make a file of a growing archive durable and describe it."""
    full = folder / path
    full.chmod(0o600)
    sync_file(full)
    with full.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(path, full.stat().st_size, digest)


def write_manifest(folder: Path, manifest: Manifest) -> str:
    """Write and sync the manifest of a growing archive; the archive's id."""
    content, identity = _spelled(manifest)
    with _created(folder / MANIFEST) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync_directory(folder)
    return identity


def _created(path: Path) -> BinaryIO:
    """A new file that the owner alone may read."""
    return os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb"
    )


def _spelled(manifest: Manifest) -> tuple[bytes, str]:
    """The bytes of the manifest's file, and the archive's id."""
    body = msgspec.json.encode(manifest)
    digest = hashlib.sha256(body).hexdigest()
    return b'{"body":' + body + b',"sha256":"' + digest.encode() + b'"}\n', digest


class _Formats(msgspec.Struct, frozen=True):
    archive: int
    format: int


class _Outer(msgspec.Struct, frozen=True):
    body: msgspec.Raw
    sha256: str


def _read_manifest(path: Path) -> tuple[Manifest, str]:
    file = path / MANIFEST
    if not is_archive(path):
        raise NotFound(
            "no archive here: there is no manifest, which is written last",
            reason="NOT_AN_ARCHIVE",
            field="archive",
            value=str(path),
        )
    if file.stat().st_size > _MANIFEST_BYTES_MAX:
        raise _bad_manifest(path, "the manifest is too large")
    content = file.read_bytes()
    try:
        outer = msgspec.json.decode(content, type=_Outer)
        body = bytes(outer.body)
        if hashlib.sha256(body).hexdigest() != outer.sha256:
            raise _checksum(f"{path.name}/{MANIFEST}")
        formats = msgspec.json.decode(body, type=_Formats)
        if formats.archive > ARCHIVE_FORMAT or formats.format > FORMAT:
            raise FailedPrecondition(
                f"written by a newer memdb (archive format {formats.archive}, data format "
                f"{formats.format}; this one reads up to {ARCHIVE_FORMAT} and {FORMAT})",
                reason="FORMAT_NEWER",
                field="format",
                value=formats.format,
            )
        manifest = msgspec.json.decode(body, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _bad_manifest(path, "the manifest cannot be read") from error
    spelled, identity = _spelled(manifest)
    if spelled != content:
        raise _checksum(f"{path.name}/{MANIFEST}")
    return manifest, identity


def _damage(path: Path, file: FileEntry) -> tuple[str, str] | None:
    """(reason, what) is wrong with a file; None when nothing is."""
    try:
        return _wrong(path, file)
    except OSError as error:
        # Of this one file: what else is damaged is told as well.
        return "UNREADABLE", f"the file cannot be read: {error.strerror}"


def _wrong(path: Path, file: FileEntry) -> tuple[str, str] | None:
    if path.is_symlink() or not path.is_file():
        return "MISSING", "the file is missing"
    size = path.stat().st_size
    if size != file.bytes:
        return "TRUNCATED", f"the file has {size} bytes of {file.bytes}"
    with path.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
            return "CHECKSUM", "the bytes are not those that were written"
    return None


def _checksum(field: str) -> DataLoss:
    return DataLoss("the bytes are not those that were written", reason="CHECKSUM", field=field)


def _bad_manifest(path: Path, what: str) -> DataLoss:
    return DataLoss(what, reason="BAD_MANIFEST", field=f"{path.name}/{MANIFEST}")
