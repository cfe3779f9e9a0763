"""Exact search of a matrix with FAISS's kernels; filters act inside the search, never after it.

Few rows (`memdb.index.matrix.WHOLE_ROWS_MAX`) are all scored.  Of more, two steps.  A scan of the heads (bfloat16,
half of the bytes) gives more candidates than are asked for; those of them that may be among the best are scored
from the whole float32 rows.  What was left out cannot be better: for a row x with head h and a query q

    |q.x - q.h|  <=  |q| |x - h|  <=  |q| * matrix.residual_max        (Cauchy-Schwarz)

and the rounding of two sums of n products is at most 2 n 2^-24 |q| |x|.  Processors with instructions for
bfloat16 round the query as well: there it is rounded first, to some p, and |q.h - p.h| <= |q - p| |h| comes
to the bound.  A candidate whose head is behind the last of the best heads by more than twice both is not
scored.  If the last of the best rows is not ahead of the worst candidate by more than both, more candidates
are taken; in the end, where rows are too much alike, every row is scored.  So the answer is that of a search
of all rows, ties by row number included.

The kernels work on the matrix's own memory: a FAISS index object would hold a second copy and
could not be searched while it grows.  They release the GIL.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, Final

import numpy as np

from memdb import deadline
from memdb.index import faiss_later as faiss
from memdb.index.matrix import WHOLE_ROWS_MAX, Matrix
from memdb.index.planes import LANES, block_rows, join
from memdb.types.arrays import Array

_CANDIDATES_EXTRA: Final = 28
_CANDIDATES_PER_HIT: Final = 4
_CANDIDATES_MORE: Final = 8
"""By how much more are taken at the next try."""
_CANDIDATES_MAX: Final = 4096
"""Beyond, the scan's heap costs more than scoring all."""
_UNIT_ROUNDOFF: Final = 2.0**-24
_SMALLEST_NORMAL: Final = 2.0**-126
SUM_MAX: Final = float(np.finfo(np.float32).max) / 4
"""Products of lengths from which on a sum in float32 may overflow."""
_SORTED_MAX: Final = 256
"""So few are sorted sooner than chosen among."""

_FIRST_ROWS: Final = np.arange(WHOLE_ROWS_MAX)
"""Made once: to make them lets go of the interpreter's lock."""
_FIRST_ROWS.flags.writeable = False

_quantizers: dict[int, Any] = {}


