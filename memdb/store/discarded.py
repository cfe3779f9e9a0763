"""Removing what was discarded, with every byte of it: data keys first, and what lies behind links as well.

An operator may have put a user's directory, that of all, or a data file on another disk and left a link.
What such a link leads to goes too: memdb went through it, so what is to be removed lies there.  Of any
other link only the link goes.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from memdb.store.files import sync_directory
from memdb.store.schema import DATA_FILE
from memdb.store.shredding import KEY_FILE, shred_key

USER_NAME: Final = re.compile(r"\A[0-9a-f]{32}\Z")
"""Names of users' directories."""
DISCARDED_USER: Final = re.compile(r"\A(?:\.gone-)?([0-9a-f]{32})-[0-9a-f]{8}\Z")
"""Their names, in a group, once they were discarded."""
_DISCARDED: Final = re.compile(r"\A(?:\.gone-)?(?:[0-9a-f]{32}|users|catalog)-[0-9a-f]{8}\Z")
"""What discarded directories are called that may have been links."""


def remove_discarded(path: Path) -> None:
    """Remove what lies there, durably; nothing where nothing does."""
    if path.is_symlink():
        if _DISCARDED.match(path.name) is not None and path.is_dir():
            _empty(Path(os.path.realpath(path)))
        path.unlink()
    elif path.is_dir():
        for folder in {path, *(key.parent for key in path.rglob(f"*{KEY_FILE}*"))}:
            shred_key(folder)
        for link in [link for link in path.rglob("*") if link.is_symlink()]:
            if link.name == DATA_FILE:
                _remove_file(link)
            elif USER_NAME.match(link.name) is not None and link.is_dir():
                _empty(Path(os.path.realpath(link)))
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    sync_directory(path.parent)


def _empty(folder: Path) -> None:
    """Remove a user's files, and those of users below; whatever else an operator put there stays."""
    shred_key(folder)
    for entry in folder.iterdir():
        if USER_NAME.match(entry.name) is not None and entry.is_dir():
            _empty(Path(os.path.realpath(entry)))
            if entry.is_symlink():
                entry.unlink()
        elif entry.name == DATA_FILE:
            _remove_file(entry)
        elif entry.is_file():
            entry.unlink()
    sync_directory(folder)
    with suppress(OSError):  # something else is there, or mounted on it
        folder.rmdir()
        sync_directory(folder.parent)


def _remove_file(path: Path) -> None:
    """Remove a data file, wherever it is."""
    real = Path(os.path.realpath(path))
    if real.exists():
        real.unlink()
        sync_directory(real.parent)
    path.unlink(missing_ok=True)
