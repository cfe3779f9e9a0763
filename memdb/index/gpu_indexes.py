"""What makes indexes on a GPU for `memdb.index.gpu`: FAISS (`memdb.index.gpu_faiss`), in its own words."""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np

from memdb.index.matrix import Matrix
from memdb.types.arrays import Array

ELEMENT_MAX: Final = 60_000.0
"""float16 ends at 65,504."""
BLOCK_BYTES: Final = 128 << 20
"""Of float32 rows that go to a GPU at once, about."""


class GpuIndexes(Protocol):
    """Makes indexes of inner products over float16 rows; each is called as FAISS's are."""

    @property
    def has_graphs(self) -> bool:
        """Whether there is `graph`."""

    @property
    def own_bytes(self) -> int:
        """What each of `lists` and `graph` takes on the GPU, however few rows it has."""

    def flat(self, width: int) -> Any:
        """Of all rows: ``add``, ``search``, ``ntotal``."""

    def lists(self, width: int, count: int) -> Any:
        """Of rows in so many lists: ``train``, ``add``, ``search`` with ``params``, ``ntotal``, ``cp``.

        Unlike `flat`'s it shares nothing with other indexes, and may be made while they are searched.
        """

    def graph(self, width: int) -> Any:
        """Of rows that know their neighbours: ``train``, which takes all of them, and ``search`` with ``params``, of
        float16 both.

        Unlike `flat`'s it shares nothing with other indexes, and may be made while they are searched.
        """

    def probing(self, lists: int) -> Any:
        """``params`` for `lists` of which so many are searched."""

    def reaching(self, size: int) -> Any:
        """``params`` for a `graph` of which so many rows are kept on the way."""

    def free_bytes(self) -> int:
        """Memory of the GPU that nobody has.  Raises `RuntimeError` where that is not told."""


def fits(rows: Array) -> bool:
    """Whether float16 holds them; rows that are no numbers it does not."""
    return bool(np.abs(rows).max(initial=0.0) < ELEMENT_MAX)


def block_of(matrix: Matrix, least: int) -> int:
    """How many rows go to a GPU at once, a multiple of ``least``.

    FAISS copies an index that grows whole, so many rows at a time are worth it.
    """
    return max(1, BLOCK_BYTES // (4 * matrix.width * least)) * least
