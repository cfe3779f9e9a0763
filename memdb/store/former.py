"""Data keys that a user had before: copies of them, which lie beside older archives, go when the user is
erased.

``DIR/users/NAME/FORMER``, only where a data key was replaced (`memdb.store.upgrade`)::

    offset  size  field
         0     4  magic    b"mdbf"
         4     1  version  1
         5  16 n  ids      of the data keys, oldest first
    5+16 n    16  digest   BLAKE2b of all before
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from memdb.store.entryfile import EntryFile

FORMER_FILE: Final = "FORMER"
_ID_BYTES: Final = 16
_FILE: Final = EntryFile(b"mdbf\x01", _ID_BYTES, "the list of former data keys", "BAD_FORMER")


def read_former(folder: Path) -> list[str]:
    """Ids, in hexadecimal digits, oldest first; raises `DataLoss` (``BAD_FORMER``)."""
    ids = _FILE.read(folder / FORMER_FILE, f"{folder.name}/{FORMER_FILE}")
    return [one.hex() for one in ids]


def write_former(folder: Path, ids: Sequence[str]) -> None:
    """Put the list there, durably; nothing where it is empty."""
    if ids:
        _FILE.write(folder / FORMER_FILE, [bytes.fromhex(one) for one in ids])
