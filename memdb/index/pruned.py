"""Exact search that reads whole only the rows which bounds do not exclude."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.index import flat
from memdb.index.matrix import Matrix
from memdb.index.sketch import Sketch
from memdb.types.arrays import Array

_CANDIDATES: Final = (256, 2048)
"""Bounds that are kept of a scan, and of a second one."""
_CANDIDATES_PER_HIT: Final = 8
_FIRST_EXTRA: Final = 12
"""So many candidates more than hits are scored before the others are looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The best rows and what it took."""

    numbers: Array
    scores: Array
    scored: int
    """Rows that were read whole."""


def search(
    matrix: Matrix, sketch: Sketch, rows: int, query: Array, limit: int, allowed: Array | None
) -> Found | None:
    """`flat.search` of the first ``rows`` rows, or None where the bounds do not tell enough."""
    coded = min(rows, sketch.rows)
    query = flat.padded_query(query, matrix.width)
    weighed = sketch.basis.query(query, matrix.norm_max)
    if weighed is None:
        return None
    weights, rounding = weighed
    bounded = coded if allowed is None else int(np.count_nonzero(allowed[:coded]))
    others = others_best(matrix, coded, sketch.unbounded, rows, query, limit, allowed)
    least = -np.inf
    scored = 0
    for kept in _CANDIDATES:
        wanted = max(kept, _CANDIDATES_PER_HIT * limit)
        if wanted >= bounded:
            return None
        numbers, bounds = sketch.scan(matrix, coded, weights, wanted, allowed)
        # Of a row that no candidate is.
        highest = float(bounds[0]) + rounding
        if least > -np.inf and not least > highest:
            return None  # what the first scan found says that scoring these would not do either
        if len(sketch.unbounded):
            known = ~np.isin(numbers, sketch.unbounded)
            numbers, bounds = numbers[known], bounds[known]
        best = bounded_best(matrix, query, numbers, bounds + np.float64(rounding), others, limit)
        scored += best.scored
        least = float(best.scores[-1]) if len(best.scores) == limit else -np.inf
        if least > highest:
            return Found(best.numbers, best.scores, scored)
    return None


def others_best(
    matrix: Matrix,
    first: int,
    unbounded: Array,
    rows: int,
    query: Array,
    limit: int,
    allowed: Array | None,
) -> tuple[Array, Array]:
    """(numbers, scores) of what no bounds are known of: the best of rows [first, rows), and all of the
    ``unbounded`` ones before; allowed ones only.
    """
    numbers, scores = np.empty(0, np.int64), np.empty(0, np.float32)
    if first < rows:
        numbers, scores = flat.search(matrix, rows, query, limit, allowed, first)
    if len(unbounded):
        unbounded = unbounded[unbounded < first]
        if allowed is not None:
            unbounded = unbounded[allowed[unbounded]]
        found = flat.row_scores(matrix.take_padded(unbounded), query)
        numbers, scores = np.concatenate([numbers, unbounded]), np.concatenate([scores, found])
    return numbers, scores


def bounded_best(
    matrix: Matrix,
    query: Array,
    candidates: Array,
    bounds: Array,
    others: tuple[Array, Array],
    limit: int,
) -> Found:
    """The best of ``others`` (numbers, scores) and of the candidates, which are scored as far as
    their bounds ask for it.
    """
    order = np.argsort(-bounds, kind="stable")
    candidates, bounds = candidates[order], bounds[order]
    numbers, scores = others
    begin, end = 0, min(limit + _FIRST_EXTRA, len(candidates))
    while begin < end:
        part = np.sort(candidates[begin:end])
        found = flat.row_scores(matrix.take_ascending(part), query)
        numbers, scores = np.concatenate([numbers, part]), np.concatenate([scores, found])
        numbers, scores = flat.best_of(numbers, scores, limit)
        least = float(scores[-1]) if len(scores) == limit else -np.inf
        begin, end = end, int(np.searchsorted(-bounds, -least, side="right"))
    return Found(numbers, scores, begin)
