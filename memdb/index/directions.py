"""Vectors of unit length, computed in one way everywhere, so that a rebuilt index equals the running
one to the last bit."""

from __future__ import annotations

import numpy as np

from memdb.types.arrays import Array


def unit_rows(vectors: Array) -> Array:
    """(n, dim) float32 rows of unit length; a zero row stays zero.

    The result of a row does not depend on the rows beside it: norms are summed along each
    contiguous row on its own.
    """
    rows = np.ascontiguousarray(vectors, np.float32)
    norms = np.sqrt(np.add.reduce(rows * rows, axis=1, keepdims=True))
    norms[norms == 0.0] = 1.0
    return np.asarray(rows / norms)


def prepared_rows(vectors: Array, *, cosine: bool) -> Array:
    """(n, dim) float32 rows as a partition holds them: `unit_rows` in a cosine space."""
    return unit_rows(vectors) if cosine else np.ascontiguousarray(vectors, np.float32)
