"""Encoding, checking and decoding of short-term memory.

The sender encodes; the receiver checks every claim before it allocates for it; the store keeps the
payload as it came.

Codecs (numbers in `memdb.types.tensor.Codec`)::

    1 F16         "plain"     rows * dim little-endian float16, C order
    2 F16_ZSTD    "f16-zstd"  one zstd frame of F16; content size in the frame header, window <= 8 MiB, no
                              dictionary, nothing after it
    3 F16_PLANES  "f16"       high bytes of F16, then low bytes, in one such frame: `memdb.codecs.planes`
    4 INT8        "int8"      255 levels for each token: `memdb.codecs.grid`
    5 INT4        "int4"      16 levels for each 32 elements: `memdb.codecs.int4`
    6 DELTA       "delta"     a share of a row's energy, differences between frames: `memdb.codecs.grid`
    7 COARSE      "coarse"    as DELTA, with a larger share

A tensor that a codec would make no smaller than F16, or that has an element too near the end of
float16 for it, is coded as F16: the codec is told with each value.  What is decoded is finite whatever
the payload holds, but for F16, whose elements are looked at when they are written.

Codecs take several tokens for one frame: rows are frame after frame, so the rows of one region lie
``period`` rows apart, see `period_of`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
import xxhash
import zstandard

from memdb.codecs.frames import inflate
from memdb.codecs.grid import check_grid, decode_grid, encode_grid
from memdb.codecs.int4 import check_int4, decode_int4, encode_int4
from memdb.codecs.planes import decode_planes, encode_planes
from memdb.errors import DataLoss, InvalidArgument
from memdb.types.arrays import Array, as_tokens, is_finite
from memdb.types.clip import Clip, as_clip
from memdb.types.limits import TOKENS_MAX
from memdb.types.tensor import Codec, EncodedTensor, check_description
from memdb.types.unchecked import maker

_F16: Final = np.dtype("<f2")
_tensor: Final = maker(EncodedTensor)
_PIECE_BYTES: Final = 64 << 10
"""For so few xxhash keeps the interpreter's lock."""
_HELD_BYTES_MAX: Final = 1 << 20


def period_of(frames_per_token_row: float | None) -> int:
    """Rows of one frame, 0 where the clip does not say; where a row covers several frames, 1."""
    if frames_per_token_row is None:
        return 0
    rows = 1.0 / frames_per_token_row
    return max(1, round(rows)) if rows <= TOKENS_MAX else 0


def encode_tensor(array: Array, codec: Codec = Codec.F16, *, period: int = 0) -> EncodedTensor:
    """Code a finite (tokens, dim) float32 or float16 array.  period: rows of one frame, 0 where
    unknown.

    Raises `InvalidArgument`: ``BAD_DTYPE``, ``BAD_SHAPE``, ``EMPTY``, ``NOT_FINITE`` (also where a
    float32 element does not fit float16), ``TOO_LARGE``, ``BAD_CODEC``.
    """
    tensor = encode_checked(as_tokens(array, "clip.short_memory"), codec, period)
    return replace(tensor, payload=bytes(tensor.payload))


def encode_checked(array: Array, codec: Codec = Codec.F16, period: int = 0) -> EncodedTensor:
    """`encode_tensor` for an array that `memdb.types.arrays.as_tokens` passed, as in every `Clip`;
    of float16 in `Codec.F16` the payload is a view of it, not a copy.
    """
    if codec not in _PACKERS:
        raise InvalidArgument(
            "unknown codec", reason="BAD_CODEC", field="clip.short_memory", value=codec
        )
    packed = _PACKERS[codec](array, period)
    if codec != Codec.F16 and (packed is None or len(packed) >= array.size * _F16.itemsize):
        codec, packed = Codec.F16, _pack_plain(array, period)
    assert packed is not None, "plain always gives something"
    return _tensor(codec, array.shape, packed, _checksum(packed))


def _checksum(payload: bytes | memoryview) -> int:
    """The xxh3_64 of what was just coded, up to `_HELD_BYTES_MAX` without letting go of the interpreter's lock: to have
    it again takes longer than the sum where many threads write.
    """
    if not _PIECE_BYTES < len(payload) <= _HELD_BYTES_MAX:
        return xxhash.xxh3_64_intdigest(payload)
    whole = memoryview(payload)
    hasher = xxhash.xxh3_64()
    for begin in range(0, len(whole), _PIECE_BYTES):
        hasher.update(whole[begin : begin + _PIECE_BYTES])
    return hasher.intdigest()


def encoded(clip: Clip, codec: Codec) -> EncodedTensor | None:
    """The short-term memory of a checked clip in ``codec``; in its own where its maker coded it."""
    short = clip.short_memory
    if short is None or isinstance(short, EncodedTensor):
        return short
    return encode_checked(short, codec, period_of(clip.frames_per_token_row))


