"""Which data keys an encrypted directory has destroyed, for those who keep copies of them.

``DIR/ERASED``::

    offset  size  field
         0     4  magic    b"mdbx"
         4     1  version  1
         5  32 n  entries  name of the user's directory (16) + id of its data key (16), zeros where
                           the key could not be read any more
    5+32 n    16  digest   BLAKE2b of all before

Names and ids are pseudonyms: neither tells the user, nor anything without the key that is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from memdb.store.entryfile import EntryFile

ERASED_FILE: Final = "ERASED"
_NAME_BYTES: Final = 16
_ENTRY_BYTES: Final = 32
_FILE: Final = EntryFile(b"mdbx\x01", _ENTRY_BYTES, "the list of destroyed data keys", "BAD_ERASED")
_UNKNOWN: Final = bytes(_ENTRY_BYTES - _NAME_BYTES)


@dataclass(frozen=True, slots=True)
class Erased:
    """A user that was erased."""

    name: str
    """Of its directory."""
    key_id: str | None
    """Of its data key, in hexadecimal digits; None when it could not be read any more."""


def read_erased(directory: Path) -> list[Erased]:
    """Every user that was erased, oldest first; raises `DataLoss` (``BAD_ERASED``)."""
    return [_entry(entry) for entry in _FILE.read(directory / ERASED_FILE, ERASED_FILE)]


def note_erased(directory: Path, erased: Erased) -> None:
    """Add a user, durably; raises as `read_erased`."""
    key_id = _UNKNOWN if erased.key_id is None else bytes.fromhex(erased.key_id)
    entry = bytes.fromhex(erased.name) + key_id
    entries = _FILE.read(directory / ERASED_FILE, ERASED_FILE)
    if entry not in entries:
        _FILE.write(directory / ERASED_FILE, [*entries, entry])


def _entry(entry: bytes) -> Erased:
    name, key_id = entry[:_NAME_BYTES], entry[_NAME_BYTES:]
    return Erased(name.hex(), None if key_id == _UNKNOWN else key_id.hex())
