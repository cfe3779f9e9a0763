"""The few directions in which the rows of a user differ most, and rows as codes of a byte a direction.

A code says enough of a row to bound its inner product with any query from above (`memdb.index.sketch`)::

    code of x  =  c_1 .. c_k  A  B     u8 each, less 128
    c          =  P x / steps, rounded and cut off at 127
    A          =  |x - P^T y|          y = c * steps, the row as the code tells it
    B          =  |P (x - P^T y)|      both in steps of `bound_step`, rounded up

P has orthonormal rows: the leading right singular vectors of a sample of the rows, found by a
randomised range finder with one power iteration (Halko, Martinsson and Tropp, "Finding structure
with randomness", SIAM Review 53, 2011, algorithm 4.4).  Any P would do: a worse one costs time, never an answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.types.arrays import Array

CODE_LIMIT: Final = 127
"""Of the magnitude of a code."""
CODE_ZERO: Final = 128
"""The byte of code 0."""
BOUND_BYTES: Final = 2
"""A and B."""
CODE_BYTES: Final = 128
"""Of rows of 384-d and more, to begin with: on three kinds of data 64 told hardly anything."""
CODE_BYTES_MIN: Final = 64
CODE_BYTES_MAX: Final = 256
DIM_PER_BYTE: Final = 3
"""A code has at most a byte for so many dimensions: longer ones save too little."""
_LANES: Final = 16
"""FAISS's vector kernels take multiples of it."""
SAMPLE_ROWS: Final = 2048
_EXTRA_DIRECTIONS: Final = 16
_HEADROOM: Final = 1.25
"""By how much later rows may be larger than those of the sample before they are cut off."""
_SEED: Final = 2009
_UNIT_ROUNDOFF: Final = 2.0**-24
NORMS: Final = (1e-12, 1e12)
"""Of samples and queries: squares and their sums stay normal numbers."""


