"""Where an archive, an export or a restored directory may lie: nowhere that it, or what is there, would be lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from memdb.errors import InvalidArgument
from memdb.store.manifest_file import is_archive
from memdb.store.schema import CATALOG
from memdb.store.swap import STAGED, TRASH

_OWN: Final = ("users", CATALOG, TRASH, STAGED)


def check_place(target: Path, data: Path | None = None) -> None:
    """Refuse a place within an archive, which could not be restored any more, and one in a folder that the database in
    ``data``, or any where that is None, keeps for itself: it empties its trash, and takes what lies in ``users`` for
    a user.

    Raises `InvalidArgument` (``BAD_PATH``).
    """
    own = None if data is None else os.path.realpath(data)
    real = Path(os.path.realpath(target.parent))
    for folder in (real, *real.parents):
        if is_archive(folder) and (folder / "FORMAT").exists():
            raise _refusal(
                "this is within an archive, which could not be restored any more", target
            )
        # A folder of the operator's own beside them, such as `data/backups`, is left alone.
        if folder.name in _OWN and (
            (folder.parent / "FORMAT").exists() if own is None else str(folder.parent) == own
        ):
            raise _refusal("the database keeps this folder for itself", target)


def _refusal(why: str, target: Path) -> InvalidArgument:
    return InvalidArgument(why, reason="BAD_PATH", field="path", value=str(target))
