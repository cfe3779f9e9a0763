"""Destroying the data key of an environment, which makes every copy of its data unreadable."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from memdb import failpoints
from memdb.store.files import sync_directory

KEY_FILE: Final = "KEY"


def shred_key(folder: Path) -> None:
    """Overwrite the data key in ``folder`` and remove it, durably; nothing when there is none."""
    # A crash while it was replaced may have left it under its temporary name as well.
    for path in (folder / KEY_FILE, *folder.glob(f".new-{KEY_FILE}-*")):
        _shred(path)
    failpoints.hit("shred.after")


def _shred(path: Path) -> None:
    try:
        overwrite(path)
    except FileNotFoundError:
        return
    path.unlink()
    sync_directory(path.parent)


def overwrite(path: Path) -> None:
    """Have zeros where the file's bytes were, durably; raises `FileNotFoundError`."""
    size = path.stat().st_size
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, bytes(size))
        os.fsync(fd)
    finally:
        os.close(fd)