def code_bytes(dim: int) -> int:
    """Bytes of a code of rows of ``dim``, to begin with."""
    return min(max(dim // (DIM_PER_BYTE * _LANES) * _LANES, CODE_BYTES_MIN), CODE_BYTES)


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """Directions and steps; immutable."""

    directions: Array
    """(k, width) float32, orthonormal rows."""
    steps: Array
    """(k,) float32, positive."""
    bound_step: float
    """Of A and B."""
    skew: float
    """How far P P^T is from the identity, in the Frobenius norm."""

    @property
    def code_bytes(self) -> int:
        """Bytes of a row's code."""
        return len(self.steps) + BOUND_BYTES

    def encode(self, rows: Array) -> tuple[Array, Array]:
        """((n, code_bytes) u8, (n,) bool whether the code bounds its row) of (n, width) float32 rows.

        A row is not bounded when it is so far from the sample that A or B would not fit a byte, or
        when its squares are no numbers.
        """
        with np.errstate(all="ignore"):  # huge rows overflow, and are told to be unbounded
            kept, rest, error = _left_out(rows, self.directions, self.steps, self.skew)
            codes = np.empty((len(rows), self.code_bytes), np.float32)
            codes[:, :-2] = kept
            codes[:, -2] = np.ceil(rest / self.bound_step)
            codes[:, -1] = np.ceil(error / self.bound_step)
            bounded = np.asarray(np.isfinite(codes).all(axis=1))
            bounded &= (codes[:, -2:] <= CODE_LIMIT).all(axis=1)
            codes[~bounded] = 0
            return (codes + CODE_ZERO).astype(np.uint8), bounded

    def query(self, query: Array, norm_max: float) -> tuple[Array, float] | None:
        """((code_bytes,) float32 weights, rounding) for a (width,) float32 query.

        For no row of at most ``norm_max`` is the inner product with the query more than the sum of
        weights times its code (less 128 in every byte), plus ``rounding``: what float32 may have
        taken from that sum and from the places of the query, and added to the inner product.

        None for a query whose squares are not normal numbers, or whose products may overflow.
        """
        length = _length(query.astype(np.float64))
        if not NORMS[0] < length < NORMS[1] or not length * norm_max < NORMS[1] ** 3:
            return None
        places = self.directions @ query
        width = len(query)
        unsure = 2 * _sums_error(width, len(self.steps))
        inside = _length(places.astype(np.float64)) + unsure * length
        # |q|^2 = |P q|^2 + |q - P^T P q|^2 where P is orthonormal to the last bit.
        outside = max(length**2 - inside**2, 0.0) + (self.skew + 4 * unsure) * length**2
        out = np.empty(self.code_bytes, np.float32)
        out[:-2] = places * self.steps
        out[-2] = math.sqrt(outside) * self.bound_step
        out[-1] = inside * self.bound_step
        sums = 4 * _sum_error(self.code_bytes) + _sum_error(width)
        # A byte is read with what rounding makes of numbers up to 256.
        reading = 256 * 4 * _UNIT_ROUNDOFF * float(np.abs(out).sum())
        return out, (sums + unsure) * 2 * length * norm_max + reading


def _length(vector: Array) -> float:
    """Of a float64 vector; a third of the time of `numpy.linalg.norm`."""
    return math.sqrt(float(vector.dot(vector)))


def _left_out(
    rows: Array, directions: Array, steps: Array, skew: float
) -> tuple[Array, Array, Array]:
    """((n, k) float32 codes, (n,) A, (n,) B) of (n, width) rows; A and B are no less than they say,
    whatever float32 made of them.

    From the places alone: with P P^T = 1 + E, |x - P^T y|^2 = |x|^2 - 2 y.(P x) + |y|^2 + y.(E y), and
    P (x - P^T y) = P x - y - E y.
    """
    places = rows @ directions.T
    kept = np.clip(np.rint(places / steps), -CODE_LIMIT, CODE_LIMIT)
    told = (kept * steps).astype(np.float64)
    squared = np.einsum("ij,ij->i", rows, rows).astype(np.float64)
    lengths = np.sqrt(squared)
    unsure = _sums_error(rows.shape[1], len(steps))
    # |y| <= 2 |P x|: a code of 1 or more is at most twice what was rounded.
    spare = 4 * unsure + 4 * skew + 8 * _sum_error(rows.shape[1])
    products = np.einsum("ij,ij->i", told, told - 2.0 * places)
    rest = np.sqrt(np.maximum(squared + products, 0.0) + spare * squared)
    error = np.linalg.norm(places - told, axis=1) + (unsure + 2 * skew) * 2 * lengths
    return kept, rest, error


def _sum_error(count: int) -> float:
    """A sum of ``count`` products of float32 is wrong by at most this, times both norms."""
    return count * _UNIT_ROUNDOFF


def _sums_error(count: int, sums: int) -> float:
    """`_sum_error` of a product with ``sums`` rows of length 1, as a norm."""
    return _sum_error(count) * math.sqrt(sums)


def fit(sample: Array, width_bytes: int) -> Basis | None:
    """The basis of a (n, width) float32 sample with codes of ``width_bytes``; None where the sample
    has nothing to tell (too few rows, zeros, numbers too large to square).
    """
    wanted = width_bytes - BOUND_BYTES
    rows, width = sample.shape
    if rows < 2 * wanted or width < 2 * wanted:
        return None
    largest = float(np.abs(sample).max())
    if not NORMS[0] < largest < NORMS[1]:  # nor where it is no number
        return None
    rng = np.random.default_rng(_SEED)
    tall = rng.standard_normal((width, wanted + _EXTRA_DIRECTIONS), np.float32)
    for _ in range(2):
        tall, _ = np.linalg.qr(sample.T @ (sample @ tall))
    small = (sample @ tall).astype(np.float64)
    _, turned = np.linalg.eigh(small.T @ small)
    leading = tall.astype(np.float64) @ turned[:, ::-1][:, :wanted]
    # Once more in float64: products of float32 leave P less orthonormal than float32 can hold.
    leading, _ = np.linalg.qr(leading)
    directions = np.ascontiguousarray(leading.T, np.float32)
    wide = directions.astype(np.float64)
    skew = float(np.linalg.norm(wide @ wide.T - np.eye(wanted)))
    places = sample @ directions.T
    steps = np.abs(places).max(axis=0) * np.float32(_HEADROOM / CODE_LIMIT)
    steps = np.maximum(steps, np.float32(largest * 1e-6)).astype(np.float32)
    # So that whatever is not longer than the sample's rows is bounded, be it of a scene never seen.
    longest = float(np.linalg.norm(sample, axis=1).max())
    return Basis(directions, steps, longest * _HEADROOM / CODE_LIMIT, skew)
