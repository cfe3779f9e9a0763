"""Four bits an element, a step for each 32 elements; a fixed size, so nothing is ever inflated.

::

    offset                size          field
    0                     2 * rows      tops    float16 in [0, 8188], one for each row
    2 * rows              rows * g      shares  int8, one for each group of 32 elements; g = ceil(dim / 32)
    (2 + g) * rows        rows * h      codes   two's complement, element 2i in the low, 2i + 1 in the high
                                                four bits of byte i; h = ceil(dim / 2), a last odd half is 0

    element[r, i] = float16(top[r] * share[r, i // 32] / 128 * code[r, i])        in float32, exact

A group's step is its greatest element / -8, sign included: the element of greatest magnitude has code
-8, and all sixteen codes are in use.

Decoding is exact to the bit everywhere: 11 bits of top, 7 of share and 4 of code fit the 24 of float32,
and one rounding to float16 follows.  With a top of at most 8188 = 65504 / 8 nothing exceeds float16.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from memdb.codecs.halves import rounded_up
from memdb.errors import InvalidArgument
from memdb.types.arrays import Array

GROUP: Final = 32
_TOP_MAX: Final = 8188.0
_TOP_FINE: Final = 2.0**-12
"""Below it elements that matter are among float16's subnormal numbers, whose rounding turns a row."""
_SHARE_MAX: Final = 127
_SHARES: Final = 128
_CODE_MIN, _CODE_MAX = -8, 7
_BLOCK: Final = 16 * 1024
_NIBBLES = (np.arange(16, dtype=np.int8) ^ 8) - 8
_PAIRS: Final = (
    np.stack([np.tile(_NIBBLES, 16), np.repeat(_NIBBLES, 16)], axis=1)
    .astype(np.int8)
    .view("<u2")
    .reshape(256)
)
"""Both codes of a byte, as two bytes."""


def int4_bytes(rows: int, dim: int) -> int:
    """Length of the payload of a (rows, dim) tensor."""
    return rows * (2 + -(-dim // GROUP) + -(-dim // 2))


def encode_int4(array: Array) -> bytes | None:
    """The payload of a finite (rows, dim) array; None for one with an element near the end of
    float16.
    """
    rows, dim = array.shape
    groups = -(-dim // GROUP)
    elements = np.zeros((rows, groups * GROUP), np.float32)
    elements[:, :dim] = array
    elements = elements.reshape(rows, groups, GROUP)
    high, low = elements.max(axis=2), elements.min(axis=2)
    wanted = np.where(high >= -low, high, low) / np.float32(_CODE_MIN)
    sizes = np.abs(wanted)
    tops = sizes.max(axis=1).astype(np.float64) * _SHARES / _SHARE_MAX
    if tops.max() > _TOP_MAX:
        return None
    tops = rounded_up(tops)
    factors = tops.astype(np.float32)[:, None] / _SHARES
    divisors = np.where(factors == 0, 1, factors)
    # Rounded up, so that the greatest element is within reach.
    shares = np.copysign(np.minimum(np.ceil(sizes / divisors), _SHARE_MAX), wanted)
    steps = factors * shares
    steps[steps == 0] = 1
    codes = np.rint(elements / steps[:, :, None]).clip(_CODE_MIN, _CODE_MAX).astype(np.int8)
    halves = codes.reshape(rows, -1)[:, : 2 * -(-dim // 2)] & 15
    packed = halves[:, 0::2] | halves[:, 1::2] << 4
    return b"".join((tops.tobytes(), shares.astype(np.int8).tobytes(), packed.tobytes()))


def check_int4(payload: bytes | memoryview, shape: tuple[int, int], field: str) -> None:
    """Refuse what `decode_int4` would; raises `InvalidArgument` (``LENGTH_MISMATCH``,
    ``BAD_FRAME``).
    """
    _parse(payload, shape, field)


def decode_int4(payload: bytes | memoryview, shape: tuple[int, int], field: str) -> Array:
    """The (rows, dim) float16 array, always finite; raises as `check_int4`."""
    rows, dim = shape
    tops, shares, packed = _parse(payload, shape, field)
    groups = shares.shape[1]
    halves = np.empty(shape, "<f2")
    height = max(1, _BLOCK // dim)
    for top in range(0, rows, height):
        end = min(rows, top + height)
        steps = tops[top:end].astype(np.float32)[:, None] * shares[top:end] / np.float32(_SHARES)
        codes = np.take(_PAIRS, packed[top:end]).view(np.int8)
        if dim == groups * GROUP:
            products = codes.reshape(end - top, groups, GROUP) * steps[:, :, None]
            halves[top:end] = products.reshape(end - top, dim)
        else:
            halves[top:end] = codes[:, :dim] * np.repeat(steps, GROUP, axis=1)[:, :dim]
    return halves


def decode_int4_codes(payload: bytes | memoryview, shape: tuple[int, int], field: str) -> Array:
    """(rows, dim) float32: share times code, without the tops, 0 where the top is; the elements where
    float16 is too coarse for them.  Raises as `check_int4`.
    """
    rows, dim = shape
    tops, shares, packed = _parse(payload, shape, field)
    if ((tops > 0) & (tops < _TOP_FINE)).any():
        return decode_int4(payload, shape, field).astype(np.float32)
    groups = shares.shape[1]
    products = np.zeros((rows, groups * GROUP), np.float32)
    codes = np.take(_PAIRS, packed).view(np.int8)
    products[:, :dim] = codes[:, :dim]
    products.reshape(rows, groups, GROUP)[...] *= shares[:, :, None]
    products[tops == 0] = 0
    return products[:, :dim]


def _parse(
    payload: bytes | memoryview, shape: tuple[int, int], field: str
) -> tuple[Array, Array, Array]:
    """(rows,) float16 tops, (rows, groups) int8 shares, (rows, h) bytes of codes."""
    rows, dim = shape
    if len(payload) != int4_bytes(rows, dim):
        raise InvalidArgument(
            f"{rows} x {dim} elements of 4 bits take {int4_bytes(rows, dim)} bytes",
            reason="LENGTH_MISMATCH",
            field=field,
            value=len(payload),
        )
    groups, width = -(-dim // GROUP), -(-dim // 2)
    tops = np.frombuffer(payload, "<f2", rows)
    # NaN fails the comparison too.
    if np.signbit(tops).any() or not (tops <= _TOP_MAX).all():
        raise InvalidArgument("a step is out of range", reason="BAD_FRAME", field=field)
    shares = np.frombuffer(payload, np.int8, rows * groups, 2 * rows).reshape(rows, groups)
    packed = np.frombuffer(payload, np.uint8, rows * width, (2 + groups) * rows)
    return tops, shares, packed.reshape(rows, width)
