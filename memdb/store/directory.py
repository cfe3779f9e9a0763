"""The data directory: who has it open, which format it is, and where things lie.

::

    DIR/LOCK          flock'ed while open; holds the pid of the opener
    DIR/FORMAT        "memdb 2 2\\n": format, oldest format that may open it (`memdb.store.format`)
    DIR/SECRET        32 random bytes: the key of directory names
    DIR/ENCRYPTION    only where it is encrypted: check value of the master key (see
                      `memdb.store.masterkey`)
    DIR/catalog/      LMDB environment: spaces, users
    DIR/.../data.mdb, DIR/.../lock.mdb
                      in `catalog` and in each user's directory: LMDB's own
    DIR/.../CLEAN     only while nothing was written since it was closed in order (see
                      `memdb.store.structure`)
    DIR/catalog/COMPACT
                      only while the name of an erased user may stand in a freed page of it
    DIR/users/NAME/   LMDB environment of one user; NAME = hex of BLAKE2b(SECRET, user id), never
                      the id's text
    DIR/users/NAME/INDEX
                      only where it is not encrypted: rows of the index, derived (see
                      `memdb.index.checkpoint`)
    DIR/.../KEY       only where it is encrypted, in `catalog` and in each user's directory: the
                      wrapped data key (see `memdb.store.keyring`)
    DIR/.../FORMER    only where a data key was replaced: its id (see `memdb.store.former`)
    DIR/ERASED        only where it is encrypted: which data keys were destroyed (see
                      `memdb.store.erased`)
    DIR/trash/        what is being erased; emptied at every open
    DIR/users/.gone-NAME-DIGITS
                      likewise, where `users` lies on another file system
    DIR/.upgrade/     what is being made anew (`memdb.store.upgrade`)
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import threading
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memdb.errors import DataLoss, FailedPrecondition, Unavailable
from memdb.eventlog import event_log
from memdb.store.directory_lock import DirectoryLock
from memdb.store.discarded import DISCARDED_USER, USER_NAME, remove_discarded
from memdb.store.erased import Erased, note_erased
from memdb.store.files import (
    is_named,
    leads_nowhere,
    make_directories,
    sync_directory,
    write_file,
)
from memdb.store.format import FormatLine
from memdb.store.former import FORMER_FILE, read_former
from memdb.store.masterkey import MARKER_FILE, check_master_key, read_marker, write_marker
from memdb.store.ours import check_format_is_there, check_no_archive, check_ours
from memdb.store.schema import CATALOG, FORMAT
from memdb.store.shredding import KEY_FILE
from memdb.store.swap import TRASH, drop_staged, finish_swap
from memdb.store.system import FULL, unusable

if TYPE_CHECKING:
    from memdb.store.keyring import KeyRing

log = event_log("memdb.store")

USERS: Final = "users"
"""Where users' directories lie."""
_SECRET_BYTES: Final = 32
GONE: Final = ".gone-"
"""How a discarded user is called that lies in no trash: ``users`` is on another file system."""


def user_directory_name(secret: bytes, user: str) -> str:
    """Name of a user's directory below ``users/``."""
    return blake2b(user.encode(), key=secret, digest_size=16).hexdigest()


