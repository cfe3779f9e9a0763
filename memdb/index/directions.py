"""Vectors of unit length, computed in one way everywhere, so that a rebuilt index equals the running
one to the last bit."""

from __future__ import annotations

import numpy as np

from memdb.types.arrays import Array


def unit_rows(vectors: Array) -> Array:
    """(n, dim) float32 rows of unit length; a zero row stays zero.

    The result of a row does not depend on the rows beside it: every step works along each
    contiguous row on its own.  Rows are scaled by their largest element first, so that squares
    neither overflow nor vanish.
    """
    rows = np.ascontiguousarray(vectors, np.float32)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    largest[largest == 0.0] = 1.0
    scaled = rows / largest
    norms = np.sqrt(np.add.reduce(scaled * scaled, axis=1, keepdims=True))
    norms[norms == 0.0] = 1.0
    return np.asarray(scaled / norms)


def unit_vector(vector: Array) -> Array:
    """(dim,) float32: `unit_rows` of one vector, to the last bit, in half the calls."""
    row = np.ascontiguousarray(vector, np.float32)
    largest = np.abs(row).max()
    if largest == 0.0:
        return row
    scaled = row / largest
    return np.asarray(scaled / np.sqrt(np.add.reduce(scaled * scaled)))


def prepared_rows(vectors: Array, *, cosine: bool) -> Array:
    """(n, dim) float32 rows as a partition holds them: `unit_rows` in a cosine space."""
    return unit_rows(vectors) if cosine else np.ascontiguousarray(vectors, np.float32)
