"""Replacing the master key of a directory: every data key is wrapped anew, no value is touched.

::

    marker: old, new  ─▶  catalog/KEY, users/*/KEY under the new, one after the other  ─▶  marker: new

Each step is a file written, synced and renamed.  Cut short anywhere, the same call goes on from
there; until it has ended the directory opens with neither key.

Copies of data keys that lie beside archives (`memdb.store.keycopies`) are wrapped anew where the caller
names their folders, at last: until then the old master key opens them.

A user whose data key is lost or damaged keeps what it has, and is named: nobody can read it before or
after, and it must not keep the others closed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from memdb import failpoints
from memdb.errors import DataLoss, FailedPrecondition, InvalidArgument, Unavailable
from memdb.eventlog import event_log
from memdb.store.directory import DataDirectory, key_ring
from memdb.store.files import leads_nowhere
from memdb.store.keycopies import KeyCopies
from memdb.store.masterkey import check_value, read_marker, write_marker
from memdb.store.system import system_errors
from memdb.types.paths import checked_text

log = event_log("memdb.store")


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did."""

    data_keys: int
    """All there are, the lost ones too."""
    wrapped_anew: int
    """By this call."""
    lost: tuple[str, ...]
    """Directories of users whose data keys neither master key opens; they were left as they are."""
    copies_wrapped_anew: int
    """By this call, in the folders of copies that were named."""


def rotate_master_key(
    path: str | os.PathLike[str],
    old_key: bytes,
    new_key: bytes,
    copies: Sequence[str | os.PathLike[str]] = (),
) -> Rotation:
    """Wrap every data key by the new master key instead of the old.

    copies: folders ``data-keys`` beside archives, whose copies are wrapped anew as well.

    Raises `InvalidArgument` (``BAD_MASTER_KEY``) where both keys are one, `FailedPrecondition`
    (``NOT_ENCRYPTED``, ``MASTER_KEY_MISMATCH``, those of `DataDirectory`, and ``NO_DIRECTORY`` of
    ``copies``, before anything is begun), `DataLoss`
    (``KEY_MISSING``, ``BAD_KEY_FILE``) for the catalog's data key, without which nothing opens: it has to
    be put back from its copy first; and as `memdb.store.system` what the system refuses.  What was done
    until then stays done.
    """
    if old_key == new_key:
        raise InvalidArgument(
            "the new master key is the old one", reason="BAD_MASTER_KEY", field="new_key_file"
        )
    folders = [Path(checked_text(folder, "data_keys")) for folder in copies]
    for folder in folders:
        try:
            is_there, why = folder.is_dir(), ""
        except OSError as error:
            # It may not be looked at, or its name is too long.
            is_there, why = False, f": {error.strerror}"
        if not is_there:
            raise FailedPrecondition(
                f"no folder with copies of data keys{why}",
                reason="NO_DIRECTORY",
                field="data_keys",
                value=str(folder),
            )
    directory = DataDirectory(path, create=False, master_key=old_key, rotating_to=new_key)
    try:
        with system_errors("path"):
            data_keys, anew, lost = _rotated(directory, old_key, new_key)
        old, new = key_ring(old_key), key_ring(new_key)
        with system_errors("data_keys"):
            count = sum(KeyCopies(folder).rewrap(old, new) for folder in folders)
        return Rotation(data_keys, anew, lost, count)
    finally:
        directory.close()


def _rotated(
    directory: DataDirectory, old_key: bytes, new_key: bytes
) -> tuple[int, int, tuple[str, ...]]:
    """(data keys, wrapped anew, lost) of the directory itself."""
    old, new = key_ring(old_key), key_ring(new_key)
    old.rewraps(directory.catalog, new)  # before anything is begun
    folders = [directory.catalog, *directory.user_folders()]
    for folder in folders:
        if leads_nowhere(folder):
            # Its key is not lost, and would be left under a master key that is given up.
            raise Unavailable(
                "it lies behind a link that leads nowhere: is its disk mounted?",
                reason="OPEN_FAILED",
                field=folder.name,
            )
    known = read_marker(directory.path)
    if known != [check_value(new_key)]:
        write_marker(directory.path, old_key, new_key)
    anew = 0
    lost: list[str] = []
    for folder in folders:
        failpoints.hit("rotation.key")
        try:
            anew += old.rewrap(folder, new)
        except DataLoss as error:
            log.exception(
                "a data key is lost, and left as it is",
                extra={"fields": {"directory": folder.name, "reason": error.reason}},
            )
            lost.append(folder.name)
    failpoints.hit("rotation.before_end")
    write_marker(directory.path, new_key)
    return len(folders), anew, tuple(lost)