class DataDirectory:
    """An opened, locked data directory."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        create: bool = True,
        master_key: bytes | None = None,
        rotating_to: bytes | None = None,
        keep_staged: bool = False,
        lock: DirectoryLock | None = None,
    ) -> None:
        """Lock the directory, creating it if need be; encrypted when made with a master key.

        rotating_to: the key that replaces the master key (`memdb.store.rotation`).
        keep_staged: leave what an upgrade that was cut short has made, for it to go on with.
        lock: the directory's, where it is had already; closed with this one.

        Raises `FailedPrecondition`: ``DIRECTORY_LOCKED`` (naming the pid), ``FORMAT_NEWER``,
        ``NOT_A_DATABASE`` (other files are there, or ``create`` is false and nothing is),
        ``IS_AN_ARCHIVE``, ``EXTRA_MISSING``, those of `memdb.store.masterkey.check_master_key`, and what
        `memdb.store.system.unusable` makes of what the system says.
        """
        self.path = Path(path)
        self.keys = None if master_key is None else key_ring(master_key)
        try:
            self._open(create, master_key, rotating_to, keep_staged, lock)
        except OSError as error:
            raise unusable(error, str(self.path)) from error

    def _open(
        self,
        create: bool,
        master_key: bytes | None,
        rotating_to: bytes | None,
        keep_staged: bool,
        lock: DirectoryLock | None,
    ) -> None:
        check_format_is_there(self.path)
        if not create and not (self.path / "FORMAT").exists():
            raise FailedPrecondition(
                "no memdb here", reason="NOT_A_DATABASE", field="path", value=str(self.path)
            )
        check_no_archive(self.path)
        self._make()
        # Looked at before the lock is made: nothing is left in a directory of somebody else.
        check_ours(self.path)
        self._lock = lock or DirectoryLock.take(self.path)
        try:
            self._lock.sign()
            # A process that was killed may have named the format and not synced the name: what is made
            # beside it may outlive a power loss that it does not, and is a stranger's then.
            sync_directory(self.path)
            finish_swap(self.path)
            self.format = self._checked_format(master_key, rotating_to)
            self.users = self._folder(USERS)
            self.trash = self._folder(TRASH)
            self.catalog = self.path / CATALOG
            self._secret = self._read_secret()
            self._noting = threading.Lock()
            self._removing = threading.Lock()
            self._unnoted: set[Path] = set()
            """Discarded, and not noted yet, for want of room."""
            if not keep_staged:
                self.drop_staged()
            self._sweep()
        except BaseException:
            self._lock.close()
            raise

    @property
    def secret(self) -> bytes:
        """The key of directory names."""
        return self._secret

    def user_path(self, user: str) -> Path:
        """Where the user's environment lies, or would."""
        return self.users / user_directory_name(self._secret, user)

    def has_user(self, user: str) -> bool:
        """Whether the user's environment lies there, be it behind a link that leads nowhere now; raises `OSError`,
        `Unavailable` (``OPEN_FAILED``) where nobody can tell, since all users lie behind such a link.
        """
        return self._is_there(self.user_path(user))

    def _is_there(self, folder: Path) -> bool:
        if is_named(folder):
            return True
        if leads_nowhere(self.users):
            # Or all of them would be taken for erased.
            raise Unavailable(
                "users lie behind a link that leads nowhere: is its disk mounted?",
                reason="OPEN_FAILED",
                field="users",
            )
        return False

    def user_folders(self) -> list[Path]:
        """The directories of all users, by name; what else somebody left beside them is passed over."""
        return [path for path in sorted(self.users.iterdir()) if USER_NAME.match(path.name)]

    def discard(self, path: Path) -> Path:
        """Move a user's directory out of sight, durably; where it lies now, for `remove`.

        Its data key is noted as destroyed before: copies of it, which others keep, have to follow.
        """
        discarded = self.trash / f"{path.name}-{secrets.token_hex(4)}"
        try:
            self._note(self._erased(path, path.name))
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._unnoted.add(discarded)  # by `remove`: then there is room
        try:
            path.rename(discarded)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            aside = path.with_name(f"{GONE}{discarded.name}")
            if discarded in self._unnoted:
                self._unnoted.remove(discarded)
                self._unnoted.add(aside)
            path.rename(aside)
            discarded = aside
        sync_directory(path.parent)
        sync_directory(discarded.parent)
        return discarded

    def remove(self, discarded: Path) -> None:
        """Remove the bytes of what was discarded, durably; its data key first, so that copies of the
        rest are lost as well.
        """
        with self._removing:
            if not os.path.lexists(discarded):
                return  # a sweep was quicker
            told_by = discarded / (FORMER_FILE if self.keys is None else KEY_FILE)
            if discarded in self._unnoted or (
                DISCARDED_USER.match(discarded.name) and told_by.exists()
            ):
                self._note_discarded(discarded)
            self._unnoted.discard(discarded)
            remove_discarded(discarded)

    def _note_discarded(self, discarded: Path) -> None:
        """Have it noted before its data key goes: afterwards nobody could tell which it was."""
        named = DISCARDED_USER.match(discarded.name)
        assert named is not None, "only users are noted"
        erased = self._erased(discarded, named[1])
        try:
            self._note(erased)
        except OSError as error:
            if error.errno not in FULL:
                raise
            for entry in discarded.iterdir():
                if entry.name not in (KEY_FILE, FORMER_FILE):
                    entry.unlink()
            self._note(erased)

    def living_key(self, name: str) -> str | None:
        """Id of the data key of the user whose directory has this name, None when there is none;
        raises `DataLoss` (``KEY_MISSING``, ``BAD_KEY_FILE``), `Unavailable` (``OPEN_FAILED``), and as `has_user`.
        """
        folder = self.users / name
        if self.keys is None or not self._is_there(folder):
            return None
        return self.keys.unwrap(folder)[0].hex()

    def former_keys(self, name: str) -> list[str]:
        """Ids of the data keys that the user whose directory has this name had before, oldest first;
        raises `DataLoss` (``BAD_FORMER``).
        """
        return read_former(self.users / name)

    def _erased(self, folder: Path, name: str) -> list[Erased]:
        """What has to be known of a user that goes: every data key that it has, or had.

        folder: where its directory, called ``name``, lies now.
        """
        try:
            known = read_former(folder)  # a plain directory may have been encrypted once
            if self.keys is not None and folder.exists():
                known.append(self.keys.parse(self.keys.read(folder), name)[0].hex())
        except (DataLoss, Unavailable):  # whoever is erased is erased
            return [Erased(name, None)]
        return [Erased(name, one) for one in known]

    def _note(self, erased: list[Erased]) -> None:
        with self._noting:
            for one in erased:
                note_erased(self.path, one)

    def drop_staged(self) -> None:
        """Give up what an upgrade made that was cut short."""
        drop_staged(self.path)

    def empty_trash(self) -> None:
        """`remove` whatever was discarded; raises what refused the last that stays."""
        refused: OSError | DataLoss | None = None
        for discarded in (*self.trash.iterdir(), *self.users.glob(f"{GONE}*")):
            try:
                self.remove(discarded)
            except (OSError, DataLoss) as error:
                refused = error  # the others go all the same
        if refused is not None:
            raise refused

    def close(self) -> None:
        """Give the lock back."""
        self._lock.close()

    def _make(self) -> None:
        """Have the directory, under a name that outlives a power loss.

        That of one that is there already is synced as well: whoever made or restored it may have been
        killed before that.
        """
        make_directories(self.path.absolute(), 0o700)

    def _checked_format(self, master_key: bytes | None, rotating_to: bytes | None) -> FormatLine:
        marker = self.path / "FORMAT"
        if not marker.exists():
            check_ours(self.path)
            # The secret goes first: a directory with a format always has one.
            write_file(self.path / "SECRET", secrets.token_bytes(_SECRET_BYTES))
            # As does its encryption: it is never plain in part.
            if master_key is None:
                (self.path / MARKER_FILE).unlink(missing_ok=True)
            else:
                write_marker(self.path, master_key)
            made = FormatLine(FORMAT)
            write_file(marker, made.line())
            return made
        found = FormatLine.parse(marker.read_text("ascii", "replace"), str(self.path))
        found.check()
        try:
            check_master_key(self.path, master_key, rotating_to)
        except FailedPrecondition as error:
            if error.reason == "MASTER_KEY_MISMATCH" and self._belies_marker():
                raise DataLoss(
                    "the marker of an encrypted directory is damaged: it names another master key "
                    "than its data keys are wrapped by",
                    reason="BAD_ENCRYPTION",
                    field=MARKER_FILE,
                ) from error
            raise
        return found

    def _belies_marker(self) -> bool:
        """Whether the marker does not name the master key, which opens the catalog's data key."""
        if self.keys is None or self.keys.check in read_marker(self.path):
            return False
        try:
            return bool(self.keys.unwrap(self.path / CATALOG))
        except DataLoss:
            return False

    def _read_secret(self) -> bytes:
        path = self.path / "SECRET"
        secret = path.read_bytes() if path.exists() else b""
        if len(secret) != _SECRET_BYTES:
            raise DataLoss(
                "the key of directory names is missing or short",
                reason="BAD_SECRET",
                field="SECRET",
                value=len(secret),
            )
        return secret

    def _folder(self, name: str) -> Path:
        folder = self.path / name
        if not folder.exists():
            folder.mkdir(mode=0o700)
            sync_directory(self.path)
        return folder

    def _sweep(self) -> None:
        """Remove what a crash left half-made or half-removed, and make durable what it left named.

        Whoever is killed between naming something and syncing the name leaves a name that all who
        come later see, and that power loss takes away, with all that they put below it.
        """
        for folder in (self.path, self.users, self.trash):
            sync_directory(folder)
        for folder in (self.path, self.users):
            for entry in folder.glob(".new-*"):
                if entry.is_dir():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        try:
            self.empty_trash()
        except (OSError, DataLoss):
            # A sweep tries again.  Whoever is erased is erased: its bytes, on a disk that fails or that is mounted
            # for reading, must not keep all others closed.
            log.exception("bytes of erased users stay for now")


def key_ring(master_key: bytes) -> KeyRing:
    """Data keys under a master key; raises `FailedPrecondition` (``EXTRA_MISSING``)."""
    try:
        # Imported here: only who encrypts needs the library.
        from memdb.store.keyring import KeyRing  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "memdb":
            raise
        raise FailedPrecondition(
            f'{error.name} is not installed: encryption needs the extra "memdb[encryption]"',
            reason="EXTRA_MISSING",
            field="engine.master_key_file",
        ) from error
    return KeyRing(master_key)