def search(
    matrix: Matrix, rows: int, query: Array, limit: int, allowed: Array | None, first: int = 0
) -> tuple[Array, Array]:
    """The ``limit`` best of rows [first, rows) by inner product with the (dim,) float32 ``query``.

    allowed: (rows,) bool, or None for all.  Returns (row numbers int64, scores float32), best
    first, equal scores by row; fewer than ``limit`` when fewer are allowed.
    """
    count = rows - first if allowed is None else int(np.count_nonzero(allowed[first:]))
    if count == 0:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    if matrix.whole(rows) is not None:
        return _best_of_all(matrix, rows, query, limit, allowed, first)
    if allowed is not None:
        # Those of an hour lie together: what is before and behind them is not looked at.
        first += int(allowed[first:].argmax())
        rows -= int(allowed[:rows][::-1].argmax())
        allowed = allowed[:rows]
    query = padded_query(query, matrix.width)
    scanned, bound = scanned_query(matrix, query)
    wanted = min(_CANDIDATES_PER_HIT * limit + _CANDIDATES_EXTRA, max(limit, (limit + count) // 2))
    while wanted < count and wanted <= _CANDIDATES_MAX and np.isfinite(bound):
        candidates, heads = _scan(matrix, rows, scanned, wanted, allowed, first)
        heads = heads.astype(np.float64)  # or a bound would be rounded to float32
        worst = float(heads[0])
        # The `limit` best heads have rows of at least `least`: who cannot reach it need not be read.
        least = float(np.partition(heads, wanted - limit)[wanted - limit]) - bound
        candidates = candidates[heads >= least - bound]
        candidates.sort()
        scores = row_scores(matrix.take_ascending(candidates), query)
        best = best_of(candidates, scores, limit)
        if best[1][-1] > worst + bound:
            return best
        wanted *= _CANDIDATES_MORE
    return _best_of_all(matrix, rows, query, limit, allowed, first)


def _best_of_all(
    matrix: Matrix, rows: int, query: Array, limit: int, allowed: Array | None, first: int
) -> tuple[Array, Array]:
    numbers, scores = allowed_scores(matrix, rows, query, allowed, first)
    # A sum that overflowed both ways is no number: last.
    overflowed = np.isnan(scores)
    if overflowed.any():
        scores[overflowed] = -np.inf
    return best_of(numbers, scores, limit)


def allowed_scores(
    matrix: Matrix, rows: int, query: Array, allowed: Array | None, first: int = 0
) -> tuple[Array, Array]:
    """(row numbers int64, float32 inner products) of the allowed ones of rows [first, rows)."""
    if allowed is None:
        numbers = _FIRST_ROWS[first:rows] if rows <= WHOLE_ROWS_MAX else np.arange(first, rows)
        return numbers, all_scores(matrix, rows, query, first)
    listed = np.flatnonzero(allowed[first:]) + first
    whole = matrix.whole(rows)
    if whole is not None:
        return listed, row_scores(whole, padded_query(query, matrix.width))[listed]
    query = padded_query(query, matrix.width)
    step = block_rows(matrix.width)
    out = np.empty(len(listed), np.float32)
    begin_row, done = first, 0
    for chunk in matrix.chunks(rows, first):
        deadline.check()
        end = begin_row + len(chunk.numbers)
        inside = listed[done : np.searchsorted(listed, end)] - begin_row
        for begin in range(0, len(inside), step):
            block = chunk.taken(inside[begin : begin + step])
            out[done : done + len(block)] = row_scores(block, query)
            done += len(block)
        begin_row = end
    return listed, out


def all_scores(matrix: Matrix, rows: int, query: Array, first: int = 0) -> Array:
    """(rows - first,) float32 inner products of rows [first, rows) with the (dim,) float32 ``query``."""
    query = padded_query(query, matrix.width)
    whole = matrix.whole(rows)
    if whole is not None:
        return row_scores(whole[first:], query)
    step = block_rows(matrix.width)
    joined = np.empty((step, matrix.width), np.float32)
    out = np.empty(rows - first, np.float32)
    done = 0
    for chunk in matrix.chunks(rows, first):
        deadline.check()
        for begin in range(0, len(chunk.numbers), step):
            head, tail = chunk.head[begin : begin + step], chunk.tail[begin : begin + step]
            block = join(head, tail, joined[: len(head)])
            out[done : done + len(block)] = row_scores(block, query)
            done += len(block)
    return out


def _scan(
    matrix: Matrix, rows: int, query: Array, wanted: int, allowed: Array | None, first: int
) -> tuple[Array, Array]:
    """The numbers of the ``wanted`` best allowed rows by their heads, and the scores of these heads:
    heaps, the worst first; more rows than ``wanted`` are allowed.
    """
    numbers = np.full(wanted, -1, np.int64)
    scores = np.full(wanted, -np.inf, np.float32)  # a heap, whose top is the worst
    selector = None
    if allowed is not None:
        bits = np.packbits(allowed, bitorder="little")
        selector = faiss.IDSelectorBitmap(rows, faiss.swig_ptr(bits))
    scanner = scanner_of(matrix.width, selector)
    scanner.set_query(faiss.swig_ptr(query))
    scanner.set_list(0, 0.0)
    for chunk in matrix.chunks(rows, first):
        deadline.check()
        scanner.scan_codes(
            len(chunk.numbers),
            faiss.swig_ptr(chunk.head.reshape(-1).view(np.uint8)),
            faiss.swig_ptr(chunk.numbers),
            faiss.swig_ptr(scores),
            faiss.swig_ptr(numbers),
            wanted,
        )
    return numbers, scores


def best_heads(matrix: Matrix, numbers: Array, query: Array, wanted: int, least: float) -> Array:
    """Of some rows, ascending, those of the ``wanted`` best heads, as far as these score ``least``."""
    heads = matrix.heads(numbers)
    wanted = min(wanted, len(numbers))
    found = np.full(wanted, -1, np.int64)
    scores = np.full(wanted, -np.inf, np.float32)
    scanner = scanner_of(matrix.width)
    scanner.set_query(faiss.swig_ptr(query))
    scanner.set_list(0, 0.0)
    scanner.scan_codes(
        len(numbers),
        faiss.swig_ptr(heads.reshape(-1).view(np.uint8)),
        faiss.swig_ptr(numbers),
        faiss.swig_ptr(scores),
        faiss.swig_ptr(found),
        wanted,
    )
    # Where a head's sum is no number it is in no heap.
    return np.sort(found[(scores >= least) & (found >= 0)])


def best_of(numbers: Array, scores: Array, limit: int) -> tuple[Array, Array]:
    """The ``limit`` best, best first, equal scores by number."""
    if len(scores) > max(limit, _SORTED_MAX):
        passed = scores >= np.partition(scores, len(scores) - limit)[len(scores) - limit]
        numbers, scores = numbers[passed], scores[passed]
    order = np.lexsort((numbers, -scores))[:limit]
    return numbers[order], scores[order]


def scanned_query(matrix: Matrix, query: Array) -> tuple[Array, float]:
    """The (width,) query as heads are scanned with it, and how far the product of a row, in whatever order it is
    summed up, may be from the score of its head; infinite where a sum may overflow.
    """
    bound = bound_of(matrix, query, matrix.residual_max)
    if not _rounds_queries():
        return query, bound
    scanned = _rounded(query)
    away = _length(query.astype(np.float64) - scanned)
    return scanned, bound + away * (matrix.norm_max + matrix.residual_max)


def bound_of(matrix: Matrix, query: Array, residual_max: float) -> float:
    """How far a sum of another order, of rows within ``residual_max`` of ours, may be from the kernel's
    score; infinite where a sum may overflow.
    """
    length = _length(query.astype(np.float64))
    rounding = 2 * matrix.width * _UNIT_ROUNDOFF * matrix.norm_max
    tiny = vanishing(matrix.width, length, matrix.norm_max)
    bound = length * (residual_max + rounding) + 2 * tiny
    # Where a sum may overflow, scores of heads say nothing.
    return bound if length * matrix.norm_max < SUM_MAX else np.inf


def vanishing(dim: int, length: float, other: float) -> float:
    """What a product in float32 of two (dim,) vectors of these lengths may lose below the smallest normal number:
    kernels may take anything less, be it of either vector or a product, for none.
    """
    return _SMALLEST_NORMAL * (dim + math.sqrt(dim) * (length + other))


def row_scores(block: Array, query: Array) -> Array:
    """(n,) float32 inner products of an (n, width) float32 block; each row's does not depend on the
    rows beside it.
    """
    out = np.empty(len(block), np.float32)
    faiss.fvec_inner_products_ny(
        faiss.swig_ptr(out),
        faiss.swig_ptr(query),
        faiss.swig_ptr(block),
        block.shape[1],
        len(block),
    )
    return out


def run_scores(block: Array, runs: list[tuple[int, int]], query: Array) -> Array:
    """`row_scores` of runs of rows of a block, [first, last) each, one after the other."""
    if len(runs) == 1:
        ((first, last),) = runs
        return row_scores(block[first:last], query)
    return np.concatenate([row_scores(block[first:last], query) for first, last in runs])


def padded_query(query: Array, width: int) -> Array:
    """The query with zeros up to ``width``."""
    if len(query) == width:
        return query
    wide = np.zeros(width, np.float32)
    wide[: len(query)] = query
    return wide


def _length(vector: Array) -> float:
    """Of a float64 vector; a third of the time of `numpy.linalg.norm`."""
    return math.sqrt(float(vector.dot(vector)))


def _rounded(query: Array) -> Array:
    """The query as bfloat16; what rounding makes infinite is a bound that is infinite."""
    return ((query.view(np.uint32) + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)


@cache
def _rounds_queries() -> bool:
    """Whether FAISS's kernel for bfloat16 rows rounds the query to bfloat16 too, as it does where the processor
    multiplies nothing else (AVX512-BF16).
    """
    query = np.full(LANES, 1 + 2.0**-12, np.float32)
    matrix = Matrix(LANES)
    matrix.append(np.ones((1, LANES), np.float32))
    _, scores = _scan(matrix, 1, query, 1, None, 0)
    return bool(scores[0] != query.sum())


def scanner_of(width: int, selector: Any = None) -> Any:
    """FAISS's kernel that scans bfloat16 rows, those of a selector alone."""
    return _quantizer(width).select_InvertedListScanner(
        faiss.METRIC_INNER_PRODUCT, None, False, selector, False
    )


def _quantizer(width: int) -> Any:
    """FAISS's reader of bfloat16 rows; without state, so one serves all."""
    quantizer = _quantizers.get(width)
    if quantizer is None:
        quantizer = faiss.ScalarQuantizer(width, faiss.ScalarQuantizer.QT_bf16)
        _quantizers[width] = quantizer
    return quantizer
