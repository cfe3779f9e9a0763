"""A file of entries of one size, behind magic and version, before a digest of all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from memdb.errors import DataLoss
from memdb.store.files import write_file

_DIGEST_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class EntryFile:
    """A kind of such files."""

    head: bytes
    entry_bytes: int
    what: str
    """It is, to whoever reads that it is damaged."""
    reason: str
    """Of the error then."""

    def read(self, path: Path, field: str) -> list[bytes]:
        """The entries, none where there is no file; raises `DataLoss` naming ``field``."""
        if not path.exists():
            return []
        content = path.read_bytes()
        middle = content[len(self.head) : -_DIGEST_BYTES]
        size = self.entry_bytes
        entries = [middle[at : at + size] for at in range(0, len(middle), size)]
        if len(middle) % size or content != self._spelled(entries):
            raise DataLoss(f"{self.what} is damaged", reason=self.reason, field=field)
        return entries

    def write(self, path: Path, entries: Sequence[bytes]) -> None:
        """Have these entries there, durably."""
        write_file(path, self._spelled(entries))

    def _spelled(self, entries: Sequence[bytes]) -> bytes:
        content = self.head + b"".join(entries)
        return content + blake2b(content, digest_size=_DIGEST_BYTES).digest()
