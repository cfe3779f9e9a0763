"""Making an environment anew from what is alive in it, so that no freed page keeps what was removed.

LMDB never clears a page that it frees, and a copy of its pages may carry the unused part of each
along.  So the entries are put, in order, into a new file, which then takes the place of the old::

    DIR/.new-data.mdb   written and synced   ─rename─▶   DIR/data.mdb

Where ``data.mdb`` is a link, all that happens where it leads: the bytes that are to go lie there.  A crash
leaves the old file or the new one; a half-made one is removed at the next compaction and by `sweep`.  What
is derived of the old (`memdb.store.derived`) goes before.  The environment must not be open meanwhile.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

import lmdb

from memdb import failpoints
from memdb.errors import DataLoss, ResourceExhausted, Unavailable
from memdb.store.derived import derived_bytes, drop_derived, sweep_derived
from memdb.store.disk import file_bytes_max
from memdb.store.files import TEMPORARY, real_file, sync_directory, sync_file
from memdb.store.live import live_bytes
from memdb.store.schema import DATA_FILE
from memdb.store.system import told_full, words_of

_TXN_BYTES: Final = 32 << 20
"""Bytes of one transaction of the copy."""
_MAP_SPARE: Final = 64 << 20
_TABLES_MAX: Final = 128
"""Tables of an environment, with those that a newer release made, which only adds."""
_COPY_SHARE: Final = 32
_COPY_SPARE: Final = 64 << 10
"""Beyond what is alive: pages that the copy's own transactions free, a 32nd and so many bytes."""


def compact(path: Path) -> int:
    """Compact the environment in directory ``path``; the bytes that the file shrank by.

    Raises `DataLoss` (``CORRUPTED``) when the old cannot be read whole, `ResourceExhausted`
    (``DISK_FULL``), `Unavailable` (``IO_FAILED``); the old stays as it was then.
    """
    old = real_file(path / DATA_FILE)
    new = _new_file(old)
    sweep(path)
    size = old.stat().st_size
    with suppress(lmdb.Error):  # damage, which the copy tells of
        check_room(path, _live(path, size))
    # What was made of the old may hold what is to go, and takes room.
    drop_derived(path)
    try:
        _copy(path, new, size)
    except DataLoss:
        sweep(path)
        raise
    except lmdb.Error as error:
        is_full = _met_a_full_disk(error, new.parent)  # before what takes the room goes
        sweep(path)
        said = words_of(error, path)
        if is_full:
            raise ResourceExhausted(
                "the file system was full before the compaction was done",
                reason="DISK_FULL",
                field=path.name,
            ) from error
        if isinstance(error, (lmdb.CorruptedError, lmdb.PageNotFoundError)):
            raise DataLoss(
                f"LMDB found damage: {said}", reason="CORRUPTED", field=path.name
            ) from error
        raise Unavailable(
            f"the environment cannot be compacted: {said}", reason="IO_FAILED", field=path.name
        ) from error
    try:
        sync_file(new)
    except OSError:
        sweep(path)  # it takes the room that is missing
        raise
    failpoints.hit("compact.before_rename")
    new.rename(old)
    failpoints.hit("compact.after_rename")
    sync_directory(old.parent)
    return size - old.stat().st_size


def check_room(path: Path, live: int) -> None:
    """Raise `ResourceExhausted` (``DISK_FULL``) unless so much can be written beside the environment now.

    live: bytes that it will hold.  What ``disk_free_bytes_min`` keeps free may be taken: a compaction
    gives back more.
    """
    needed = live + live // _COPY_SHARE + _COPY_SPARE
    file = real_file(path / DATA_FILE)
    free = shutil.disk_usage(file.parent).free
    if file.parent == path:
        free += derived_bytes(path)
    limit = file_bytes_max()
    if limit is not None:
        free = min(free, limit)
    if free < needed:
        raise ResourceExhausted(
            f"what is left is written anew beside the old, which needs {needed} bytes, and less is free",
            reason="DISK_FULL",
            field="free_bytes",
            value=free,
        )


def sweep(path: Path) -> None:
    """Remove what a crash left half-made: a compaction, or a file of what is derived."""
    _new_file(real_file(path / DATA_FILE)).unlink(missing_ok=True)
    sweep_derived(path)


def _met_a_full_disk(error: lmdb.Error, folder: Path) -> bool:
    """Whether the copy ended where the disk did.

    LMDB tells a write that the disk had room for half of as it tells a broken disk.  Of a file that is thrown away it
    is enough to look which it was.
    """
    if told_full(error):
        return True
    return os.strerror(errno.EIO) in str(error) and shutil.disk_usage(folder).free < _COPY_SPARE


def _new_file(old: Path) -> Path:
    """What is going to take its place."""
    return old.with_name(f"{TEMPORARY}{old.name}")


def _live(path: Path, size: int) -> int:
    """Bytes that the environment in ``path`` holds."""
    with (
        lmdb.open(str(path), map_size=size, max_dbs=_TABLES_MAX, create=False, lock=True) as source,
        source.begin() as txn,
    ):
        with txn.cursor() as names:
            known = [bytes(name) for name in names.iternext(keys=True, values=False)]
        return live_bytes(txn, [source.open_db(name, txn=txn, create=False) for name in known])


def _copy(path: Path, new: Path, size: int) -> None:
    with (
        lmdb.open(str(path), map_size=size, max_dbs=_TABLES_MAX, create=False, lock=True) as source,
        lmdb.open(
            str(new),
            map_size=2 * size + _MAP_SPARE,
            max_dbs=_TABLES_MAX,
            subdir=False,
            lock=False,
            sync=False,  # synced as a whole before it counts
            mode=0o600,
        ) as target,
        source.begin(buffers=True) as reading,
    ):
        with reading.cursor() as names:
            known = [bytes(name) for name in names.iternext(keys=True, values=False)]
        for name in known:
            source_table = source.open_db(name, txn=reading, create=False)
            target_table = target.open_db(name, create=True)
            writing = target.begin(write=True)
            try:
                pending = 0
                copied = 0
                with reading.cursor(source_table) as entries:
                    for key, value in entries.iternext(keys=True, values=True):
                        if not writing.put(key, value, db=target_table, append=True):
                            # LMDB leaves it out and goes on: what is hidden behind one damaged key would be gone.
                            raise _not_whole(path, "keys are out of order", name)
                        copied += 1
                        pending += len(value)
                        if pending > _TXN_BYTES:
                            writing.commit()
                            writing = target.begin(write=True)
                            pending = 0
                stated = int(reading.stat(source_table)["entries"])
                if copied != stated:
                    raise _not_whole(path, f"{copied} entries of {stated} are found", name)
                writing.commit()
            finally:
                writing.abort()  # no effect after a commit


def _not_whole(path: Path, what: str, table: bytes) -> DataLoss:
    where = table.decode("ascii", "replace")
    return DataLoss(f"{what} in {where}", reason="CORRUPTED", field=path.name)
