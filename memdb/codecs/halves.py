"""From whole codes and their steps to float16, in blocks that stay in the processor's cache."""

from __future__ import annotations

from typing import Final

import numpy as np

from memdb.types.arrays import Array

_BLOCK: Final = 16 * 1024
"""Elements of one block: 64 KiB as float32, whatever the size of the tensor."""
_CODES: Final = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float32)
"""The code behind each byte."""


def rounded_up(values: Array) -> Array:
    """(n,) float64, none below 0, as float16 that are not smaller; none is -0.0."""
    values = np.abs(values)
    halves = values.astype("<f2")
    return np.where(halves < values, np.nextafter(halves, np.float16(np.inf)), halves)


def to_halves(codes: Array, steps: Array) -> Array:
    """(rows, dim) float16 of int8 codes and the step of each row, or the one step of all."""
    rows, dim = codes.shape
    if len(steps) == 1:
        return _looked_up(codes, steps[0])
    halves = np.empty((rows, dim), "<f2")
    factors = steps.astype(np.float32)[:, None]
    height = max(1, _BLOCK // dim)
    products = np.empty((min(height, rows), dim), np.float32)
    for top in range(0, rows, height):
        block = codes[top : top + height]
        halves[top : top + height] = np.multiply(
            block, factors[top : top + height], out=products[: len(block)]
        )
    return halves


def _looked_up(codes: Array, step: np.float16) -> Array:
    """256 products are all there can be; `numpy.take` is quicker than the rounding it saves."""
    table = (_CODES * np.float32(step)).astype("<f2")
    places = codes.reshape(-1).view(np.uint8)
    halves = np.empty(places.shape, "<f2")
    for begin in range(0, len(places), _BLOCK):
        end = begin + _BLOCK
        np.take(table, places[begin:end], out=halves[begin:end], mode="wrap")
    return halves.reshape(codes.shape)
