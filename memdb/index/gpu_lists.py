"""Rows in lists on a GPU: FAISS's inverted file of whole rows as float16, which k-means on the GPU makes.

A search looks at the lists of the nearest centres.  Rows that come later join the lists of centres that are there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, Self

import numpy as np

from memdb.index.gpu_indexes import GpuIndexes, block_of, fits
from memdb.index.gpu_placed import PLACE_ROWS
from memdb.index.ivf import LISTS_SHARE_MAX
from memdb.index.lists import LISTS_MIN
from memdb.index.matrix import Matrix
from memdb.types.arrays import Array

_LISTS_PER_ROOT: Final = 1.6
"""As of `memdb.index.lists`."""
_SAMPLE_PER_LIST: Final = 40
"""Rows that k-means sees; FAISS asks for 39."""
_SELECTED_MAX: Final = 2048
"""Of lists and of rows: what FAISS selects on a GPU at most."""
_NUMBER_BYTES: Final = 8
_POWERS_MAX: Final = 4 << 20
"""Bytes of a list up to which FAISS has memory for the next power of two."""
_GROWTH_SMALL: Final = 1.5
"""That is so many times what it needs, or a little less, for lists of all lengths."""
_GROWTH: Final = 1.25
"""The same for longer ones."""


class ListsOnGpu:
    """An index of this kind, once it is trained.  Calls of FAISS's, in their turn."""

    kind: Final = "ivf"
    growth_max: Final = 2.0
    """With so many times the rows that its centres were found for, it is made anew."""
    candidates_max: Final = _SELECTED_MAX
    reach_min: Final = 1

    def __init__(self, indexes: GpuIndexes, index: Any, count: int) -> None:
        self._indexes = indexes
        self._index = index
        self.reach_max = max(1, min(int(count * LISTS_SHARE_MAX), _SELECTED_MAX))
        """Looking at more is no quicker than looking at all."""

    @classmethod
    def build(cls, indexes: GpuIndexes, matrix: Matrix, stop: Callable[[], bool]) -> Self | None:
        """Of all rows that are there now; None where they are few, do not fit float16, or ``stop`` said so.

        Nobody waits for it; ``stop`` is asked between calls, of which the first is k-means.  Raises `RuntimeError`
        where the GPU fails, and `MemoryError`.
        """
        rows = matrix.rows
        count = int(_LISTS_PER_ROOT * rows**0.5)
        if count < LISTS_MIN:
            return None
        chosen = np.linspace(0, rows - 1, min(rows, _SAMPLE_PER_LIST * count)).astype(np.int64)
        sample = matrix.take_padded(chosen)
        if not fits(sample) or stop():
            return None
        index = indexes.lists(matrix.width, count)
        index.cp.min_points_per_centroid = 1  # or FAISS writes of it to stderr
        index.train(sample)
        del sample
        step = block_of(matrix, PLACE_ROWS)
        for begin in range(0, rows, step):
            block = matrix.take_run(begin, min(begin + step, rows))
            if not fits(block) or stop():
                return None
            index.add(block)
        return cls(indexes, index, count)

    @staticmethod
    def bytes_of(rows: int, width: int) -> int:
        """On the GPU."""
        centres = max(1, int(_LISTS_PER_ROOT * rows**0.5))
        growth = _GROWTH_SMALL if 2 * width * rows <= _POWERS_MAX * centres else _GROWTH
        return int(growth * rows * (2 * width + _NUMBER_BYTES)) + 4 * centres * width

    @property
    def ntotal(self) -> int:
        """Rows."""
        return int(self._index.ntotal)

    def add(self, rows: Array) -> None:
        """(n, width) float32."""
        self._index.add(rows)

    def search(self, queries: Array, wanted: int, reach: int) -> tuple[Array, Array]:
        """(scores, numbers) of each of (n, width) float32 queries, from so many lists."""
        scores, numbers = self._index.search(queries, wanted, params=self._indexes.probing(reach))
        return scores, numbers

    @staticmethod
    def reaching(reach: float) -> int:
        """So much, as a whole number of lists."""
        return math.ceil(reach)
