"""Vectors, matrices and coded tensors.

A `Vector` keeps its dtype (float32 or float16); a `Matrix` is float32; a `Tensor` travels as it
was coded and is checked, not decoded, so that the server passes short-term memory through without
touching its elements twice. Elements are little-endian in C order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from memdb.codecs.tensors import check_tensor, decode_tensor, encode_tensor
from memdb.errors import DataLoss, InvalidArgument
from memdb.types.arrays import Array, as_vector, plain_elements
from memdb.types.tensor import Codec, EncodedTensor
from memdb.v1 import types_pb2 as pb
from memdb.wire.fields import head, tag_of

_F16: Final = np.dtype("<f2")
_F32: Final = np.dtype("<f4")
_F16_TAG: Final = tag_of(pb.Vector.DESCRIPTOR.fields_by_name["f16"].number)
_F32_TAG: Final = tag_of(pb.Vector.DESCRIPTOR.fields_by_name["f32"].number)
_CODECS = {int(codec): codec for codec in Codec}


def vector_to_proto(vector: Array) -> pb.Vector:
    """A (dim,) float32 or float16 array as a message."""
    message = pb.Vector()
    fill_vector(message, vector)
    return message


def fill_vector(message: pb.Vector, vector: Array) -> None:
    """Write a (dim,) float32 or float16 array into a new message."""
    if vector.dtype == _F16:
        message.f16 = vector.tobytes()
    else:
        message.f32 = np.asarray(vector, _F32).tobytes()


def vector_field(number: int, array: Array, field: str) -> bytes:
    """What a caller gave as a vector as the bytes of a field that is a `Vector`; raises `InvalidArgument` as
    `as_vector` does, naming ``field``.
    """
    data, tag = plain_elements(array), _F32_TAG
    if data is None:
        vector = as_vector(array, field)
        data, tag = vector.tobytes(), _F16_TAG if vector.dtype == _F16 else _F32_TAG
    return _vector_head(number, tag, len(data)) + data


@lru_cache(64)
def _vector_head(number: int, tag: int, size: int) -> bytes:
    """What stands before the elements."""
    inner = head(tag, size)
    return head(tag_of(number), len(inner) + size) + inner


def vector_from_proto(message: pb.Vector, field: str) -> Array:
    """The (dim,) array of a message, read-only, without a copy.

    Raises `InvalidArgument` (``EMPTY``, ``BAD_SHAPE``, ``NOT_FINITE``) naming ``field``.
    """
    return as_vector(vector_elements(message, field), field)


def vector_elements(message: pb.Vector, field: str) -> Array:
    """`vector_from_proto` of a vector that its owner (a clip) will check as it is made."""
    which = message.WhichOneof("elements")
    if which is None:
        raise InvalidArgument("vector has no elements", reason="EMPTY", field=field)
    if which == "f32":
        return _elements(message.f32, _F32, field)
    return _elements(message.f16, _F16, field)


def optional_vector(message: pb.Vector, present: bool, field: str) -> Array | None:
    """`vector_from_proto` of a field that may be left out."""
    return vector_from_proto(message, field) if present else None


def matrix_to_proto(matrix: Array) -> pb.Matrix:
    """A (rows, dim) array as a float32 message."""
    message = pb.Matrix()
    fill_matrix(message, matrix)
    return message


def fill_matrix(message: pb.Matrix, matrix: Array) -> None:
    """Write a (rows, dim) array, as float32, into a new message."""
    message.rows, message.dim = matrix.shape
    message.f32 = np.asarray(matrix, _F32).tobytes()


def matrix_elements(message: pb.Matrix, field: str) -> Array:
    """The (rows, dim) float32 array of a message, read-only; its owner checks the rest, also that it has rows.

    Raises `InvalidArgument` (``BAD_SHAPE``) naming ``field``.
    """
    rows, dim, data = message.rows, message.dim, message.f32
    if rows * dim * 4 != len(data):
        raise InvalidArgument(
            f"{rows} x {dim} float32 elements take {rows * dim * 4} bytes",
            reason="BAD_SHAPE",
            field=field,
            value=len(data),
        )
    return np.frombuffer(data, "<f4").reshape(rows, dim)


def tensor_to_proto(tensor: EncodedTensor | Array) -> pb.Tensor:
    """A coded tensor as a message; an array is coded as float16 first."""
    message = pb.Tensor()
    fill_tensor(message, tensor)
    return message


def fill_tensor(message: pb.Tensor, tensor: EncodedTensor | Array) -> None:
    """Write a coded tensor into a new message; an array is coded as plain float16 first."""
    if not isinstance(tensor, EncodedTensor):
        tensor = encode_tensor(tensor)
    message.codec = int(tensor.codec)  # type: ignore[assignment] # the same numbers by contract
    message.shape.extend(tensor.shape)
    message.payload = bytes(tensor.payload)  # no copy where it is bytes
    message.checksum = tensor.checksum


def tensor_from_proto(message: pb.Tensor, field: str) -> EncodedTensor:
    """The coded tensor of a message, checked against its payload but not decoded.

    Raises `InvalidArgument` (``BAD_CODEC`` and what `check_tensor` finds) naming ``field``.
    """
    return tensor_from_parts(message.codec, message.shape, message.payload, message.checksum, field)


def tensor_from_parts(
    codec_no: int, shape: Sequence[int], payload: bytes | memoryview, checksum: int, field: str
) -> EncodedTensor:
    """`tensor_from_proto` of the fields of a message."""
    codec = _CODECS.get(codec_no)
    if codec is None:
        raise InvalidArgument("unknown codec", reason="BAD_CODEC", field=field, value=codec_no)
    # No more of the shape than shows that it is wrong: it may have millions of lengths.
    tensor = EncodedTensor(codec, tuple(shape[:3]), payload, checksum)
    check_tensor(tensor, field)
    return tensor


def array_from_tensor(message: pb.Tensor) -> Array:
    """The (tokens, dim) float16 array of a tensor in an answer.

    The server checked the tensor when it was written, so whatever is wrong now is damage: raises
    `DataLoss`.
    """
    codec = _CODECS.get(message.codec)
    if codec is None:
        raise DataLoss("unknown codec", reason="BAD_CODEC", value=message.codec)
    return decode_tensor(
        EncodedTensor(codec, tuple(message.shape), message.payload, message.checksum)
    )


def _elements(data: bytes, dtype: np.dtype[Any], field: str) -> Array:
    size = dtype.itemsize
    if len(data) % size:
        raise InvalidArgument(
            f"not a whole number of {size}-byte elements",
            reason="BAD_SHAPE",
            field=field,
            value=len(data),
        )
    return np.frombuffer(data, dtype)
