"""A user of whose own file a page cannot be read while it is copied."""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore
from memdb.store.schema import DATA_FILE

PAGE = mmap.PAGESIZE
OVERFLOW = 4


def long_value(data_file: Path) -> tuple[int, int]:
    """The first page of the longest value that has pages of its own, and how many it has."""
    content = data_file.read_bytes()
    found: list[tuple[int, int]] = []
    for page in range(2, len(content) // PAGE):
        number, _, flags, pages = struct.unpack_from("<QHHI", content, page * PAGE)
        if number == page and flags == OVERFLOW:
            found.append((pages, page))
    pages, first = max(found)
    return first, pages


@contextmanager
def unread(data_file: Path, first: int, pages: int) -> Iterator[None]:
    """Nobody can read some pages of a file by its map, as on a disk that gives them no more."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    (of_file,) = (line for line in maps if line.endswith(f" {data_file.resolve()}"))
    place = ctypes.c_void_p(int(of_file.split("-")[0], 16) + first * PAGE)
    size = ctypes.c_size_t(pages * PAGE)
    system = ctypes.CDLL(None)
    assert system.mprotect(place, size, 0) == 0
    try:
        yield
    finally:
        assert system.mprotect(place, size, mmap.PROT_READ) == 0


def test_the_others_are_in_the_backup(db: EmbeddedDatabase, folder: Path) -> None:
    """Nothing is wrong with the archive's disk, as little as where a page is read before it is written."""
    for name in ("alice", "bob"):
        db.user(name).put("long", "v" * 250_000)
    data_file = db._directory.user_path("alice") / DATA_FILE
    first, pages = long_value(data_file)
    # Its first page is read for its number, which would end this process: LMDB writes the others as they lie there.
    with unread(data_file, first + 1, pages - 1):
        report = db.backup(folder / "a0")
    assert (report.users, report.damaged) == (1, ("alice",))
    assert restore(folder / "a0", folder / "copy").users == 1
    assert db.backup(folder / "a1").users == 2
