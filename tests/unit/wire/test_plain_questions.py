"""Requests with many questions read by hand are those that the parser reads; see `test_plain_question`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memdb.errors import MemdbError
from memdb.server.grounding_service import read_questions
from memdb.server.requests import check_owner, owner_of, parse
from memdb.types.limits import QUESTIONS_MAX
from memdb.v1 import grounding_service_pb2 as pb
from memdb.wire.arrays import vector_elements, vector_to_proto
from memdb.wire.groundings import ground_many_request
from memdb.wire.plain_questions import asked_questions, plain_questions, plain_streamed

FEATURES = np.linspace(-1, 1, 1200, dtype=np.float32).reshape(4, 300)
USER = b"\x0a\x05alice"
MATRIX = b"\x12\x0e\x08\x02\x10\x01\x1a\x08" + bytes(8)
OPTIONS = b"\x1a\x02\x18\x0a"
ASKED = b"\x12\x0e\x08\x07\x12\x0a\x0a\x08" + bytes(8)


def many(read: Any, data: bytes) -> Any:
    """What is read, or the error, to be compared."""
    try:
        asked = read(data)
    except MemdbError as error:
        return type(error), error.reason, error.field, error.message
    options = {"question_tokens": None, "rerank": 0} | asked.options
    return asked.user, asked.features.tolist(), repr(sorted(options.items()))


def parsed_many(data: bytes) -> Any:
    request = parse(pb.GroundManyRequest, data)
    check_owner(request, owner_of(data, 10))
    return asked_questions(request)


def read_many(data: bytes) -> Any:
    return read_questions(data, owner_of(data, 10))


def parsed_streamed(data: bytes) -> list[tuple[int, bytes]]:
    message = parse(pb.GroundStreamRequest, data)
    assert not message.HasField("start")
    found = [(one.id, vector_elements(one.question_feature, "f")) for one in message.questions]
    return [
        (number, elements.dtype.str.encode() + elements.tobytes()) for number, elements in found
    ]


def streamed(data: bytes) -> list[tuple[int, bytes]] | None:
    found = plain_streamed(data)
    if found is None:
        return None
    return [(number, each.dtype.str.encode() + each.tobytes()) for number, each in found]


@pytest.mark.parametrize(
    ("options", "is_plain"),
    [
        ({}, True),
        ({"limit": 10, "with_global_memory": False, "with_keyframes": False}, True),
        ({"streams": ["door"], "start_ns": 5, "as_of": 3, "hours": [("22:00", "06:00")]}, True),
        ({"streams": [f"stream-{number}" for number in range(20)]}, False),
        ({"question_tokens": [np.ones((2, 300), np.float32)] * 4, "rerank": 5}, False),
    ],
)
def test_what_our_client_sends(options: dict[str, Any], is_plain: bool) -> None:
    data = ground_many_request("alice", FEATURES, **options).SerializeToString()
    assert (plain_questions(data) is not None) == is_plain
    if is_plain:
        assert many(plain_questions, data) == many(parsed_many, data)
        assert np.array_equal(read_many(data).features, FEATURES)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        USER,
        USER + MATRIX[:-1],
        USER + b"\x12\x00" + OPTIONS,
        USER + b"\x12\x06\x08\x00\x10\x00\x1a\x00",
        USER + b"\x12\x0e\x08\x02\x10\x02\x1a\x08" + bytes(8),  # no 2 x 2
        USER + b"\x12\x0e\x10\x02\x08\x01\x1a\x08" + bytes(8),
        USER + MATRIX + OPTIONS + b"\x22\x00",
        USER + MATRIX + b"\x1a\x02\x58\x05",  # a rerank
        USER + MATRIX + b"\x1a\x03\x0a\x01a",  # another user among the options
        USER + MATRIX + b"\x0a\x03bob",
        USER + MATRIX + MATRIX,
        USER + MATRIX + b"\x1a\x03\xfa\x01\x00",
        USER + MATRIX + b"\x2a\x00",
        b"\x0a\x05alic\xff" + MATRIX,
        MATRIX + USER,
    ],
)
def test_what_is_not_plain_is_left_to_the_parser(data: bytes) -> None:
    assert plain_questions(data) is None
    assert many(read_many, data) == many(parsed_many, data)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_questions_of_a_stream(dtype: Any) -> None:
    message = pb.GroundStreamRequest()
    for number in (0, 1, 2**64 - 1):
        vector = vector_to_proto(FEATURES[number % 4].astype(dtype))
        message.questions.add(id=number, question_feature=vector)
    data = message.SerializeToString()
    assert streamed(data) == parsed_streamed(data)
    found = plain_streamed(data)
    assert found is not None
    # None of them holds the others.
    assert all(isinstance(one.base, bytes) and len(one.base) == one.nbytes for _, one in found)
    assert plain_streamed(ASKED * QUESTIONS_MAX) is not None
    assert plain_streamed(ASKED * (QUESTIONS_MAX + 1)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        ASKED[:-1],
        ASKED + b"\x12\x00",
        ASKED + b"\x0a\x02\x0a\x00",  # a start
        b"\x12\x02\x12\x00",  # no elements
        b"\x12\x05\x12\x03\x0a\x01a",  # no whole element
        b"\x12\x10" + ASKED[2:] + b"\x10\x00",  # more fields than it has
        ASKED + b"\x1a\x00",
    ],
)
def test_what_is_no_plain_question_of_a_stream(data: bytes) -> None:
    assert plain_streamed(data) is None


@given(
    st.lists(
        st.sampled_from(
            [USER, MATRIX, OPTIONS, ASKED, b"\x1a\x00", b"\x18\x01", b"\x12\x02\x08\x01"]
        )
        | st.binary(max_size=3),
        max_size=4,
    ).map(b"".join),
    st.sampled_from([b"", USER + MATRIX, ASKED]),
    st.integers(0, 40),
    st.integers(0, 255),
)
def test_any_bytes_are_read_as_the_parser_reads_them(
    rest: bytes, begin: bytes, place: int, byte: int
) -> None:
    data = begin + rest
    for one in (data, data[:place] + bytes((byte,)) + data[place + 1 :]):
        expected = many(parsed_many, one)
        if plain_questions(one) is not None:
            assert many(plain_questions, one) == expected
        assert many(read_many, one) == expected
        if plain_streamed(one) is not None:
            assert streamed(one) == parsed_streamed(one)
