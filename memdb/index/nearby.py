"""Which lists a question is near, told by bytes alone: of directions, and of centres as if they were rows.

It need not be told to the last bit, since how many lists are enough is measured (`memdb.index.breadth`).  But what it
reads counts: directions and centres as float32 are 2 MB of 100,000 rows, more than the cache of a core, and each
question would read them from afar; as bytes they are half a megabyte.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from memdb.index.basis import BOUND_BYTES, CODE_LIMIT, CODE_ZERO, NORMS, Basis
from memdb.index.sketch import highest_bounds, whole_products
from memdb.types.arrays import Array

_LEAST: Final = np.float32(1e-30)
"""No step is smaller, where all are zeros."""
_FINE: Final = 2 * CODE_LIMIT
"""Steps of the second byte of a half in one of the first."""


@dataclass(frozen=True, slots=True, eq=False)
class Nearby:
    """The directions of a basis and the centres of lists; immutable."""

    directions: Array
    """(k, width) u8, less `CODE_ZERO`."""
    direction_steps: Array
    """(k,) float32."""
    basis: Basis
    centres: Array
    """(lists, code_bytes) u8: codes as of rows, and in the place of their bounds half of the squared length."""
    half_step: float
    """Of the first of the two bytes of that."""

    @classmethod
    def of(cls, basis: Basis, places: Array, halves: Array) -> Self:
        """places: (lists, k) float32 of the centres.  halves: (lists,) float32, half of their squared lengths."""
        steps = np.maximum(np.abs(basis.directions).max(axis=1) / CODE_LIMIT, _LEAST)
        half_step = float(max(halves.max() / CODE_LIMIT, _LEAST))
        codes = np.empty((len(places), basis.code_bytes), np.float32)
        codes[:, :-BOUND_BYTES] = places / basis.steps
        codes[:, -2] = np.rint(halves / half_step)
        codes[:, -1] = (halves / half_step - codes[:, -2]) * _FINE
        return cls(
            _bytes(basis.directions / steps[:, None]), steps, basis, _bytes(codes), half_step
        )

    def weights(self, query: Array, norm_max: float) -> Array | None:
        """(code_bytes,) float32 of a (width,) float32 query, about those of `Basis.query`, by which rows are put
        in order; None where that has none.
        """
        length = _length(query)
        if not NORMS[0] < length < NORMS[1] or not length * norm_max < NORMS[1] ** 3:
            return None
        # As whole numbers, which are multiplied as what they are.
        step = max(float(np.abs(query).max()) / CODE_LIMIT, float(_LEAST))
        places = whole_products(self.directions, np.rint(query / np.float32(step)))
        places *= self.direction_steps
        places *= np.float32(step)
        inside = _length(places)
        out = np.empty(self.basis.code_bytes, np.float32)
        np.multiply(places, self.basis.steps, out=out[:-BOUND_BYTES])
        out[-2] = math.sqrt(max(length**2 - inside**2, 0.0)) * self.basis.bound_step
        out[-1] = inside * self.basis.bound_step
        return out

    def nearest(self, weights: Array, count: int, *, by_distance: bool) -> Array:
        """(count,) int64 lists, the nearest first; weights: from `weights`."""
        weights = weights.copy()
        weights[-2] = -self.half_step if by_distance else 0.0
        weights[-1] = weights[-2] / _FINE
        parts = [(self.centres, np.arange(len(self.centres)))]
        numbers, near = highest_bounds(parts, weights, count)
        return np.asarray(numbers[np.argsort(-near, kind="stable")])


def _bytes(codes: Array) -> Array:
    """(n, m) u8 of codes of at most about `CODE_LIMIT`, not rounded yet."""
    limited = np.clip(np.rint(codes), -CODE_LIMIT, CODE_LIMIT)
    return np.ascontiguousarray(limited + CODE_ZERO, np.uint8)


def _length(vector: Array) -> float:
    """In a third of the time of `numpy.linalg.norm`; no normal number where its square is none."""
    return math.sqrt(float(vector.dot(vector)))
