"""Replacing the master key of a directory: every data key is wrapped anew, no value is touched.

::

    marker: old, new  ─▶  catalog/KEY, users/*/KEY under the new, one after the other  ─▶  marker: new

Each step is a file written, synced and renamed.  Cut short anywhere, the same call goes on from
there; until it has ended the directory opens with neither key.

A user whose data key is lost or damaged keeps what it has, and is named: nobody can read it before or
after, and it must not keep the others closed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from memdb import failpoints
from memdb.errors import DataLoss
from memdb.eventlog import event_log
from memdb.store.directory import DataDirectory, key_ring
from memdb.store.masterkey import check_value, read_marker, write_marker
from memdb.store.system import system_errors

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


def rotate_master_key(path: str | os.PathLike[str], old_key: bytes, new_key: bytes) -> Rotation:
    """Wrap every data key by the new master key instead of the old.

    Raises `FailedPrecondition` (``NOT_ENCRYPTED``, ``MASTER_KEY_MISMATCH``, and those of
    `DataDirectory`), `DataLoss` (``KEY_MISSING``, ``BAD_KEY_FILE``) for the catalog's data key, without
    which nothing opens: it has to be put back from its copy first; and as `memdb.store.system` what
    the system refuses.  What was done until then stays done.
    """
    directory = DataDirectory(path, create=False, master_key=old_key, rotating_to=new_key)
    try:
        with system_errors("path"):
            return _rotated(directory, old_key, new_key)
    finally:
        directory.close()


def _rotated(directory: DataDirectory, old_key: bytes, new_key: bytes) -> Rotation:
    old, new = key_ring(old_key), key_ring(new_key)
    old.rewraps(directory.catalog, new)  # before anything is begun
    known = read_marker(directory.path)
    if known != [check_value(new_key)]:
        write_marker(directory.path, old_key, new_key)
    folders = [directory.catalog, *directory.user_folders()]
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
    return Rotation(len(folders), anew, tuple(lost))
