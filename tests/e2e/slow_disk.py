"""`memdb` whose disk takes half a second for each piece of a checkpoint: ``python -m tests.e2e.slow_disk serve ...``"""

from __future__ import annotations

import sys
import time
from typing import BinaryIO

from memdb.cli.main import main
from memdb.engine import kept_index
from memdb.store.derived import sync_so_far

PIECE_S = 0.5


def slowly(file: BinaryIO) -> None:
    sync_so_far(file)
    time.sleep(PIECE_S)


if __name__ == "__main__":
    kept_index.SYNCED_BYTES = 1  # type: ignore[misc]  # a constant
    kept_index.sync_so_far = slowly  # type: ignore[attr-defined]  # what it imports
    sys.exit(main())
