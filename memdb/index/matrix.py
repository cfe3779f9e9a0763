"""An append-only float32 matrix that readers may search while it grows.

Rows live in chunks that are never moved: a reader that was told `n` rows may read rows [0, n) for
ever, without a lock, while the writer fills rows from n on.  The first chunk is small, each next
one doubles up to `CHUNK_ROWS_MAX`, and rows that come together share a chunk: a matrix made of one
scan is searched in as few calls as can be.  Memory of a chunk that is not filled yet is reserved
but not resident.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from memdb.types.arrays import Array

CHUNK_ROWS_MIN: Final = 256
CHUNK_ROWS_MAX: Final = 16_384


class Matrix:
    """(rows, dim) float32; one writer, any readers."""

    __slots__ = ("_chunks", "dim", "rows")

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.rows = 0
        self._chunks: list[Array] = []

    def append(self, vectors: Array) -> None:
        """Add (m, dim) rows at the end."""
        done = 0
        while done < len(vectors):
            free = self._capacity() - self.rows
            if free == 0:
                planned = max(CHUNK_ROWS_MIN << len(self._chunks), len(vectors) - done)
                size = min(planned, CHUNK_ROWS_MAX)
                self._chunks.append(np.empty((size, self.dim), dtype=np.float32))
                free = size
            last = self._chunks[-1]
            take = min(free, len(vectors) - done)
            begin = len(last) - free
            last[begin : begin + take] = vectors[done : done + take]
            done += take
            self.rows += take

    def chunks(self, rows: int) -> Iterator[tuple[int, Array]]:
        """(first row, (m, dim) view) of each chunk within the first ``rows`` rows."""
        first = 0
        for chunk in self._chunks:
            if first >= rows:
                return
            yield first, chunk[: rows - first]
            first += len(chunk)

    def take(self, rows: Array) -> Array:
        """Copies of the given rows, in that order."""
        out = np.empty((len(rows), self.dim), dtype=np.float32)
        first = 0
        for chunk in self._chunks:
            inside = (rows >= first) & (rows < first + len(chunk))
            if inside.any():
                out[inside] = chunk[rows[inside] - first]
            first += len(chunk)
        return out

    def _capacity(self) -> int:
        return sum(len(chunk) for chunk in self._chunks)
