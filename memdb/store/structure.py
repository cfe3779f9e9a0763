"""Looking at an environment before LMDB maps it.

LMDB trusts its pages: a page that was zeroed, cut off or put in another's place can end the process
that touches it.  So the file is read first by py-lmdb's own verifier (`lmdb.verify`), which walks every
page as plain bytes and hands nothing to LMDB: no damage can take the process with it, and no other
process is needed to find that out.  It reads headers and keys, not values: 0.2 s for 10,000 clips in
2 GB.

``DIR/CLEAN`` says that nothing was written since an orderly close::

    token   16 hexadecimal digits of the process that closed it
    size    bytes of the data file
    mtime   its time of change, ns

What this process closed itself is not looked at again, nor is a large file (`LARGE_BYTES`) that was
closed in order and not touched since.  The marker is removed before the first commit.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from lmdb import verify

from memdb.errors import DataLoss

MARKER: Final = "CLEAN"
LARGE_BYTES: Final = 1 << 30
_TOKEN: Final = secrets.token_hex(8)


def check_structure(data_file: Path) -> None:
    """Raise `DataLoss` (``CORRUPTED``) when the file cannot be mapped without danger."""
    token, *stated = _marker(data_file)
    if stated == _stat(data_file) and (token == _TOKEN or int(stated[0]) > LARGE_BYTES):
        return
    try:
        found: list[str] = verify.verify(str(data_file.parent))  # type: ignore[no-untyped-call]
    except verify.VerifyError as error:
        found = [str(error)]
    if found:
        raise DataLoss(
            f"LMDB's structure is damaged: {found[0]}",
            reason="CORRUPTED",
            field=data_file.parent.name,
            value=len(found),
        )


def mark_clean(data_file: Path) -> None:
    """Note an orderly close.  Not synced: a marker that a power loss takes costs one look."""
    text = " ".join((_TOKEN, *_stat(data_file)))
    (data_file.parent / MARKER).write_text(text + "\n", "ascii")


def mark_dirty(data_file: Path) -> None:
    """Note that something is going to be written."""
    (data_file.parent / MARKER).unlink(missing_ok=True)


def _marker(data_file: Path) -> list[str]:
    try:
        return (data_file.parent / MARKER).read_text("ascii", "replace").split()[:3] or [""]
    except OSError:
        return [""]


def _stat(data_file: Path) -> list[str]:
    stat = data_file.stat()
    return [str(stat.st_size), str(stat.st_mtime_ns)]
