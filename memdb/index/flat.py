"""Exact search of a matrix with FAISS's brute-force kernels; filters act inside the search, never
after it.

The kernels are called on the matrix's own memory: a FAISS index object would hold a second copy and
could not be searched while it grows.  They release the GIL.
"""

from __future__ import annotations

from typing import Final

import faiss
import numpy as np

from memdb.index.matrix import Matrix
from memdb.types.arrays import Array

_SPARSE_SHARE: Final = 0.25
"""Below this share of allowed rows, scoring the listed rows is quicker than scanning all with a
bitmap.
"""


def search(
    matrix: Matrix, rows: int, query: Array, limit: int, allowed: Array | None
) -> tuple[Array, Array]:
    """The ``limit`` best of the first ``rows`` rows by inner product with the (dim,) float32
    ``query``.

    allowed: (rows,) bool, or None for all.  Returns (row numbers int64, scores float32), best
    first, equal scores by row; fewer than ``limit`` when fewer are allowed.
    """
    found_rows: list[Array] = []
    found_scores: list[Array] = []
    for first, chunk in matrix.chunks(rows):
        inside = None if allowed is None else allowed[first : first + len(chunk)]
        best_rows, best_scores = _search_chunk(chunk, query, limit, inside)
        if len(best_rows):
            found_rows.append(best_rows + first)
            found_scores.append(best_scores)
    if not found_rows:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    if len(found_rows) == 1:
        row_numbers, scores = found_rows[0], found_scores[0]
    else:
        row_numbers, scores = np.concatenate(found_rows), np.concatenate(found_scores)
    order = np.lexsort((row_numbers, -scores))[:limit]
    return row_numbers[order], scores[order]


def _search_chunk(
    chunk: Array, query: Array, limit: int, allowed: Array | None
) -> tuple[Array, Array]:
    count = len(chunk)
    selector = None
    if allowed is not None:
        chosen = int(np.count_nonzero(allowed))
        if chosen == 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        if chosen < count * _SPARSE_SHARE:
            listed = np.flatnonzero(allowed)
            selector = faiss.IDSelectorArray(chosen, faiss.swig_ptr(listed))
            limit = min(limit, chosen)
        elif chosen < count:
            bits = np.packbits(allowed, bitorder="little")
            selector = faiss.IDSelectorBitmap(count, faiss.swig_ptr(bits))
    limit = min(limit, count)
    scores = np.empty((1, limit), np.float32)
    labels = np.empty((1, limit), np.int64)
    faiss.knn_inner_product(
        faiss.swig_ptr(query),
        faiss.swig_ptr(chunk),
        chunk.shape[1],
        1,
        count,
        limit,
        faiss.swig_ptr(scores),
        faiss.swig_ptr(labels),
        selector,
    )
    valid = labels[0] >= 0
    return labels[0][valid], scores[0][valid]


def all_scores(matrix: Matrix, rows: int, query: Array) -> Array:
    """(rows,) float32 inner products of the first ``rows`` rows with the (dim,) float32 ``query``."""
    out = np.empty(rows, np.float32)
    for first, chunk in matrix.chunks(rows):
        faiss.fvec_inner_products_ny(
            faiss.swig_ptr(out[first : first + len(chunk)]),
            faiss.swig_ptr(query),
            faiss.swig_ptr(chunk),
            chunk.shape[1],
            len(chunk),
        )
    return out
