"""Folders in memory, for tests that are about no disk: on one, most of their time is waiting for what they sync."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MEMORY: Final = Path("/dev/shm")
ROOM_BYTES: Final = 1 << 30
"""Less than that is there in many a container: then it is the disk."""


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """An empty folder on a memory file system, where there is one with room; removed at the end."""
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM_BYTES
    made = Path(tempfile.mkdtemp(prefix="memdb-", dir=MEMORY if has_room else None))
    try:
        yield made
    finally:
        # What a test took the rights of, who is not root cannot remove; pytest leaves that behind too.
        shutil.rmtree(made, ignore_errors=True)
