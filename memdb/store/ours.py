"""Whether what lies at a path may be opened as a data directory: it is no archive, nobody else's, and not half gone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from memdb.errors import FailedPrecondition
from memdb.store.manifest_file import is_archive
from memdb.store.masterkey import MARKER_FILE
from memdb.store.schema import CATALOG

_OURS: Final = ("LOCK", "SECRET", MARKER_FILE)
"""What may lie in a directory whose creation was cut short."""


def check_format_is_there(path: Path) -> None:
    """Refuse a database that has lost its format: it is not a directory of somebody else's, and nobody is to be
    told to empty it.
    """
    has_rest = (path / "SECRET").exists() and any(
        (path / name).is_dir() for name in (CATALOG, "users")
    )
    # Asked last: whoever makes the database meanwhile puts the format first.
    if has_rest and not (path / "FORMAT").exists():
        raise FailedPrecondition(
            "FORMAT is missing, and the rest of a database is there: every archive of this directory has a copy",
            reason="NOT_A_DATABASE",
            field="format",
            value=str(path),
        )


def check_no_archive(path: Path) -> None:
    """Refuse an archive: its files lie as a directory's do, so that it would open, and whoever opened it
    would have it changed.  It could not be restored any more.
    """
    if is_archive(path) and (path / "FORMAT").exists():
        raise FailedPrecondition(
            "this is an archive, which `memdb restore` makes a directory of; it is not opened itself",
            reason="IS_AN_ARCHIVE",
            field="path",
            value=str(path),
        )


def check_ours(path: Path) -> None:
    """Refuse a directory without a format that holds what we did not put there."""
    if (path / "FORMAT").exists():
        return
    strangers = sorted(
        entry.name
        for entry in path.iterdir()
        if entry.name not in _OURS and not entry.name.startswith(".new-")
    )
    # Asked again last: whoever makes the database meanwhile puts the format first.
    if strangers and not (path / "FORMAT").exists():
        raise FailedPrecondition(
            f"directory holds other files, for example {strangers[0]}",
            reason="NOT_A_DATABASE",
            field="path",
            value=str(path),
        )
