"""`memdb` whose disk takes half a second for each piece of a checkpoint."""

from __future__ import annotations

import time
from typing import BinaryIO

from memdb.cli import main as memdb
from memdb.engine import kept_index
from memdb.store.derived import sync_so_far

PIECE_S = 0.5


def slowly(file: BinaryIO) -> None:
    sync_so_far(file)
    time.sleep(PIECE_S)


def main() -> int:
    kept_index.SYNCED_BYTES = 1  # type: ignore[misc]  # a constant
    kept_index.sync_so_far = slowly  # type: ignore[attr-defined]  # what it imports
    return memdb.main()
