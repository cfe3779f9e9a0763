"""Replacing the master key of a directory: every data key is wrapped anew, no value is touched.

::

    marker: old, new  ─▶  catalog/KEY, users/*/KEY under the new, one after the other  ─▶  marker: new

Each step is a file written, synced and renamed.  Cut short anywhere, the same call goes on from
there; until it has ended the directory opens with neither key.
"""

from __future__ import annotations

import os

from memdb import failpoints
from memdb.store.directory import DataDirectory, key_ring
from memdb.store.masterkey import check_value, read_marker, write_marker
from memdb.store.system import system_errors


def rotate_master_key(
    path: str | os.PathLike[str], old_key: bytes, new_key: bytes
) -> tuple[int, int]:
    """(data keys, those that were wrapped anew by this call).

    Raises `FailedPrecondition` (``NOT_ENCRYPTED``, ``MASTER_KEY_MISMATCH``, and those of
    `DataDirectory`), `DataLoss` (``KEY_MISSING``, ``BAD_KEY_FILE``) naming the first file that
    neither key opens, and as `memdb.store.system` what the system refuses; what was done until then
    stays done.
    """
    directory = DataDirectory(path, create=False, master_key=old_key, rotating_to=new_key)
    try:
        with system_errors("path"):
            return _rotated(directory, old_key, new_key)
    finally:
        directory.close()


def _rotated(directory: DataDirectory, old_key: bytes, new_key: bytes) -> tuple[int, int]:
    known = read_marker(directory.path)
    if known != [check_value(new_key)]:
        write_marker(directory.path, old_key, new_key)
    old, new = key_ring(old_key), key_ring(new_key)
    folders = [directory.catalog, *sorted(directory.users.iterdir())]
    anew = 0
    for folder in folders:
        failpoints.hit("rotation.key")
        anew += old.rewrap(folder, new)
    failpoints.hit("rotation.before_end")
    write_marker(directory.path, new_key)
    return len(folders), anew
