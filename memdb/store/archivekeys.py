"""The data keys that a restore needs: found, opened and wrapped anew before anything is made.

An archive of an encrypted directory holds none.  They lie beside it (`memdb.store.keycopies`), wrapped
by the master key of the newest backup into that folder, whichever master key there was when the
archive was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from memdb.errors import DataLoss, FailedPrecondition, MemdbError, NotFound
from memdb.store.archive import Archive, UserEntry
from memdb.store.directory import key_ring
from memdb.store.files import write_file
from memdb.store.keycopies import FOLDER, KeyCopies
from memdb.store.masterkey import read_master_key, write_marker
from memdb.store.schema import CATALOG
from memdb.store.shredding import KEY_FILE
from memdb.types.paths import checked_text


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Where the keys of an archive are found."""

    master: str = ""
    """File with the master key; empty for an archive of a plain directory."""
    former: Sequence[str] = ()
    """Files with earlier master keys, by which some copies may still be wrapped."""
    copies: str = ""
    """Folder with the copies of data keys; empty: beside the archive."""


@dataclass(slots=True)
class ArchiveKeys:
    """The data keys of an archive, by the names of directories."""

    master_key: bytes | None = None
    found: dict[str, bytes] = field(default_factory=dict)
    """The files ``KEY``."""
    erased: list[str] = field(default_factory=list)
    """Directories of users whose keys were destroyed."""
    failures: dict[str, MemdbError] = field(default_factory=dict)
    """Why others have none."""

    def lacks(self, name: str) -> bool:
        """Whether the directory's key is needed and cannot be had."""
        return self.master_key is not None and name not in self.found

    def write(self, environment: Path) -> None:
        """Put the key of an environment into its directory, durably; nothing for a plain one."""
        if self.master_key is not None:
            write_file(environment / KEY_FILE, self.found[environment.name])

    def mark(self, directory: Path) -> None:
        """Say in a data directory which master key opens it; nothing for a plain one."""
        if self.master_key is not None:
            write_marker(directory, self.master_key)


def keys_of(archive: Archive, users: Iterable[UserEntry], files: KeyFiles) -> ArchiveKeys:
    """The keys of the catalog and of ``users``; what is wrong with those of users is told in the answer.

    Raises `FailedPrecondition` (``MASTER_KEY_REQUIRED``, ``NOT_ENCRYPTED``, and for the catalog
    ``MASTER_KEY_MISMATCH``), `DataLoss` (for the catalog: ``KEY_MISSING``, ``KEY_UNREADABLE``, ``BAD_KEY_FILE``),
    `Unavailable` (``OPEN_FAILED``) for a copy that we may not read, whoever's it is, and as `read_master_key`.
    """
    named = "master_key_file"
    if archive.is_encrypted and not files.master:
        raise FailedPrecondition(
            "the archive is of an encrypted directory: name the file of its master key",
            reason="MASTER_KEY_REQUIRED",
            field=named,
        )
    if not archive.is_encrypted:
        if files.master or files.former:
            raise FailedPrecondition(
                "the archive is of a directory without a master key",
                reason="NOT_ENCRYPTED",
                field=named,
                value=files.master,
            )
        return ArchiveKeys()
    master_key = read_master_key(files.master, named)
    rings = [
        key_ring(master_key),
        *(key_ring(read_master_key(former, "former_key_file")) for former in files.former),
    ]
    where = (
        Path(checked_text(files.copies, "data_keys"))
        if files.copies
        else archive.path.resolve().parent / FOLDER
    )
    copies = KeyCopies(where)
    keys = ArchiveKeys(master_key)
    keys.found[CATALOG] = copies.fetch(CATALOG, archive.manifest.data_key, rings)
    for user in users:
        try:
            keys.found[user.name] = copies.fetch(user.name, user.data_key, rings)
        except NotFound:
            keys.erased.append(user.name)
        except (DataLoss, FailedPrecondition) as error:
            keys.failures[user.name] = error
    return keys
