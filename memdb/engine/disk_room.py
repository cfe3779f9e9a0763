"""Whether a full disk, or a limit on the size of one file, gets room back from a user's file.

LMDB keeps the pages that it frees for the user's own next writes: what retention gave up is room for that user,
while the disk stays as full as it was, and everybody is refused writes.

A disk is full here before all are refused: a sweep may have given back a little by itself (it drops the user's
checkpoint), or somebody else may, and then the next few writes would find the disk full again, with megabytes of
freed pages in a file.

A limit on one file (``ulimit -f``) is as a disk of the user's own: near it writes are refused however much of the file
is free, since nobody can tell beforehand whether LMDB finds its pages there.
"""

from __future__ import annotations

from typing import Final

from memdb.config import EngineConfig
from memdb.errors import ResourceExhausted
from memdb.store.disk import check_disk, check_growth
from memdb.store.environment import Environment
from memdb.store.schema import DATA_FILE
from memdb.types.limits import BATCH_BYTES_MAX

FREED_MIN: Final = 1 << 20
"""Bytes of freed pages below which an environment is not made anew."""
_SHARE: Final = 8
"""Nor where they are less than an eighth of the file: all that lives in it is written once more."""


def frees_disk(environment: Environment, config: EngineConfig) -> bool:
    """Whether the disk or the limit on one file has no room for the largest commit, and much of the user's file is
    freed pages.

    Raises as `Environment.read`.
    """
    try:
        check_disk(environment.disk, config, BATCH_BYTES_MAX)
        check_growth(environment.path / DATA_FILE, BATCH_BYTES_MAX)
    except ResourceExhausted:
        size = environment.data_bytes()
        return size - environment.live_bytes() >= max(FREED_MIN, size // _SHARE)
    return False
