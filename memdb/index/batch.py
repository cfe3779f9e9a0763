"""Exact search for several questions over the same rows: each answer is that of `flat.search`, to the
last bit.

What questions have in common is done once: rows are gathered and made float32 for all of them.

Few rows are scored whole for each question, by the kernel of `flat`.  Of many rows one product of
matrices gives candidates: BLAS adds in another order than the kernel, so its scores may differ by rounding,
which for a sum of n products is at most n 2^-24 |q| |x| on either side.  A row whose product is behind the
last of the best products by more than twice that cannot be among the best; what is left is scored
by the kernel.  Where a sum may overflow, or more rows are nearly alike than are to be held whole (a screen that shows
the same for days), questions are asked one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from memdb import deadline
from memdb.index import flat
from memdb.index.matrix import Matrix
from memdb.index.planes import join
from memdb.types.arrays import Array

_WHOLE_ROWS_MAX: Final = 256
"""Up to so many rows, to score all costs less than to choose among them."""
_PRODUCTS_BYTES_MAX: Final = 32 * 1024 * 1024
"""Products of some questions with all rows that are held at once."""
_CANDIDATES_BYTES_MAX: Final = 32 * 1024 * 1024
"""Candidates that are held whole at once."""
_TOGETHER_MIN: Final = 16
"""Fewer questions at once do not pay for making the rows float32."""
_BLOCK_ROWS: Final = 512
"""Rows of one product: so many that BLAS is worth its call, so few that the next question waits little."""


def search_many(
    matrix: Matrix, rows: int, queries: Array, limit: int, allowed: Array | None
) -> list[tuple[Array, Array]]:
    """`flat.search` of each of the (n, dim) float32 ``queries``."""
    count = rows if allowed is None else int(np.count_nonzero(allowed))
    queries = np.ascontiguousarray([flat.padded_query(query, matrix.width) for query in queries])
    together = min(len(queries), max(1, _PRODUCTS_BYTES_MAX // (4 * max(1, count))))
    if count <= _WHOLE_ROWS_MAX:
        return _whole(matrix, rows, queries, limit, allowed)
    found: list[tuple[Array, Array]] = []
    for begin in range(0, len(queries), together):
        some = queries[begin : begin + together]
        bounds = [flat.bound_of(matrix, query, 0.0) for query in some]
        if len(some) < _TOGETHER_MIN or limit >= count or not np.isfinite(bounds).all():
            found += [flat.search(matrix, rows, query, limit, allowed) for query in some]
        else:
            found += _by_products(matrix, rows, some, limit, allowed, bounds)
    return found


def _whole(
    matrix: Matrix, rows: int, queries: Array, limit: int, allowed: Array | None
) -> list[tuple[Array, Array]]:
    """Every allowed row is scored for every question."""
    numbers = np.arange(rows) if allowed is None else np.flatnonzero(allowed)
    whole = matrix.whole(rows) if allowed is None else None
    block = matrix.take_padded(numbers) if whole is None else whole
    scores = np.stack([flat.row_scores(block, query) for query in queries])
    # As in `flat`: a sum that overflowed both ways is no number, and last.
    scores = np.nan_to_num(scores, copy=False, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    # Stable: rows come by number, and equal scores stay in that order.
    order = np.argsort(-scores, axis=1, kind="stable")[:, :limit]
    best = np.take_along_axis(scores, order, axis=1)
    return [(numbers[places], row) for places, row in zip(order, best, strict=True)]


def _by_products(
    matrix: Matrix,
    rows: int,
    queries: Array,
    limit: int,
    allowed: Array | None,
    bounds: list[float],
) -> list[tuple[Array, Array]]:
    """The candidates of each question by a product of matrices, scored by the kernel."""
    numbers = np.arange(rows) if allowed is None else np.flatnonzero(allowed)
    products = np.empty((len(numbers), len(queries)), np.float32)
    turned = np.ascontiguousarray(queries.T)
    done = 0
    for block in _blocks(matrix, rows, numbers):
        deadline.check()
        np.matmul(block, turned, out=products[done : done + len(block)])
        done += len(block)
    products = np.ascontiguousarray(products.T)
    candidates: list[Array] = []
    for row, bound in zip(products, bounds, strict=True):
        least = np.partition(row, len(row) - limit)[len(row) - limit]
        # In float64, or the bound would be rounded away.
        candidates.append(np.flatnonzero(row >= float(least) - 2 * bound))
    most = max(1, _CANDIDATES_BYTES_MAX // (4 * matrix.width))
    few = [places for places in candidates if len(places) <= most]
    wanted = np.unique(np.concatenate(few)) if few else np.empty(0, np.int64)
    # What questions share is read once, unless all of it is too much.
    together = matrix.take_padded(numbers[wanted]) if len(wanted) <= most else None
    found: list[tuple[Array, Array]] = []
    for query, places in zip(queries, candidates, strict=True):
        if len(places) > most:
            found.append(flat.search(matrix, rows, query, limit, allowed))
            continue
        own = (
            matrix.take_padded(numbers[places])
            if together is None
            else together[np.searchsorted(wanted, places)]
        )
        found.append(flat.best_of(numbers[places], flat.row_scores(own, query), limit))
    return found


def _blocks(matrix: Matrix, rows: int, numbers: Array) -> Iterator[Array]:
    """The rows of ascending ``numbers``, some at a time: (n, width) float32, valid until the next."""
    out = np.empty((_BLOCK_ROWS, matrix.width), np.float32)
    first = done = 0
    for chunk in matrix.chunks(rows):
        end = first + len(chunk.numbers)
        inside = numbers[done : np.searchsorted(numbers, end)] - first
        done += len(inside)
        for begin in range(0, len(inside), _BLOCK_ROWS):
            places = inside[begin : begin + _BLOCK_ROWS]
            if places[-1] - places[0] + 1 == len(places):
                run = slice(int(places[0]), int(places[-1]) + 1)
                yield join(chunk.head[run], chunk.tail[run], out[: len(places)])
            else:
                yield chunk.taken(places)
        first = end
