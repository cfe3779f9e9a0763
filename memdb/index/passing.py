"""The rows whose product with a query is not below 0: found in a scan of the heads, never sorted."""

from __future__ import annotations

from typing import Final

import numpy as np

from memdb.index import faiss_later as faiss
from memdb.index.flat import padded_query, row_scores, scanned_query, vanishing
from memdb.index.head_scores import heads_above
from memdb.index.matrix import Matrix
from memdb.types.arrays import Array

_ROUNDOFF: Final = 2.0**-23
MANY: Final = 8
"""Where more than one of so many rows may pass, all are scored sooner than those."""


def passing(matrix: Matrix, query: Array, numbers: Array | None = None) -> Array | None:
    """Numbers, ascending, of the rows whose product with a (dim,) float32 query may be 0 or more: no other's
    is, in whatever order it is summed up.

    numbers: those that are asked for, ascending; None for all.  None where they are too many to be picked out,
    or a sum may overflow.
    """
    rows = matrix.rows
    query = padded_query(query, matrix.width)
    scanned, bound = scanned_query(matrix, query)
    if not np.isfinite(bound):
        return None
    whole = matrix.whole(rows)
    if whole is not None:
        passed = _passed(whole, matrix, query)
        found = np.flatnonzero(passed) if numbers is None else numbers[passed[numbers]]
        return None if MANY * len(found) > rows else found
    selector = None
    if numbers is not None:
        allowed = np.zeros(rows, np.bool_)
        allowed[numbers] = True
        bits = np.packbits(allowed, bitorder="little")
        selector = faiss.IDSelectorBitmap(rows, faiss.swig_ptr(bits))
    least = float(np.nextafter(np.float32(-bound), np.float32(-np.inf)))
    found, _ = heads_above(matrix, rows, scanned, least, selector)
    if MANY * len(found) > rows:
        return None
    return found[_passed(matrix.take_ascending(found), matrix, query)]


def _passed(block: Array, matrix: Matrix, query: Array) -> Array:
    """(n,) bool: whether the product of a row of ours may be 0 or more."""
    # Not "at least": what overflowed passes.
    return ~(row_scores(block, query) < -passing_slack(matrix, query))


def passing_slack(matrix: Matrix, query: Array) -> float:
    """How far a product of a row of a matrix with a query may be from what float32 has of it, in whatever order."""
    length = float(np.sqrt(np.square(query, dtype=np.float64).sum()))
    rounded = matrix.width * _ROUNDOFF * length * matrix.norm_max
    return rounded + vanishing(matrix.width, length, matrix.norm_max)
