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
from hashlib import blake2b
from pathlib import Path
from typing import Final

from memdb.errors import DataLoss
from memdb.store.files import write_file

FORMER_FILE: Final = "FORMER"
_HEAD: Final = b"mdbf\x01"
_ID_BYTES: Final = 16
_DIGEST_BYTES: Final = 16


def read_former(folder: Path) -> list[str]:
    """Ids, in hexadecimal digits, oldest first; raises `DataLoss` (``BAD_FORMER``)."""
    path = folder / FORMER_FILE
    if not path.exists():
        return []
    content = path.read_bytes()
    middle = content[len(_HEAD) : -_DIGEST_BYTES]
    ids = [middle[at : at + _ID_BYTES] for at in range(0, len(middle), _ID_BYTES)]
    if len(middle) % _ID_BYTES or content != _spelled(ids):
        raise DataLoss(
            "the list of former data keys is damaged",
            reason="BAD_FORMER",
            field=f"{folder.name}/{FORMER_FILE}",
        )
    return [one.hex() for one in ids]


def write_former(folder: Path, ids: Sequence[str]) -> None:
    """Put the list there, durably; nothing where it is empty."""
    if ids:
        write_file(folder / FORMER_FILE, _spelled([bytes.fromhex(one) for one in ids]))


def _spelled(ids: Sequence[bytes]) -> bytes:
    content = _HEAD + b"".join(ids)
    return content + blake2b(content, digest_size=_DIGEST_BYTES).digest()
