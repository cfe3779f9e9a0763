"""float16 without loss, by byte planes.

::

    one zstd frame of   rows * dim bytes   high byte of each element: sign, exponent, 2 bits of mantissa
                        rows * dim bytes   low byte of each element: 8 bits of mantissa

High bytes repeat themselves, low bytes hardly: apart, the entropy stage has something to work on.
"""

from __future__ import annotations

import numpy as np

from memdb.codecs.frames import deflate, inflate
from memdb.errors import InvalidArgument
from memdb.types.arrays import Array

_EXPONENT = 0x7C
"""Of the high byte; all ones in what is not finite."""


def encode_planes(array: Array) -> bytes:
    """The payload of a finite C-contiguous (rows, dim) float16 array."""
    halves = array.view(np.uint8).reshape(-1, 2)
    parts = (halves[:, 1].tobytes(), halves[:, 0].tobytes())
    return deflate(parts, array.size * 2, is_noise=False)


def decode_planes(payload: bytes | memoryview, shape: tuple[int, int], field: str) -> Array:
    """The (rows, dim) float16 array; raises `InvalidArgument` (``BAD_FRAME``, ``NOT_FINITE``)."""
    rows, dim = shape
    planes = np.frombuffer(inflate(payload, rows * dim * 2, field), np.uint8).reshape(2, -1)
    if (np.bitwise_and(planes[0], _EXPONENT) == _EXPONENT).any():
        raise InvalidArgument(
            "array has NaN or infinite elements", reason="NOT_FINITE", field=field
        )
    halves = np.empty((rows * dim, 2), np.uint8)
    halves[:, 1], halves[:, 0] = planes
    return halves.view("<f2").reshape(shape)
