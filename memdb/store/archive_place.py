"""Where an archive, an export or a restored directory may lie: nowhere that it, or what is there, would be lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from memdb.errors import InvalidArgument
from memdb.store.erased import ERASED_FILE
from memdb.store.manifest_file import is_archive
from memdb.store.masterkey import MARKER_FILE
from memdb.store.schema import CATALOG
from memdb.store.swap import STAGED, TRASH

_OWN: Final = frozenset(
    ("users", CATALOG, TRASH, STAGED, "FORMAT", "LOCK", "SECRET", MARKER_FILE, ERASED_FILE)
)
"""What a directory may have, though it need not be there yet, or may be empty."""
_HALF_MADE: Final = ".new-"
"""What begins so is removed by the next opening."""


def check_place(target: Path, data: Path | None = None) -> None:
    """Refuse a place within an archive, which could not be restored any more, and one that the database in ``data``, or
    any where that is None, keeps for itself, or in such a folder: it empties its trash, takes what lies in ``users``
    for a user, and does not open where something else has the name of one of its files.

    Raises `InvalidArgument` (``BAD_PATH``).
    """
    own = None if data is None else os.path.realpath(data)
    real = Path(os.path.realpath(target.parent)) / target.name
    for place in (real, *real.parents):
        if place != real and is_archive(place) and (place / "FORMAT").exists():
            raise _refusal(
                "this is within an archive, which could not be restored any more", target
            )
        # A folder of the operator's own beside them, such as `data/backups`, is left alone.
        if (place.name in _OWN or place.name.startswith(_HALF_MADE)) and (
            (place.parent / "FORMAT").exists() if own is None else str(place.parent) == own
        ):
            raise _refusal("the database keeps this place for itself", target)


def _refusal(why: str, target: Path) -> InvalidArgument:
    return InvalidArgument(why, reason="BAD_PATH", field="path", value=str(target))
