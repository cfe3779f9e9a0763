"""Approximate search: of all lists of neighbouring rows (`memdb.index.lists`) it looks at the nearest.

::

    lists, nearest first ─▶ bounds by codes ─▶ heads of the candidates ─▶ whole rows: scores
    rows since, by codes ──────▲                 rows without codes ─────────▲

What is approximate is which rows are looked at.  Scores are those of the whole rows by the kernel of
`memdb.index.flat`, to the last bit, so an answer differs from the exact one only where it has another
row; and it is as long: where the lists that may be read do not have enough, the search says so and
leaves the question to an exact one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.index import flat
from memdb.index.basis import BOUND_BYTES
from memdb.index.lists import Lists
from memdb.index.matrix import Matrix
from memdb.index.pruned import Found
from memdb.index.sketch import highest_bounds
from memdb.types.arrays import Array

LIMIT_MEASURED: Final = 10
"""Hits of the questions by which a breadth is measured; more hits take as much more of it."""
LIMIT_MAX: Final = 64
"""Of more hits an exact search is not much slower."""
LISTS_SHARE_MAX: Final = 0.25
"""Of the lists; reading more is no quicker than bounding all rows."""
ALLOWED_MIN: Final = 2048
"""Of fewer allowed rows all are scored sooner."""
_NEIGHBOURS_SHARE: Final = 0.5
"""A filter that admits less than half as much of the nearest lists as of all has little to do with where
the question is: what it admits may be anywhere."""
_FIRST_EXTRA: Final = 12
_HEADS_MIN: Final = 96
"""Up to so many rows are read whole at once."""
_HEADS_PER_HIT: Final = 4
_HEADS_EXTRA: Final = 28
_UNCODED_MAX: Final = 2048
"""Rows that have no codes yet: while more are being written than get codes, scanning all heads is as quick."""
_NO_ROWS: Final = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Breadth:
    """How much a search looks at, for `LIMIT_MEASURED` hits."""

    lists: int
    """The nearest ones, at least."""
    candidates: int
    """Rows of the highest bounds whose heads are read."""
    by_distance: bool
    """Whether the nearest lists are those of the nearest centres; else of the largest inner products."""


def lists_max(lists: Lists) -> int:
    """How many may be read for a question."""
    return max(1, int(lists.count * LISTS_SHARE_MAX))


def search(
    matrix: Matrix,
    lists: Lists,
    breadth: Breadth,
    rows: int,
    query: Array,
    limit: int,
    allowed: Array | None,
    alive: Array | None,
) -> Found | None:
    """About the ``limit`` best of the first ``rows`` rows, as `flat.search`; None where that is to be
    found exactly.

    allowed: (rows,) bool, or None for all.  alive: those of which a filter chose the allowed ones.
    """
    if limit > LIMIT_MAX:
        return None
    allowed_share = 1.0
    if lists.rows > rows:  # made of a newer view than ours
        allowed = np.ones(rows, bool) if allowed is None else allowed
    if allowed is not None:
        count = int(np.count_nonzero(allowed))
        if count < ALLOWED_MIN:
            return None
        allowed_share = count / rows
    sketch = lists.sketch
    coded = min(rows, sketch.rows)
    if rows - coded > _UNCODED_MAX:
        return None
    query = flat.padded_query(query, matrix.width)
    weighed = sketch.basis.query(query, matrix.norm_max)
    if weighed is None:
        return None
    weights, rounding = weighed
    more = max(1.0, limit / LIMIT_MEASURED)
    is_filtered = allowed is not None and allowed is not alive
    alive_share = 1.0 if alive is None else allowed_share
    if is_filtered and alive is not None:
        alive_share = np.count_nonzero(alive) / len(alive)
    needed = breadth.lists * more * lists.rows / lists.count * alive_share
    order = _nearest(lists, breadth, weights)
    found = _look(lists, order, int(np.ceil(breadth.lists * more)), needed, rows, allowed)
    if found is None:
        return None
    codes, numbers, near_share = found
    if is_filtered and near_share < _NEIGHBOURS_SHARE * allowed_share:
        return None
    parts = [(codes, numbers)]
    for its_codes, its_numbers in sketch.parts(matrix, min(lists.rows, coded), coded):
        parts.append(_allowed(its_codes, its_numbers, allowed))
    wanted = min(int(breadth.candidates * more), sum(len(part) for _, part in parts))
    numbers, bounds = highest_bounds(parts, weights, wanted)
    if len(sketch.unbounded):
        known = ~np.isin(numbers, sketch.unbounded)
        numbers, bounds = numbers[known], bounds[known]
    unbounded = sketch.unbounded[sketch.unbounded < coded]
    uncoded = np.arange(coded, rows)
    if allowed is not None:
        unbounded, uncoded = unbounded[allowed[unbounded]], uncoded[allowed[coded:rows]]
    order = np.argsort(-bounds, kind="stable")
    numbers, bounds = numbers[order], bounds[order] + np.float64(rounding)
    best = _best(matrix, query, numbers, bounds, unbounded, uncoded, limit)
    return best if len(best.scores) == limit else None


def _nearest(lists: Lists, breadth: Breadth, weights: Array) -> Array:
    """The lists that may be read, the nearest first."""
    places = weights[:-BOUND_BYTES] / lists.sketch.basis.steps
    near = lists.centres.places @ places
    if breadth.by_distance:
        near -= lists.centres.halves
    most = lists_max(lists)
    best = np.argpartition(-near, most - 1)[:most]
    return best[np.argsort(-near[best], kind="stable")]


def _look(
    lists: Lists, order: Array, least: int, needed: float, rows: int, allowed: Array | None
) -> tuple[Array, Array, float] | None:
    """(codes, row numbers) of the allowed rows of the nearest lists, ``least`` lists or more, until they
    are as many as ``needed``, and which share of the nearest is allowed; None where that would be
    too many lists.
    """
    if least > len(order):
        return None
    codes, numbers = lists.taken(order[:least])
    looked = len(numbers)
    codes, numbers = _allowed(codes, numbers, allowed)
    near_share = len(numbers) / max(1, looked)
    taken = least
    while len(numbers) < needed:
        if taken == len(order):
            return None
        # As many more as will do if they are like those before.
        growth = needed / max(len(numbers), 1)
        until = min(len(order), max(taken + 1, int(np.ceil(taken * min(growth, 2.0)))))
        more = _allowed(*lists.taken(order[taken:until]), allowed)
        codes, numbers = np.concatenate([codes, more[0]]), np.concatenate([numbers, more[1]])
        taken = until
    return codes, numbers, near_share


def _allowed(codes: Array, numbers: Array, allowed: Array | None) -> tuple[Array, Array]:
    if allowed is None:
        return codes, numbers
    kept = numbers < len(allowed)
    if not kept.all():
        codes, numbers = codes[kept], numbers[kept]
    kept = allowed[numbers]
    return (codes, numbers) if kept.all() else (codes[kept], numbers[kept])


def _best(
    matrix: Matrix,
    query: Array,
    numbers: Array,
    bounds: Array,
    unbounded: Array,
    uncoded: Array,
    limit: int,
) -> Found:
    """The best of the candidates, the highest bound first, and of rows without a bound or a code, by their
    whole rows.
    """
    margin = _head_margin(matrix, query)
    found, scores = _NO_ROWS, np.empty(0, np.float32)
    begin, end = 0, min(limit + _FIRST_EXTRA, len(numbers))
    part = np.concatenate([numbers[:end], unbounded])
    scored = 0
    while begin < end or len(part):
        part = np.sort(part)
        scored += len(part)
        found = np.concatenate([found, part])
        scores = np.concatenate([scores, flat.row_scores(matrix.take_ascending(part), query)])
        found, scores = flat.best_of(found, scores, limit)
        least = float(scores[-1]) if len(scores) == limit else -np.inf
        begin, end = end, int(np.searchsorted(-bounds, -least, side="right"))
        part = np.concatenate([numbers[begin:end], uncoded])
        if len(part) > _HEADS_MIN:
            wanted = _HEADS_PER_HIT * limit + _HEADS_EXTRA
            part = flat.best_heads(matrix, np.sort(part), query, wanted, least - margin)
        uncoded = _NO_ROWS
    return Found(found, scores, scored)


def _head_margin(matrix: Matrix, query: Array) -> float:
    """By how much a row may score more than its head: what the head leaves out of it, and what rounding the
    query to bfloat16 takes, as some processors do.
    """
    length = float(np.linalg.norm(query))
    return length * (matrix.residual_max + 2.0**-8 * matrix.norm_max)
