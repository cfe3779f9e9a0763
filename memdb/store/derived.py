"""The file beside an environment that holds what is derived from it and costs much to make.

::

    DIR/.new-INDEX   written and synced   ─rename─▶   DIR/INDEX

Nothing depends on it: it is made anew where it is missing, and dropped where it is not to be trusted
or holds what was removed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from memdb.store.files import TEMPORARY, sync_directory

DERIVED_FILE: Final = "INDEX"
DERIVED_NEW: Final = f"{TEMPORARY}{DERIVED_FILE}"


def write_derived(folder: Path, write: Callable[[BinaryIO], bool]) -> Path | None:
    """Where a new file lies, whole and synced, for `place_derived`; None where ``write`` returned False.

    What it raises leaves nothing behind.
    """
    temporary = folder / DERIVED_NEW
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            is_whole = write(file)
            if is_whole:
                file.flush()
                os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if is_whole:
        return temporary
    temporary.unlink(missing_ok=True)
    return None


def sync_so_far(file: BinaryIO) -> None:
    """Wait until the disk has what ``write`` of `write_derived` has written by now."""
    file.flush()
    os.fdatasync(file.fileno())


def place_derived(folder: Path) -> None:
    """Put what `write_derived` made in the place of what there was."""
    (folder / DERIVED_NEW).rename(folder / DERIVED_FILE)
    sync_directory(folder)


def drop_derived(folder: Path, *, durably: bool = True) -> None:
    """Remove the file, and what was half-made of one."""
    for name in (DERIVED_NEW, DERIVED_FILE):
        try:
            (folder / name).unlink()
        except FileNotFoundError:
            continue
        if durably:
            sync_directory(folder)


def derived_bytes(folder: Path) -> int:
    """Bytes that `drop_derived` would free."""
    try:
        return (folder / DERIVED_FILE).stat().st_size
    except FileNotFoundError:
        return 0


def sweep_derived(folder: Path) -> None:
    """Remove what a crash left half-made."""
    (folder / DERIVED_NEW).unlink(missing_ok=True)