def check_tensor(tensor: EncodedTensor, field: str = "clip.short_memory") -> None:
    """Refuse a tensor whose description, length, checksum or content is wrong.

    Raises `InvalidArgument`: what `check_description` finds, ``CHECKSUM``, ``BAD_FRAME``,
    ``NOT_FINITE``.
    """
    check_description(tensor, field)
    if xxhash.xxh3_64_intdigest(tensor.payload) != tensor.checksum:
        raise InvalidArgument("payload does not match its checksum", reason="CHECKSUM", field=field)
    if tensor.codec == Codec.F16:
        _check_finite(np.frombuffer(tensor.payload, _F16), field)
        return
    shape = _shape(tensor)
    if tensor.codec in (Codec.INT8, Codec.DELTA, Codec.COARSE):
        check_grid(tensor.payload, shape, field)
    elif tensor.codec == Codec.INT4:
        check_int4(tensor.payload, shape, field)
    else:
        _check_finite(_elements(tensor, field), field)


def checked_clip(clip: object) -> Clip:
    """What a caller wants written, as a `Clip` of which everything is checked, a tensor that the
    caller coded included.

    Raises `InvalidArgument`.
    """
    checked = as_clip(clip)
    if isinstance(checked.short_memory, EncodedTensor):
        check_tensor(checked.short_memory)
    return checked


def decode_tensor(tensor: EncodedTensor) -> Array:
    """The (tokens, dim) float16 array, read-only.

    The tensor was checked when it was written, so whatever is wrong now is damage: raises
    `DataLoss`.
    """
    if xxhash.xxh3_64_intdigest(tensor.payload) != tensor.checksum:
        raise DataLoss("short-term memory does not match its checksum", reason="CHECKSUM")
    return decode_verified(tensor)


def decode_verified(tensor: EncodedTensor) -> Array:
    """`decode_tensor` of what the store has just compared with its checksum."""
    shape = tensor.shape
    # What is right is not looked at twice; what is not goes the long way, which says why.
    if (
        tensor.codec == Codec.F16
        and len(shape) == 2
        and min(shape) > 0
        and len(tensor.payload) == 2 * shape[0] * shape[1]
    ):
        return np.frombuffer(tensor.payload, dtype=_F16).reshape(shape)
    try:
        check_description(tensor, "short_memory")
        return _elements(tensor, "short_memory")
    except InvalidArgument as error:
        raise DataLoss(error.message, reason=error.reason) from error


def _shape(tensor: EncodedTensor) -> tuple[int, int]:
    rows, dim = tensor.shape
    return rows, dim


def _elements(tensor: EncodedTensor, field: str) -> Array:
    payload, shape = tensor.payload, _shape(tensor)
    match tensor.codec:
        case Codec.F16_ZSTD:
            size = math.prod(shape) * _F16.itemsize
            array = np.frombuffer(inflate(payload, size, field), _F16).reshape(shape)
            _check_finite(array, field)
        case Codec.F16_PLANES:
            array = decode_planes(payload, shape, field)
        case Codec.INT8 | Codec.DELTA | Codec.COARSE:
            array = decode_grid(payload, shape, field)
        case Codec.INT4:
            array = decode_int4(payload, shape, field)
        case _:
            array = np.frombuffer(payload, _F16).reshape(shape)
    array.flags.writeable = False
    return array


def _check_finite(array: Array, field: str) -> None:
    if not is_finite(array):
        raise InvalidArgument(
            "array has NaN or infinite elements", reason="NOT_FINITE", field=field
        )


def _halves(array: Array) -> Array:
    """The array as float16; raises `InvalidArgument` (``NOT_FINITE``) where that overflows."""
    if array.dtype == _F16:
        return array
    with np.errstate(over="ignore"):
        array = array.astype(_F16)
    if not is_finite(array):
        raise InvalidArgument(
            "an element is outside float16", reason="NOT_FINITE", field="clip.short_memory"
        )
    return array


def _pack_plain(array: Array, _period: int) -> memoryview:
    # A view: the array is nobody's to change (`memdb.types.arrays`).
    return memoryview(_halves(array).data).cast("B")


def _pack_zstd(array: Array, _period: int) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(_pack_plain(array, 0))


_PACKERS: Final[dict[Codec, Callable[[Array, int], bytes | memoryview | None]]] = {
    Codec.F16: _pack_plain,
    Codec.F16_ZSTD: _pack_zstd,
    Codec.F16_PLANES: lambda array, _period: encode_planes(_halves(array)),
    Codec.INT8: lambda array, period: encode_grid(array, Codec.INT8, period),
    Codec.INT4: lambda array, _period: encode_int4(array),
    Codec.DELTA: lambda array, period: encode_grid(array, Codec.DELTA, period),
    Codec.COARSE: lambda array, period: encode_grid(array, Codec.COARSE, period),
}
