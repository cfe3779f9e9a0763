"""Whether the disk, and the limit on one file, have room for what is to be written, and for what must stay free."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Final

from memdb.config import EngineConfig
from memdb.errors import ResourceExhausted

GIVING_UP_BYTES: Final = 4 << 20
"""That have to be free for what makes room: it writes anew the pages that it deletes from, into freed ones where
there are any.  LMDB takes a write that the disk has room for half of for a disk that is broken, and so must we: no more
is written until the user is opened anew.
"""


def check_disk(
    folder: Path, config: EngineConfig, bytes_hint: int = 0, *, gives_up: bool = False
) -> None:
    """Raise `ResourceExhausted` (``DISK_FULL``) where a write would eat into the reserve.

    gives_up: it makes room, and the reserve is there for it, but for a rest: `GIVING_UP_BYTES`, of a small
    reserve half.

    Where the system does not say what is free, the write itself will find out whether there is room;
    and who asks what an error of a write meant must not hear of another one instead.
    """
    try:
        fs = os.statvfs(folder)
    except OSError:
        return
    free = fs.f_bavail * fs.f_frsize
    reserve = config.disk_free_bytes_min
    if gives_up:
        reserve = min(reserve // 2, GIVING_UP_BYTES)
    if free < reserve + bytes_hint:
        raise ResourceExhausted(
            "the file system is full: less is free than "
            + (f"{reserve} bytes" if gives_up else f"engine.disk_free_bytes_min ({reserve})")
            + f" and what is to be written ({bytes_hint})",
            reason="DISK_FULL",
            field="free_bytes",
            value=free,
        )


def file_bytes_max() -> int | None:
    """Bytes that one file may have (``ulimit -f``), None where there is no limit."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def check_growth(file: Path, bytes_hint: int) -> None:
    """Raise `ResourceExhausted` (``DISK_FULL``) where a commit may not let an environment's file grow as it has to.

    A write that ends half-way at the limit LMDB takes for a broken disk, see `GIVING_UP_BYTES`: so much is left, or of
    a small limit a quarter.
    """
    limit = file_bytes_max()
    if limit is None:
        return
    try:
        size = file.stat().st_size
    except OSError:
        return
    needed = bytes_hint + min(GIVING_UP_BYTES, limit // 4)
    if limit - size < needed:
        raise ResourceExhausted(
            f"a file may have {limit} bytes here (ulimit -f), of which a commit needs {needed}",
            reason="DISK_FULL",
            field="file_bytes",
            value=size,
        )
