"""Files that must be there, whole, after power comes back: temp file, fsync, rename, fsync of the
directory.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

TEMPORARY: Final = ".new-"
"""How names begin of what is not whole yet."""


def sync_file(path: Path) -> None:
    """fsync an existing file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_directory(path: Path) -> None:
    """fsync a directory, so that renames and unlinks in it are durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def real_file(path: Path) -> Path:
    """The file where it lies, which an operator may have put elsewhere and left a link to."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def is_named(path: Path) -> bool:
    """Whether something has this name, be it a link that leads nowhere now: its disk may come back."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def leads_nowhere(path: Path) -> bool:
    """Whether it is a link to something that is not there."""
    return path.is_symlink() and not path.exists()


def sync_name(path: Path) -> None:
    """Make the name of ``path`` durable."""
    with suppress(PermissionError):  # may be written and not read: then it stays with its owner
        sync_directory(path.parent)


def make_directories(path: Path, mode: int = 0o777) -> None:
    """Have the directory ``path``, made with ``mode``, and those above it, under names that outlive a
    power loss.

    From the top, each name synced before anything is made below it: whoever is killed meanwhile
    leaves one name that is not, that of the lowest, and whoever goes on begins with that.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    sync_name(missing[-1].parent if missing else path)
    for folder in reversed(missing):
        folder.mkdir(mode=mode if folder == path else 0o777, exist_ok=True)
        sync_name(folder)


def write_file(path: Path, content: bytes) -> None:
    """Create or replace ``path`` with ``content``; readers see the old or the new, never a part.

    The owner alone may read it.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    sync_directory(path.parent)
