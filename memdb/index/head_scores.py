"""Scores of rows by their heads alone, and how far from those of the whole rows they may be: half of the bytes, and
nothing is put together.  What is weighed with other scores has no best rows of its own that a search could find.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from memdb import deadline
from memdb.index import faiss_later as faiss
from memdb.index.flat import padded_query, scanned_query, scanner_of
from memdb.index.matrix import Matrix
from memdb.types.arrays import Array

FEW: Final = 512
"""So many rows are scored whole as soon as by their heads and then some of them whole."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadScores:
    """Of the allowed rows."""

    numbers: Array
    """(n,) int64, ascending."""
    scores: Array
    """(n,) float32."""
    bound: float
    """No score of a whole row, in whatever order it is summed up, is farther from that of its head."""


def head_scores(matrix: Matrix, rows: int, query: Array, allowed: Array) -> HeadScores | None:
    """Of the first ``rows`` rows, those ``allowed``, (rows,) bool, by inner product with a (dim,) float32 query; None
    where the whole rows are to be scored: few of them, or their heads say nothing.
    """
    if np.count_nonzero(allowed) <= FEW or matrix.whole(rows) is not None:
        return None
    scanned, bound = scanned_query(matrix, padded_query(query, matrix.width))
    if not np.isfinite(bound):
        return None
    first = int(allowed.argmax())
    rows -= int(allowed[::-1].argmax())
    selector = None
    if not allowed[first:rows].all():
        bits = np.packbits(allowed, bitorder="little")
        selector = faiss.IDSelectorBitmap(len(allowed), faiss.swig_ptr(bits))
    numbers, scores = heads_above(matrix, rows, scanned, -np.inf, selector, first)
    return HeadScores(numbers, scores, bound)


def heads_above(
    matrix: Matrix, rows: int, query: Array, least: float, selector: Any, first: int = 0
) -> tuple[Array, Array]:
    """(numbers int64, float32 scores) of the rows of [first, rows), those of a selector alone, whose heads score more
    than ``least``, a float32, in row order; query: from `memdb.index.flat.scanned_query`.
    """
    scanner = scanner_of(matrix.width, selector)
    scanner.set_query(faiss.swig_ptr(query))
    scanner.set_list(0, 0.0)
    result = faiss.RangeSearchResult(1)
    partial = faiss.RangeSearchPartialResult(result)
    of_query = partial.new_result(0)
    for chunk in matrix.chunks(rows, first):
        deadline.check()
        scanner.scan_codes_range(
            len(chunk.numbers),
            faiss.swig_ptr(chunk.head.reshape(-1).view(np.uint8)),
            faiss.swig_ptr(chunk.numbers),
            least,
            of_query,
        )
    found = of_query.nres
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    partial.set_lims()
    result.do_allocation()
    partial.copy_result()
    return (
        np.array(faiss.rev_swig_ptr(result.labels, found)),
        np.array(faiss.rev_swig_ptr(result.distances, found)),
    )
