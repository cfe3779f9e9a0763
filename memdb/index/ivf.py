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

import math
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from memdb.index import faiss_later as faiss
from memdb.index import flat
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
_LISTS_EXTRA: Final = 8
"""So many lists more are put in order than are read as a rule."""
_FIRST_EXTRA: Final = 12
_WHOLE_MAX: Final = 96
"""Up to so many rows are read whole at once."""
_HEADS_PER_HIT: Final = 4
_HEADS_EXTRA: Final = 28
UNCODED_MAX: Final = 2048
"""Rows that have no codes yet: while more are being written than get codes, scanning all heads is as quick."""
_NO_ROWS: Final = np.empty(0, np.int64)
_NO_SCORES: Final = np.empty(0, np.float32)


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
    sketch = lists.sketch
    coded = min(rows, sketch.rows)
    if rows - coded > UNCODED_MAX:
        return None
    allowed_share = alive_share = 1.0
    is_filtered = allowed is not None and allowed is not alive
    if allowed is not None:
        count = int(np.count_nonzero(allowed))
        if count < ALLOWED_MIN:
            return None
        allowed_share = count / rows
        if alive is not None:
            alive_share = np.count_nonzero(alive) / len(alive) if is_filtered else allowed_share
    if lists.rows > rows:  # made of a newer view than ours
        newer = np.zeros(lists.rows, bool)
        newer[:rows] = True if allowed is None else allowed
        allowed = newer
    query = flat.padded_query(query, matrix.width)
    weights = lists.nearby.weights(query, matrix.norm_max)
    if weights is None:
        return None
    more = max(1.0, limit / LIMIT_MEASURED)
    needed = breadth.lists * more * lists.rows / lists.count * alive_share
    least_share = _NEIGHBOURS_SHARE * allowed_share if is_filtered else 0.0
    looked = _look(lists, breadth, weights, more, needed, allowed, least_share)
    if looked is None:
        return None
    parts, taken = looked
    if lists.rows < coded:
        parts += sketch.parts(matrix, lists.rows, coded)
        later = allowed is None or allowed[lists.rows : coded]
        taken += coded - lists.rows if later is True else int(np.count_nonzero(later))
    bits = selector = None
    if allowed is not None:
        bits = np.packbits(allowed, bitorder="little")
        selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
    wanted = min(int(breadth.candidates * more), taken)
    numbers, bounds = highest_bounds(parts, weights, wanted, selector)
    others = np.arange(coded, rows)
    if len(sketch.unbounded):
        known = ~np.isin(numbers, sketch.unbounded)
        numbers, bounds = numbers[known], bounds[known]
        others = np.concatenate([sketch.unbounded[sketch.unbounded < coded], others])
    if allowed is not None:
        others = others[allowed[others]]
    best = _best(matrix, query, numbers, bounds, others, limit)
    return best if len(best.scores) == limit else None


def _look(
    lists: Lists,
    breadth: Breadth,
    weights: Array,
    more: float,
    needed: float,
    allowed: Array | None,
    least_share: float,
) -> tuple[list[tuple[Array, Array]], int] | None:
    """The nearest lists, (codes, row numbers) each, ``breadth.lists`` times ``more`` or more, until they have as
    many allowed rows as ``needed``, and how many they have; None where that would be too many lists, or less
    than ``least_share`` of the nearest are allowed.
    """
    least, most = math.ceil(breadth.lists * more), lists_max(lists)
    nearest = partial(lists.nearby.nearest, weights, by_distance=breadth.by_distance)
    order = nearest(min(most, 2 * least + _LISTS_EXTRA))
    if least > len(order):
        return None
    taken, rows = least, lists.size_of(order[:least])
    if allowed is not None:
        inside = _inside(lists, order[:least], allowed)
        if inside < least_share * rows:
            return None
        rows = inside
    while rows < needed:
        if taken == most:
            return None
        if taken == len(order):
            order = nearest(most)
        # As many more as will do if they are like those before.
        growth = min(needed / max(rows, 1), 2.0)
        until = min(len(order), max(taken + 1, math.ceil(taken * growth)))
        its = order[taken:until]
        rows += lists.size_of(its) if allowed is None else _inside(lists, its, allowed)
        taken = until
    return [lists.part(number) for number in order[:taken].tolist()], rows


def _inside(lists: Lists, which: Array, allowed: Array) -> int:
    """How many rows of some lists are allowed."""
    numbers = [lists.part(number)[1] for number in which.tolist()]
    return int(np.count_nonzero(allowed[np.concatenate(numbers)]))


def _best(
    matrix: Matrix, query: Array, numbers: Array, bounds: Array, others: Array, limit: int
) -> Found:
    """The best of the candidates, and of rows without a bound or a code, by their whole rows."""
    if len(numbers) + len(others) <= _WHOLE_MAX:
        # Fewer calls are worth more than the rows that bounds would leave out.
        part = np.concatenate([numbers, others])
        return _whole(matrix, query, np.sort(part), _NO_ROWS, _NO_SCORES, limit)
    order = np.argsort(-bounds)
    numbers, bounds = numbers[order], bounds[order]
    first = min(limit + _FIRST_EXTRA, len(numbers))
    best = _whole(matrix, query, np.sort(numbers[:first]), _NO_ROWS, _NO_SCORES, limit)
    least = float(best.scores[-1]) if len(best.scores) == limit else -np.inf
    part = np.sort(np.concatenate([numbers[first:][bounds[first:] >= least], others]))
    if len(part) > _WHOLE_MAX:
        wanted = _HEADS_PER_HIT * limit + _HEADS_EXTRA
        margin = _head_margin(matrix, query)
        part = flat.best_heads(matrix, part, query, wanted, least - margin)
    if not len(part):
        return best
    found = _whole(matrix, query, part, best.numbers, best.scores, limit)
    return Found(found.numbers, found.scores, first + len(part))


def _whole(
    matrix: Matrix, query: Array, part: Array, numbers: Array, scores: Array, limit: int
) -> Found:
    """The best of some rows, ascending, by their whole rows, and of others with their scores."""
    found = flat.row_scores(matrix.take_ascending(part), query)
    if len(numbers):
        numbers, found = np.concatenate([numbers, part]), np.concatenate([scores, found])
    else:
        numbers = part
    return Found(*flat.best_of(numbers, found, limit), len(part))


def _head_margin(matrix: Matrix, query: Array) -> float:
    """By how much a row may score more than its head: what the head leaves out of it, and what rounding the
    query to bfloat16 takes, as some processors do.
    """
    length = float(np.linalg.norm(query))
    return length * (matrix.residual_max + 2.0**-8 * matrix.norm_max)
