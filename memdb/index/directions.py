"""Vectors of unit length, computed in one way everywhere, so that a rebuilt index equals the running
one to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from memdb.types.arrays import Array

Rows = Callable[[Array | Sequence[Array]], Array | None]
"""`unit_rows`, or None where it is to do it itself."""

_made_by: Rows | None = None


def unit_rows_by(make: Rows) -> None:
    """Have ``make`` make rows from now on, to the last bit.

    It is for one that keeps the interpreter's lock: numpy lets go of it for each step, and beside other threads that
    write each time it takes as long as the step until it is there again.
    """
    global _made_by  # noqa: PLW0603 - one for the process, as are the instructions that it is for
    _made_by = make


_BLOCK_BYTES: Final = 256 * 1024
"""Of rows that are worked on at once: several passes over what a core's cache holds."""


def unit_rows(vectors: Array | Sequence[Array]) -> Array:
    """(n, dim) float32 rows of unit length, of an array or of n vectors; a zero row stays zero.

    The result of a row does not depend on the rows beside it: every step works along each
    contiguous row on its own.  Rows are scaled by their largest element first, so that squares
    neither overflow nor vanish.
    """
    if _made_by is not None:
        made = _made_by(vectors)
        if made is not None:
            return made
    # A copy, which is worked on in place: what a commit brings is float16 and has to be copied anyhow.
    rows = np.array(vectors, np.float32, order="C")
    step = max(1, _BLOCK_BYTES // (rows.itemsize * max(1, rows.shape[1])))
    scratch = np.empty((min(step, len(rows)), rows.shape[1]), np.float32)
    for begin in range(0, len(rows), step):
        block = rows[begin : begin + step]
        squares = np.abs(block, out=scratch[: len(block)])
        largest = squares.max(axis=1, keepdims=True)
        largest[largest == 0.0] = 1.0
        block /= largest
        np.multiply(block, block, out=squares)
        norms = np.sqrt(np.add.reduce(squares, axis=1, keepdims=True))
        norms[norms == 0.0] = 1.0
        block /= norms
    return rows


def unit_vector(vector: Array) -> Array:
    """(dim,) float32: `unit_rows` of one vector, to the last bit, in half the calls."""
    row = np.ascontiguousarray(vector, np.float32)
    squares = np.abs(row)
    largest = np.maximum.reduce(squares)
    if largest == 0.0:
        return row
    scaled: Array = row / largest
    np.multiply(scaled, scaled, out=squares)
    scaled /= np.sqrt(np.add.reduce(squares))
    return scaled


def prepared_rows(vectors: Array | Sequence[Array], *, cosine: bool) -> Array:
    """(n, dim) float32 rows as a partition holds them: `unit_rows` in a cosine space."""
    if not cosine:
        return np.ascontiguousarray(vectors, np.float32)
    if len(vectors) == 1 and _made_by is None:
        return unit_vector(vectors[0])[None]
    return unit_rows(vectors)
