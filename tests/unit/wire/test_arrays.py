"""Arrays and JSON survive the wire, and what is refused is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memdb.codecs.tensors import encode_tensor
from memdb.errors import InvalidArgument
from memdb.types import json_value
from memdb.v1 import types_pb2 as pb
from memdb.wire.arrays import (
    array_from_tensor,
    matrix_elements,
    matrix_to_proto,
    tensor_from_proto,
    tensor_to_proto,
    vector_from_proto,
    vector_to_proto,
)
from tests.unit.wire.values import over_the_wire, same


@pytest.mark.parametrize("value", [None, 0, "é\u2028", [1, {"a": [True, 1.5]}]], ids=str)
def test_json_values(value: Any) -> None:
    assert json_value.value_from_json(json_value.value_to_json(value)) == value


@pytest.mark.parametrize("text", ["", "{", "NaN", "[Infinity]", "9" * 5000, "[" * 100_000], ids=len)
def test_text_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        json_value.value_from_json(text)
    assert (caught.value.reason, caught.value.field) == ("BAD_VALUE", "value")


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"x", "\ud800"], ids=repr)
def test_values_that_are_not_json_are_refused(value: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        json_value.value_to_json(value)
    assert caught.value.reason == "BAD_VALUE"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (pb.Vector(), "EMPTY"),
        (pb.Vector(f32=b""), "EMPTY"),
        (pb.Vector(f32=b"\0\0\0"), "BAD_SHAPE"),
        (pb.Vector(f16=b"\0" * 2 * 8193), "BAD_SHAPE"),
        (pb.Vector(f32=np.array([1, np.nan], "<f4").tobytes()), "NOT_FINITE"),
        (pb.Vector(f16=np.array([1, np.inf], "<f2").tobytes()), "NOT_FINITE"),
    ],
    ids=["none", "empty", "odd", "long", "nan", "inf"],
)
def test_bad_vectors(message: pb.Vector, reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        vector_from_proto(message, "where")
    assert (caught.value.reason, caught.value.field) == (reason, "where")


def test_vectors_keep_their_dtype() -> None:
    for dtype in (np.float16, np.float32):
        vector = np.arange(6, dtype=dtype)[::2]
        assert same(vector_from_proto(over_the_wire(vector_to_proto(vector)), "v"), vector.copy())


@pytest.mark.parametrize(
    ("rows", "dim", "size"),
    [(0, 3, 4), (1, 1, 3), (2**32 - 1, 2**32 - 1, 4), (2, 2**31, 0)],
)
def test_bad_matrices(rows: int, dim: int, size: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        matrix_elements(pb.Matrix(rows=rows, dim=dim, f32=b"\0" * size), "where")
    assert caught.value.field == "where"


def test_matrix() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert same(matrix_elements(over_the_wire(matrix_to_proto(matrix)), "m"), matrix)


def test_tensor_checks_and_passes_through() -> None:
    tokens = np.arange(6, dtype=np.float16).reshape(2, 3)
    message = over_the_wire(tensor_to_proto(tokens))
    assert tensor_from_proto(message, "t") == encode_tensor(tokens)
    assert np.array_equal(array_from_tensor(message), tokens)
    for change, reason in (
        ({"codec": 0}, "BAD_CODEC"),
        ({"codec": 77}, "BAD_CODEC"),
        ({"shape": [2, 4]}, "LENGTH_MISMATCH"),
        ({"shape": [2**32 - 1, 2**32 - 1]}, "BAD_SHAPE"),
        ({"shape": []}, "BAD_SHAPE"),
        ({"shape": [0, 3], "payload": b""}, "EMPTY"),
        ({"checksum": 1}, "CHECKSUM"),
    ):
        fields_of = {
            "codec": message.codec,
            "shape": list(message.shape),
            "payload": message.payload,
            "checksum": message.checksum,
        }
        with pytest.raises(InvalidArgument) as caught:
            tensor_from_proto(pb.Tensor(**(fields_of | change)), "t")
        assert (caught.value.reason, caught.value.field) == (reason, "t")
