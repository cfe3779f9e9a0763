"""Looking at an environment before LMDB maps it.

LMDB trusts its pages: a page that was zeroed, cut off or put in another's place can end the process
that touches it.  So the file is read first by py-lmdb's own verifier (`lmdb.verify`, by way of
`memdb.store.quick_structure`), which walks every page as plain bytes and hands nothing to LMDB: no
damage can take the process with it, and no other process is needed to find that out.  It reads
headers and keys, not values: 0.1 s for 20,000 clips.  That look-ups find what the walk does, and that
pages can be written to, is looked at as well.

``DIR/CLEAN`` says that nothing was written since an orderly close::

    token   16 hexadecimal digits of the process that closed it
    size    bytes of the data file
    mtime   its time of change, ns
    newest  number of the newest transaction; "-" where that may be on its way to the disk
    older   XXH3 of the other meta page, its number left out; "-" as well

What this process closed itself is not looked at again, nor is a large file (`LARGE_BYTES`) that was
closed in order and not touched since.  The marker is removed before the first commit.

LMDB's meta pages have no checksum: one flipped bit can make the transaction before the newest one.
``newest`` tells that, where the file was closed in order; and ``older``, where the flip makes of that transaction
the one that would have come next.
"""

from __future__ import annotations

import os
import secrets
import struct
from pathlib import Path
from typing import BinaryIO, Final

import xxhash

from memdb.errors import DataLoss
from memdb.store.quick_structure import structure_errors

CLEAN_FILE: Final = "CLEAN"
LARGE_BYTES: Final = 1 << 30
_META_PAGE_SIZE: Final = 40
"""Where the first meta page says how large pages are (u32), from the begin of the file."""
_META_TXNID: Final = 144
"""Where a meta page has the number of its transaction (u64), from the begin of the page."""
_TOKEN: Final = secrets.token_hex(8)


def check_structure(data_file: Path, *, values: bool = True) -> None:
    """Raise `DataLoss` (``CORRUPTED``) when the file cannot be mapped without danger; without ``values``, mapped to be
    read alone (`memdb.store.quick_structure.structure_errors`).
    """
    token, *stated = _marker(data_file)[:3]
    if stated == _stat(data_file) and (token == _TOKEN or int(stated[0]) > LARGE_BYTES):
        return
    found = structure_errors(data_file, values=values)
    if found:
        raise DataLoss(
            f"LMDB's structure is damaged: {found[0]}",
            reason="CORRUPTED",
            field=data_file.parent.name,
            value=len(found),
        )


def check_newest(data_file: Path, transaction: int) -> None:
    """Raise `DataLoss` (``ROLLED_BACK``) when LMDB shows an older transaction than was closed on."""
    _, *stated, newest, older = [*_marker(data_file), *[""] * 5][:5]
    if stated != _stat(data_file) or not newest.isdigit() or transaction == int(newest):
        return
    # A newer one is no damage: power loss may bring the marker back, and the file's times with it.  But LMDB's two
    # meta pages are of one transaction and the next, and each is written with all that it tells, not its number alone.
    if transaction < int(newest) or not _are_written(data_file, older):
        raise DataLoss(
            f"LMDB shows transaction {transaction}, and {newest} was there when it was closed",
            reason="ROLLED_BACK",
            field=data_file.parent.name,
            value=transaction,
        )


def tells_newest(data_file: Path) -> bool:
    """Whether the file is as it was closed, with its newest transaction on the disk."""
    _, *stated, newest, _ = [*_marker(data_file), *[""] * 5][:5]
    return stated == _stat(data_file) and newest.isdigit()


def _are_written(data_file: Path, older: str) -> bool:
    """Whether the numbers of the meta pages differ by one, and the newer of them is not the page that ``older``
    tells, with another number.
    """
    (first, _), (second, newest) = sorted(_meta_pages(data_file))
    return second - first == 1 and newest != older


def _meta_pages(data_file: Path) -> list[tuple[int, str]]:
    """(number of its transaction, XXH3 of what comes before it) of both meta pages."""
    with data_file.open("rb") as file:
        (size,) = struct.unpack("<I", _at(file, _META_PAGE_SIZE, 4))
        pages = [_at(file, place * size, _META_TXNID + 8) for place in (0, 1)]
    return [
        (
            struct.unpack_from("<Q", page, _META_TXNID)[0],
            xxhash.xxh3_64_hexdigest(page[:_META_TXNID]),
        )
        for page in pages
    ]


def _at(file: BinaryIO, place: int, size: int) -> bytes:
    file.seek(place)
    return file.read(size).ljust(size, b"\0")


def mark_clean(data_file: Path, newest: int | None) -> None:
    """Note an orderly close, with the newest transaction if that is on the disk.

    Not synced: a marker that a power loss takes costs one look.
    """
    told = ("-", "-")
    if newest is not None:
        told = str(newest), min(_meta_pages(data_file))[1]
    text = " ".join((_TOKEN, *_stat(data_file), *told))
    fd = os.open(
        data_file.parent / CLEAN_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
    )
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(text + "\n")


def mark_dirty(data_file: Path) -> None:
    """Note that something is going to be written."""
    (data_file.parent / CLEAN_FILE).unlink(missing_ok=True)


def _marker(data_file: Path) -> list[str]:
    try:
        return (data_file.parent / CLEAN_FILE).read_text("ascii", "replace").split()[:5] or [""]
    except OSError:
        return [""]


def _stat(data_file: Path) -> list[str]:
    stat = data_file.stat()
    return [str(stat.st_size), str(stat.st_mtime_ns)]
