"""A grid for each token: whole multiples of the token's step, kept as differences between frames.

::

    offset  size      field
         0  1         flags      bit 0: codes are differences, bit 1: one step for all rows; others 0
         1  1         reserved   0
         2  2         period     u16, rows of one frame, 1 or more, where codes are differences; else 0
         4  2 * n     steps      float16 in [0, 511.75]; n is 1 or rows
         -  -         codes      one zstd frame of rows * dim int8

    element[r, i] = float16(step[r] * code[r, i])        product in float32, exact
    with differences    code[r] = stored[r] + code[r - period], modulo 256; the first period rows as stored

The codecs that use it have this layout and differ in the step that the encoder takes.  INT8: the
token's greatest magnitude / 127.  DELTA and COARSE: a share of the token's root mean square, `STEPS`,
so that what is lost is share ** 2 / 12 of its energy, whatever it holds; codes are near 0 and the
entropy stage takes few bits for each, and fewer where a region looks as it did in the frame before.
Differences of codes, not of elements: nothing adds up from frame to frame.

Decoding is exact to the bit everywhere: whole numbers, one product that float32 holds exactly, one
rounding to float16.  With a step of at most 511.75 = 65504 / 128 no code gives more than float16 holds.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from memdb.codecs.frames import deflate, inflate
from memdb.codecs.halves import rounded_up, to_halves
from memdb.errors import InvalidArgument
from memdb.types.arrays import Array
from memdb.types.tensor import Codec

STEPS: Final = {Codec.DELTA: 0.1, Codec.COARSE: 0.34}
"""In root mean squares of the token: mean cosine 0.9996 and 0.9952."""
_CODE_MAX: Final = 127
_STEP_MAX: Final = 511.75
_PEAK_MAX: Final = _CODE_MAX * _STEP_MAX
_SHARED_MAX: Final = 1.02
"""Steps that lie within this ratio are one: unit vectors have the same anyway."""
_PERIOD_MAX: Final = 0xFFFF
_HEAD: Final = struct.Struct("<BBH")
_DIFFERENCES: Final = 1
_ONE_STEP: Final = 2
_PAYS: Final = 0.95
"""Differences are kept where their magnitudes sum up to less than this share of the codes' own."""


def encode_grid(array: Array, codec: Codec, period: int) -> bytes | None:
    """The payload of a finite (rows, dim) array; None for one with an element near the end of
    float16.

    codec: decides the step.  period: rows of one frame, 0 where unknown.
    """
    elements = np.asarray(array, np.float32)
    peaks = np.maximum(elements.max(axis=1), -elements.min(axis=1)).astype(np.float64)
    if peaks.max() > _PEAK_MAX:
        return None
    wanted = peaks / _CODE_MAX
    if codec in STEPS:
        # Summed in float64: rounded to float16 it is the same on every machine.
        energy = np.square(elements).sum(axis=1, dtype=np.float64)
        share = STEPS[codec] * np.sqrt(energy / elements.shape[1])
        wanted = np.maximum(wanted, np.minimum(share, _STEP_MAX))
    if wanted.max() <= _SHARED_MAX * wanted.min():
        wanted = wanted.max(keepdims=True)
    steps = rounded_up(wanted)
    divisors = steps.astype(np.float32)[:, None]
    divisors[divisors == 0] = 1  # a row of zeros
    codes = np.rint(elements / divisors).astype(np.int8)
    differences = _differences(codes, period)
    flags = (differences is not None and _DIFFERENCES) | (len(steps) == 1 and _ONE_STEP)
    head = _HEAD.pack(flags, 0, 0 if differences is None else period)
    if differences is None:
        frame = deflate((codes.data.cast("B"),), codes.size, is_noise=False)
    else:
        # The first frame has another histogram than the differences to it.
        parts = (differences[:period].data.cast("B"), differences[period:].data.cast("B"))
        frame = deflate(parts, codes.size, is_noise=True)
    return b"".join((head, steps.tobytes(), frame))


def check_grid(payload: bytes | memoryview, shape: tuple[int, int], field: str) -> None:
    """Refuse what `decode_grid` would; raises `InvalidArgument` (``BAD_FRAME``)."""
    _parse(payload, shape, field)


def decode_grid(payload: bytes | memoryview, shape: tuple[int, int], field: str) -> Array:
    """The (rows, dim) float16 array, always finite; raises `InvalidArgument` (``BAD_FRAME``)."""
    codes, steps, period = _parse(payload, shape, field)
    if period:
        codes = _summed(codes, period)
    return to_halves(codes, steps)


def decode_grid_codes(payload: bytes | memoryview, shape: tuple[int, int], field: str) -> Array:
    """(rows, dim) float32: the codes without their steps, 0 where the step is; raises as `decode_grid`."""
    codes, steps, period = _parse(payload, shape, field)
    if period:
        codes = _summed(codes, period)
    rows = codes.astype(np.float32)
    if not steps.all():
        rows *= steps.astype(np.float32)[:, None] != 0
    return rows


def _differences(codes: Array, period: int) -> Array | None:
    """Codes less those of the frame before, None where that does not pay."""
    if not 0 < period < min(len(codes), _PERIOD_MAX + 1):
        return None
    differences = codes.copy()
    differences[period:] -= codes[:-period]
    return differences if _magnitude(differences) < _PAYS * _magnitude(codes) else None


def _magnitude(codes: Array) -> int:
    return int(np.abs(codes).view(np.uint8).sum(dtype=np.uint64))


def _summed(stored: Array, period: int) -> Array:
    """Running sums over frames, modulo 256, by doubling: each pass adds what lies twice as far back."""
    codes = np.empty_like(stored)
    codes[:period] = stored[:period]
    np.add(stored[period:], stored[:-period], out=codes[period:])
    distance = 2 * period
    while distance < len(codes):
        codes[distance:] += codes[:-distance]
        distance *= 2
    return codes


def _parse(
    payload: bytes | memoryview, shape: tuple[int, int], field: str
) -> tuple[Array, Array, int]:
    """Stored codes, (1 or rows,) float16 steps, period or 0."""
    rows, dim = shape
    if len(payload) < _HEAD.size:
        raise _bad(field)
    flags, reserved, period = _HEAD.unpack_from(payload)
    if flags & ~(_DIFFERENCES | _ONE_STEP) or reserved:
        raise _bad(field)
    if (period > 0) != bool(flags & _DIFFERENCES) or period >= rows:
        raise _bad(field)
    count = 1 if flags & _ONE_STEP else rows
    end = _HEAD.size + 2 * count
    if len(payload) <= end:
        raise _bad(field)
    steps = np.frombuffer(payload, "<f2", count, _HEAD.size)
    # NaN fails the comparison too.
    if np.signbit(steps).any() or not (steps <= _STEP_MAX).all():
        raise _bad(field)
    raw = inflate(memoryview(payload)[end:], rows * dim, field)
    return np.frombuffer(raw, np.int8).reshape(shape), steps, period


def _bad(field: str) -> InvalidArgument:
    return InvalidArgument("head or steps of the grid are wrong", reason="BAD_FRAME", field=field)
