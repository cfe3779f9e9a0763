"""Encoding, checking and decoding of short-term memory.

The sender encodes; the receiver checks every claim before it allocates for it; the store keeps the
payload as it came.

Codecs (numbers in `memdb.types.tensor.Codec`)::

    F16       rows * dim little-endian float16, C order
    F16_ZSTD  one zstd frame of F16; content size in the frame header, window <= 8 MiB, no
              dictionary, nothing after it

A zstd frame that does not state its size, or states another than rows * dim * 2, is refused unread:
the decompressor would otherwise allocate whatever the header claims, whatever limit it was given.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np
import xxhash
import zstandard

from memdb.errors import DataLoss, InvalidArgument
from memdb.types.arrays import Array, as_tokens, is_finite
from memdb.types.clip import Clip, as_clip
from memdb.types.tensor import Codec, EncodedTensor, check_description

_F16: Final = np.dtype("<f2")
_WINDOW_BYTES_MAX: Final = 8 << 20


def encode_tensor(array: Array, codec: Codec = Codec.F16) -> EncodedTensor:
    """Code a finite (tokens, dim) float32 or float16 array.

    Raises `InvalidArgument`: ``BAD_DTYPE``, ``BAD_SHAPE``, ``EMPTY``, ``NOT_FINITE`` (also where a
    float32 element does not fit float16), ``TOO_LARGE``, ``BAD_CODEC``.
    """
    tensor = encode_checked(as_tokens(array, "clip.short_memory"), codec)
    return replace(tensor, payload=bytes(tensor.payload))


def encode_checked(array: Array, codec: Codec = Codec.F16) -> EncodedTensor:
    """`encode_tensor` for an array that `memdb.types.arrays.as_tokens` passed, as in every `Clip`;
    of float16 the payload is a view of it, not a copy.
    """
    if array.dtype != _F16:
        with np.errstate(over="ignore"):
            array = array.astype(_F16)
        if not is_finite(array):
            raise InvalidArgument(
                "an element is outside float16", reason="NOT_FINITE", field="clip.short_memory"
            )
    # A view: the array is nobody's to change (`memdb.types.arrays`).
    payload: bytes | memoryview = memoryview(array.data).cast("B")
    if codec == Codec.F16_ZSTD:
        payload = zstandard.ZstdCompressor(level=1).compress(payload)
    elif codec != Codec.F16:
        raise InvalidArgument(
            "unknown codec", reason="BAD_CODEC", field="clip.short_memory", value=codec
        )
    return EncodedTensor(
        codec,
        (int(array.shape[0]), int(array.shape[1])),
        payload,
        xxhash.xxh3_64_intdigest(payload),
    )


def check_tensor(tensor: EncodedTensor, field: str = "clip.short_memory") -> None:
    """Refuse a tensor whose description, length, checksum or content is wrong.

    Raises `InvalidArgument`: what `check_description` finds, ``CHECKSUM``, ``BAD_FRAME``,
    ``NOT_FINITE``.
    """
    check_description(tensor, field)
    if xxhash.xxh3_64_intdigest(tensor.payload) != tensor.checksum:
        raise InvalidArgument("payload does not match its checksum", reason="CHECKSUM", field=field)
    if not is_finite(_elements(tensor, field)):
        raise InvalidArgument(
            "array has NaN or infinite elements", reason="NOT_FINITE", field=field
        )


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
    try:
        check_description(tensor, "short_memory")
        return _elements(tensor, "short_memory")
    except InvalidArgument as error:
        raise DataLoss(error.message, reason=error.reason) from error


def _elements(tensor: EncodedTensor, field: str) -> Array:
    size = math.prod(tensor.shape) * _F16.itemsize
    payload = tensor.payload if tensor.codec == Codec.F16 else _inflate(tensor.payload, size, field)
    return np.frombuffer(payload, dtype=_F16).reshape(tensor.shape)


def _inflate(frame: bytes | memoryview, size: int, field: str) -> bytes:
    try:
        header = zstandard.get_frame_parameters(frame)
    except zstandard.ZstdError as error:
        raise InvalidArgument("not a zstd frame", reason="BAD_FRAME", field=field) from error
    # content_size is 2**64 - 1 when the frame does not say.
    if header.content_size != size:
        raise InvalidArgument(
            f"zstd frame must state {size} bytes",
            reason="BAD_FRAME",
            field=field,
            value=header.content_size,
        )
    if header.window_size > _WINDOW_BYTES_MAX and header.window_size > size:
        raise InvalidArgument(
            "zstd window is too large", reason="BAD_FRAME", field=field, value=header.window_size
        )
    if header.dict_id != 0:
        raise InvalidArgument(
            "zstd frame needs a dictionary", reason="BAD_FRAME", field=field, value=header.dict_id
        )
    inflater = zstandard.ZstdDecompressor().decompressobj()
    try:
        raw = inflater.decompress(frame)
    except zstandard.ZstdError as error:
        raise InvalidArgument("zstd frame is damaged", reason="BAD_FRAME", field=field) from error
    if len(raw) != size or not inflater.eof or inflater.unused_data:
        raise InvalidArgument(
            "zstd frame has another size than it states",
            reason="BAD_FRAME",
            field=field,
            value=len(raw),
        )
    return raw
