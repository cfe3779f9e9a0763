"""Putting directories that were made anew in the place of the old ones, all of them or none.

::

    DIR/.upgrade/           made by `memdb.store.upgrade`
        users/, catalog/    the new
        ENCRYPTION          the new marker, where the new is encrypted
        READY               the line of DIR/FORMAT that is going to hold; its presence is the decision

Without READY the old hold, and whoever opens the database drops the rest.  With it the new hold, and
whoever opens the database first finishes the swap.  Meanwhile DIR/FORMAT says "memdb upgrading", which
a program that knows nothing of swaps refuses.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from memdb import failpoints
from memdb.store.files import sync_directory, write_file
from memdb.store.masterkey import MARKER_FILE

STAGED: Final = ".upgrade"
READY: Final = "READY"
TRASH: Final = "trash"
_SWAPPED: Final = ("catalog", "users")
_MEANWHILE: Final = b"memdb upgrading\n"


def decide(directory: Path, format_line: bytes) -> None:
    """From now on the new hold: what is staged is whole and synced."""
    failpoints.hit("upgrade.before_ready")
    write_file(directory / STAGED / READY, format_line)
    failpoints.hit("upgrade.after_ready")


def finish_swap(directory: Path) -> None:
    """Put the new in their places, if that was decided; goes on wherever it was cut short."""
    staged = directory / STAGED
    ready = staged / READY
    if not ready.exists():
        return
    format_line = ready.read_bytes()
    # Whoever named these may have been killed before the names were durable, and what follows is built
    # upon them.
    sync_directory(staged)
    sync_directory(directory)
    trash = directory / TRASH
    trash.mkdir(mode=0o700, exist_ok=True)
    write_file(directory / "FORMAT", _MEANWHILE)
    for name in _SWAPPED:
        if (staged / name).exists():
            if (directory / name).exists():
                (directory / name).rename(trash / f"{name}-{secrets.token_hex(4)}")
                sync_directory(directory)
                sync_directory(trash)
            failpoints.hit("upgrade.old_gone")
            (staged / name).rename(directory / name)
            sync_directory(directory)
            sync_directory(staged)
            failpoints.hit("upgrade.new_there")
    marker = staged / MARKER_FILE
    if marker.exists():
        # Copied, so that whoever goes on still sees that the new is encrypted.
        write_file(directory / MARKER_FILE, marker.read_bytes())
    else:
        (directory / MARKER_FILE).unlink(missing_ok=True)
        sync_directory(directory)
    failpoints.hit("upgrade.before_format")
    write_file(directory / "FORMAT", format_line)
    failpoints.hit("upgrade.after_format")
    drop_staged(directory)


def drop_staged(directory: Path) -> None:
    """Give up what is staged, if anything is."""
    staged = directory / STAGED
    if staged.exists():
        trash = directory / TRASH
        trash.mkdir(mode=0o700, exist_ok=True)
        staged.rename(trash / f"upgrade-{secrets.token_hex(4)}")
        sync_directory(directory)
        sync_directory(trash)
