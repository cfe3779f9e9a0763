"""float32 rows as two planes of 16 bits, so that a search reads half of the bytes.

::

    bits of x  =  (head << 16) + tail      head u16: x rounded to bfloat16, tail i16: what that left out

The head plane alone is a matrix of bfloat16, which FAISS scans more than twice as fast as float32;
head and tail together give back x to the last bit.  Nothing is stored twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.types.arrays import Array

LANES: Final = 16
"""Rows are padded with zeros to a multiple of this: FAISS's vector kernels take nothing else."""
Split = Callable[[Array, Array, Array], tuple[float, float]]
"""`split`."""

_split_by: Split | None = None


def split_by(split_rows: Split) -> None:
    """Have ``split_rows`` split rows in one piece from now on, into planes in one piece; see
    `memdb.index.directions.unit_rows_by`."""
    global _split_by  # noqa: PLW0603 - as there
    _split_by = split_rows


_SQUARES: Final = (1e-30, 1e36)
_HALF: Final = np.uint32(0x8000)
_HEAD: Final = np.uint32(0xFFFF0000)
_HEAD_BITS: Final = np.uint32(16)
_BLOCK_BYTES: Final = 512 * 1024
"""Of float32 that are worked on at once: several passes over what a core's cache holds."""


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Rows that were split already."""

    head: Array
    """(n, width) u16."""
    tail: Array
    """(n, width) i16."""
    residual_max: float
    """No row is farther from its head."""
    norm_max: float
    """No row is longer."""


def padded(dim: int) -> int:
    """Elements of a row of ``dim`` with its padding."""
    return -(-dim // LANES) * LANES


def block_rows(width: int) -> int:
    """Rows to work on at once."""
    return max(1, _BLOCK_BYTES // (4 * width))


def split(rows: Array, head: Array, tail: Array) -> tuple[float, float]:
    """Write (n, dim) float32 ``rows`` into (n, width) ``head`` u16 and ``tail`` i16.

    Returns the largest norm of what a row's head leaves out, and of a row: with them a scan of
    heads bounds the exact inner products (`memdb.index.flat`).
    """
    if _split_by is not None and rows.flags.c_contiguous:
        return _split_by(rows, head, tail)
    residual_max = norm_max = 0.0
    dim = rows.shape[1]
    step = block_rows(head.shape[1])
    if dim < head.shape[1]:
        head[:, dim:] = 0
        tail[:, dim:] = 0
    for begin in range(0, len(rows), step):
        block = rows[begin : begin + step]
        bits = block.view(np.uint32)
        # Half up; an element next to the largest float32 becomes infinite in its head alone.
        heads = bits + _HALF
        heads &= _HEAD
        np.right_shift(heads, _HEAD_BITS, out=head[begin : begin + step, :dim], casting="unsafe")
        np.subtract(bits, heads, out=tail[begin : begin + step, :dim], casting="unsafe")
        residual = heads.view(np.float32)
        np.subtract(block, residual, out=residual)
        residual_max = max(residual_max, longest(residual))
        norm_max = max(norm_max, longest(block))
    return residual_max, norm_max


def join(head: Array, tail: Array, out: Array) -> Array:
    """The (n, width) float32 rows of two planes, written to ``out`` and returned."""
    bits = out.view(np.uint32)
    np.left_shift(head, _HEAD_BITS, out=bits)
    bits.view(np.int32)[...] += tail
    return out


def longest(rows: Array) -> float:
    """The largest norm of (n, width) float32 rows, or a little more; not less."""
    squared = float(np.maximum.reduce(np.einsum("ij,ij->i", rows, rows)))
    if not _SQUARES[0] < squared < _SQUARES[1]:
        # Squares overflow or vanish in float32; not in float64.
        wide = rows.astype(np.float64)
        squared = float(np.einsum("ij,ij->i", wide, wide).max())
    return float(math.sqrt(squared) * (1 + rows.shape[1] * 2.0**-24))
