"""Rows that know their neighbours on a GPU: FAISS's CAGRA, where it is built with NVIDIA's cuVS.

A graph takes all of its rows at once, and no others later.  What comes later is searched beside it, all of it, until it
is so much that the graph is made anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, Self

import numpy as np

from memdb.index import faiss_later as faiss
from memdb.index.gpu_indexes import GpuIndexes, block_of, fits
from memdb.index.gpu_placed import PLACE_ROWS
from memdb.index.matrix import Matrix
from memdb.types.arrays import Array

GRAPH_DEGREE: Final = 64
"""Neighbours that a row knows."""
_BUILDING: Final = 1.5
"""So many times its bytes it takes while it is made: it comes of codes of the rows and of a larger graph."""
_STEP: Final = 32
"""What cuVS keeps on its way is a multiple of this."""


class GraphOnGpu:
    """An index of this kind.  Calls of FAISS's, in their turn."""

    kind: Final = "cagra"
    growth_max: Final = 1.125
    """With so many times the rows that it was made of, it is made anew."""
    candidates_max: Final = 512
    reach_min: Final = _STEP
    reach_max: Final = 512
    """Rows that are kept on the way; for more, cuVS has slower ways."""

    def __init__(self, indexes: GpuIndexes, graph: Any, rows: int, width: int) -> None:
        self._indexes = indexes
        self._graph = graph
        self._rows = rows
        self._width = width
        self._later: Any | None = None

    @classmethod
    def build(cls, indexes: GpuIndexes, matrix: Matrix, stop: Callable[[], bool]) -> Self | None:
        """Of all rows that are there now; None where they do not fit float16, or ``stop`` said so.

        Nobody waits for it, nor can it be stopped once FAISS makes the graph, which is said to be seconds for a million
        rows.  They are once more in memory until then, as float16.  Raises `RuntimeError` where the GPU fails, and
        `MemoryError`.
        """
        rows = matrix.rows
        halves = np.empty((rows, matrix.width), np.float16)
        step = block_of(matrix, PLACE_ROWS)
        for begin in range(0, rows, step):
            block = matrix.take_run(begin, min(begin + step, rows))
            if not fits(block) or stop():
                return None
            halves[begin : begin + len(block)] = block
        graph = indexes.graph(matrix.width)
        graph.train(halves, numeric_type=faiss.Float16)
        return cls(indexes, graph, rows, matrix.width)

    @staticmethod
    def bytes_of(rows: int, width: int) -> int:
        """On the GPU, while it is made: what is there once it is made is less."""
        return int(_BUILDING * rows * (2 * width + 4 * GRAPH_DEGREE))

    @property
    def ntotal(self) -> int:
        """Rows."""
        return self._rows + (0 if self._later is None else int(self._later.ntotal))

    def add(self, rows: Array) -> None:
        """(n, width) float32."""
        if self._later is None:
            self._later = self._indexes.flat(self._width)
        self._later.add(rows)

    def search(self, queries: Array, wanted: int, reach: int) -> tuple[Array, Array]:
        """(scores, numbers) of each of (n, width) float32 queries, with so many rows on the way."""
        wanted = min(wanted, self._rows)
        scores, numbers = self._graph.search(
            queries.astype(np.float16),
            wanted,
            params=self._indexes.reaching(self.reaching(max(reach, wanted))),
            numeric_type=faiss.Float16,
        )
        later = self._later
        if later is None:
            return scores, numbers
        its_scores, its_numbers = later.search(queries, min(wanted, later.ntotal))
        its_numbers = np.where(its_numbers < 0, its_numbers, its_numbers + self._rows)
        scores = np.concatenate([scores, its_scores], axis=1)
        numbers = np.concatenate([numbers, its_numbers], axis=1)
        # What is no row is last, whatever its score says.
        order = np.argsort(np.where(numbers < 0, np.inf, -scores), axis=1, kind="stable")
        order = order[:, :wanted]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(numbers, order, 1)

    @staticmethod
    def reaching(reach: float) -> int:
        """At least so much, as cuVS has it."""
        return math.ceil(reach / _STEP) * _STEP
