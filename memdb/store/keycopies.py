"""Copies of data keys beside backup archives, which hold none themselves.

What is in an archive of an encrypted directory can be read with a copy of its data key and the master
key that wraps it, and by nobody once one of the two is gone.  So an erasure reaches every archive,
wherever it lies, by this one small file.

``data-keys/NAME.ID`` in the folder of the archives; NAME of the environment's directory, ID of its
data key in hexadecimal digits::

    offset  size  field
         0     4  magic    b"mdbc"
         4     1  version  1
         5     1  state    1 kept, 0 destroyed
         6    16  check    kept: check value of the master key that wraps it; destroyed: zeros
        22    81  KEY      kept: what the directory has (`memdb.store.keyring`); destroyed: nothing
         -    16  digest   BLAKE2b of all before it and of the file's name

A destroyed key leaves this much behind, so that a restore tells who was erased from whose key is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memdb import failpoints
from memdb.errors import DataLoss, FailedPrecondition, NotFound, Unavailable
from memdb.store.erased import Erased
from memdb.store.files import TEMPORARY, sync_directory, write_file
from memdb.store.key_file import read_key_file
from memdb.store.shredding import overwrite

if TYPE_CHECKING:
    # It needs a library that is there only where something is encrypted.
    from memdb.store.keyring import KeyRing

FOLDER: Final = "data-keys"
_KEPT: Final = b"mdbc\x01\x01"
_DESTROYED: Final = b"mdbc\x01\x00"
_CHECK_BYTES: Final = 16
_DIGEST_BYTES: Final = 16


class KeyCopies:
    """The copies in one folder."""

    def __init__(self, folder: Path) -> None:
        """folder: usually `FOLDER` where archives lie."""
        self._folder = folder

    def keep(self, ring: KeyRing, environment: Path) -> str:
        """Have the data key of an environment, as it is wrapped now, durably; its id.

        Raises `DataLoss` (``KEY_DESTROYED``), and as `KeyRing.open`.
        """
        content = ring.read(environment)
        key_id, _ = ring.parse(content, environment.name)
        path = self._path(environment.name, key_id.hex())
        there = path.read_bytes() if path.exists() else b""
        if there == _spelled(path.name, _DESTROYED):
            raise DataLoss(
                "the user was erased, and its data key destroyed: its archives cannot be read",
                reason="KEY_DESTROYED",
                field=f"{FOLDER}/{path.name}",
            )
        kept = _spelled(path.name, _KEPT, ring.check, content)
        if there != kept:
            self._make()
            failpoints.hit("keycopies.before_write")
            write_file(path, kept)
        return key_id.hex()

    def fetch(self, name: str, key_id: str, rings: Sequence[KeyRing]) -> bytes:
        """The file ``KEY`` of an environment, wrapped by the first of ``rings``, whichever of them
        wraps the copy.

        Raises `NotFound` (``KEY_DESTROYED``) for a user that was erased, `DataLoss` (``KEY_MISSING``,
        ``KEY_UNREADABLE``, ``BAD_KEY_FILE``), `Unavailable` (``OPEN_FAILED``) for one that we may not read,
        `FailedPrecondition` (``MASTER_KEY_MISMATCH``) when none of them does.
        """
        path = self._path(name, key_id)
        field = f"{self._folder.name}/{path.name}"
        try:
            content = read_key_file(path, "the copy of a data key", field)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DataLoss(
                "there is no copy of this data key, and an archive holds none",
                reason="KEY_MISSING",
                field=field,
                value=str(self._folder),
            ) from error
        if content == _spelled(path.name, _DESTROYED):
            raise NotFound(
                "the data key was destroyed when its user was erased",
                reason="KEY_DESTROYED",
                field=field,
            )
        rest = content[len(_KEPT) : -_DIGEST_BYTES]
        check, key_file = rest[:_CHECK_BYTES], rest[_CHECK_BYTES:]
        if content != _spelled(path.name, _KEPT, check, key_file):
            raise _damaged(field)
        ring = next((ring for ring in rings if ring.check == check), None)
        if ring is None:
            raise FailedPrecondition(
                f"this data key is wrapped by another master key, of check value {check.hex()}: "
                "name that key as well (--former-key-file)",
                reason="MASTER_KEY_MISMATCH",
                field=field,
                value=check.hex(),
            )
        found, _ = ring.parse(key_file, name)
        if found.hex() != key_id:
            raise _damaged(field)
        return key_file if ring is rings[0] else ring.rewrapped(key_file, name, rings[0])

    def rewrap(self, old: KeyRing, new: KeyRing) -> int:
        """Wrap by ``new`` every copy that ``old`` wraps, durably; of how many that is.

        Those of keys that the directory has no more, as of before an upgrade, are wrapped anew by nobody
        else.  What is damaged, or wrapped by yet another, is left as it is.
        """
        count = 0
        for path in sorted(self._folder.glob("*.*")):
            if path.name.startswith(TEMPORARY):
                continue
            content = path.read_bytes()
            key_file = content[len(_KEPT) + _CHECK_BYTES : -_DIGEST_BYTES]
            if content != _spelled(path.name, _KEPT, old.check, key_file):
                continue
            try:
                wrapped = old.rewrapped(key_file, path.name.partition(".")[0], new)
            except DataLoss:
                continue
            failpoints.hit("keycopies.before_write")
            write_file(path, _spelled(path.name, _KEPT, new.check, wrapped))
            count += 1
        return count

    def destroy(
        self,
        erased: Iterable[Erased],
        living: Callable[[str], str | None],
        former: Callable[[str], Sequence[str]],
    ) -> tuple[str, ...]:
        """Destroy the copies of keys of users that were erased, durably; their files' names.

        living: the id of the data key that a directory's name has now, None when there is no such
        directory.  former: those that it had before, which open earlier archives of whoever has the
        name now.  They raise `DataLoss` or `Unavailable` when it cannot be told, and nothing under that name is
        touched.
        """
        erased = list(dict.fromkeys(erased))
        self._shred_unfinished(frozenset(entry.name for entry in erased))
        there = {path.name for path in self._folder.glob("*.*")} if self._made else set()
        gone: list[str] = []
        for entry in erased:
            if entry.key_id is None:
                found = {name for name in there if name.startswith(f"{entry.name}.")}
            else:
                found = there & {f"{entry.name}.{entry.key_id}"}
            if not found:
                continue
            try:
                alive = {living(entry.name)}
                if entry.key_id is None:
                    # Of which nobody knows what it was: not of those that the user has had since.
                    alive.update(former(entry.name))
            except (DataLoss, Unavailable):
                continue
            for name in found - {f"{entry.name}.{key_id}" for key_id in alive}:
                path = self._folder / name
                left = _spelled(name, _DESTROYED)
                if path.read_bytes() != left:
                    overwrite(path)
                    failpoints.hit("keycopies.overwritten")
                    write_file(path, left)
                    gone.append(name)
        return tuple(gone)

    def _shred_unfinished(self, names: frozenset[str]) -> None:
        """Destroy what a backup that was cut short left under temporary names, which may be whole keys,
        of directories with these names.
        """
        for left in self._folder.glob(f"{TEMPORARY}*") if self._made else ():
            if left.name.removeprefix(TEMPORARY).partition(".")[0] in names:
                overwrite(left)
                left.unlink()
                sync_directory(self._folder)

    @property
    def _made(self) -> bool:
        return self._folder.is_dir()

    def _make(self) -> None:
        if not self._made:
            self._folder.mkdir(mode=0o700)
            sync_directory(self._folder.parent)

    def _path(self, name: str, key_id: str) -> Path:
        return self._folder / f"{name}.{key_id}"


def _spelled(name: str, head: bytes, check: bytes = bytes(_CHECK_BYTES), key: bytes = b"") -> bytes:
    content = head + check + key
    return content + blake2b(content + name.encode(), digest_size=_DIGEST_BYTES).digest()


def _damaged(field: str) -> DataLoss:
    return DataLoss("the copy of a data key is damaged", reason="BAD_KEY_FILE", field=field)
