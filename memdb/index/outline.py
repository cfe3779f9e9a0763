"""Rows in the few directions in which they differ most: an eighth of their bytes, which bound every product of a
row with a query from above.

With P of orthonormal rows (`memdb.index.basis.fit`), y = P x and w = P q as float32 has them, and r = x - P^T y, which
is what the directions leave out of a row::

    q.x  =  P q . y  +  P^T w . r  +  (q - P^T w) . r
         <=  w . y  +  |q - P^T w| |r|  +  what rounding took

so one product of (w, |q - P^T w|) with rows (y, |r|) bounds all rows.  Columns that stand beside a row, such as what
it must reach, go on as they are.  Any P would do: a worse one costs time, never an answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.index.basis import BOUND_BYTES, SAMPLE_ROWS, fit
from memdb.index.flat import row_scores
from memdb.index.planes import padded
from memdb.types.arrays import Array

DIRECTIONS: Final = 189
"""With |r| and two columns beside, 192 elements."""
_UNIT_ROUNDOFF: Final = 2.0**-24
_NORMS: Final = (1e-12, 1e12)
"""Of rows and queries: squares and their sums stay normal numbers."""
_TINY: Final = 1e-30
"""What may vanish below the smallest normal number."""
_BLOCK_ROWS: Final = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """Of (n, dim) rows with some columns beside."""

    directions: Array
    """(k, dim) float32, orthonormal rows."""
    skew: float
    """How far P P^T is from the identity, in the Frobenius norm."""
    rows: Array
    """(n, width) float32: y, |r|, the columns beside, zeros."""
    norm_max: float
    """No (dim,) row is longer."""
    row_max: float
    """Nor one of `rows`."""

    def reaching(self, query: Array, beside: Array, numbers: Array | None) -> Array | None:
        """Numbers, ascending, of the rows whose product with a (dim,) query and a weight for each column beside may
        be 0 or more, of all or of some ascending ``numbers``; None where the bounds say nothing.
        """
        length = math.sqrt(float(np.square(query, dtype=np.float64).sum()))
        if not _NORMS[0] < length < _NORMS[1]:
            return None
        places = row_scores(self.directions, query)
        unsure = _projection_error(self.directions)
        inside = float(np.square(places, dtype=np.float64).sum())
        outside = length**2 - inside + (2 * unsure + self.skew) * 4 * length**2
        count = len(places)
        weights = np.zeros(self.rows.shape[1], np.float32)
        weights[:count] = places
        weights[count] = np.nextafter(np.float32(math.sqrt(max(outside, 0.0))), np.float32(np.inf))
        weights[count + 1 : count + 1 + len(beside)] = beside
        weighed = math.sqrt(float(np.square(weights, dtype=np.float64).sum()))
        if not weighed < _NORMS[1]:
            return None
        slack = (
            4 * (unsure + self.skew) * length * self.norm_max
            + 2 * (len(weights) + 2) * _UNIT_ROUNDOFF * weighed * self.row_max
            + _TINY
        )
        bounds = row_scores(self.rows if numbers is None else self.rows[numbers], weights)
        found = np.flatnonzero(bounds >= -slack)
        return found if numbers is None else numbers[found]


def outlined(
    rows: Array, beside: Array, stop: Callable[[], bool] = lambda: False
) -> Outline | None:
    """That of (n, dim) float32 rows with (n, m) columns beside; None where rows are few, short, or too large to
    square, and once ``stop`` says to leave it: it is asked between steps of some milliseconds, but to find the
    directions is one of half a second.
    """
    taken = min(len(rows), SAMPLE_ROWS)
    sample = rows[np.arange(taken) * len(rows) // taken]
    basis = fit(np.ascontiguousarray(sample), DIRECTIONS + BOUND_BYTES)
    return None if basis is None else _along(basis.directions, basis.skew, rows, beside, stop)


def carried_over(before: Outline, places: Array, rows: Array, beside: Array) -> Outline | None:
    """`outlined` in the directions of another outline, which has some of the rows, and what is beside them, at
    (n,) places; -1 for the others.
    """
    others = np.flatnonzero(places < 0)
    made = _along(before.directions, before.skew, rows[others], beside[others])
    if made is None:
        return None
    out = before.rows[places]
    out[others] = made.rows
    return Outline(
        before.directions,
        before.skew,
        out,
        max(before.norm_max, made.norm_max),
        max(before.row_max, made.row_max),
    )


def _along(
    directions: Array,
    skew: float,
    rows: Array,
    beside: Array,
    stop: Callable[[], bool] = lambda: False,
) -> Outline | None:
    count = len(directions)
    unsure = _projection_error(directions)
    # Of a product with as many rows as there are directions, of elements of their rows.
    back = (count + 2) * _UNIT_ROUNDOFF * (1 + 2 * math.sqrt(count))
    out = np.zeros((len(rows), padded(count + 1 + beside.shape[1])), np.float32)
    longest = 0.0
    for begin in range(0, len(rows), _BLOCK_ROWS):
        if stop():
            return None
        block = rows[begin : begin + _BLOCK_ROWS]
        lengths = np.sqrt(np.square(block, dtype=np.float64).sum(axis=1))
        longest = max(longest, float(lengths.max()))
        if not longest < _NORMS[1]:
            return None
        places = block @ directions.T
        left = np.sqrt(np.square(block - places @ directions, dtype=np.float64).sum(axis=1))
        left = (left + (back + unsure) * lengths).astype(np.float32)
        made = out[begin : begin + _BLOCK_ROWS]
        made[:, :count] = places
        made[:, count] = np.nextafter(left, np.float32(np.inf))
        made[:, count + 1 : count + 1 + beside.shape[1]] = beside[begin : begin + _BLOCK_ROWS]
    squared = np.square(out, dtype=np.float64).sum(axis=1)
    longest_row = math.sqrt(float(squared.max(initial=0.0)))
    if not longest_row < _NORMS[1]:
        return None
    return Outline(directions, skew, out, longest, longest_row)


def _projection_error(directions: Array) -> float:
    """How far P x in float32 may be from P x, as a share of |x|."""
    count, dim = directions.shape
    return float(2 * dim * _UNIT_ROUNDOFF * math.sqrt(count))
