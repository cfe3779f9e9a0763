"""Questions read by hand are those that the parser reads, and whatever it would refuse is left to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memdb.errors import MemdbError
from memdb.server.grounding_service import read_question
from memdb.server.requests import check_owner, owner_of, parse
from memdb.types.label_filter import Not
from memdb.v1 import grounding_service_pb2 as pb
from memdb.wire.grounding import ground_request
from memdb.wire.plain_question import (
    OPTIONS_BYTES_MAX,
    AskedQuestion,
    asked_question,
    plain_question,
)

FEATURE = np.linspace(-1, 1, 300, dtype=np.float32)
USER = b"\x0a\x05alice"
VECTOR = b"\x12\x0a\x0a\x08" + bytes(8)
LIMIT = b"\x18\x0a"


def parsed(data: bytes) -> AskedQuestion:
    """The question as it is read where nothing is known to be plain."""
    request = parse(pb.GroundRequest, data)
    check_owner(request, owner_of(data, 10))
    return asked_question(request)


def told(read: Any, data: bytes) -> Any:
    """What is read, or the error, to be compared."""
    try:
        question = read(data)
    except MemdbError as error:
        return type(error), error.reason, error.field, error.message
    feature = question.feature
    seen = None if feature is None else (feature.dtype, feature.tobytes())
    # As text: one may be NaN, or an array.
    return question.user, seen, repr(sorted(question.options.items())), question.is_plain


@pytest.mark.parametrize(
    ("options", "is_plain"),
    [
        ({}, True),
        ({"limit": 10, "with_global_memory": False, "with_keyframes": False}, True),
        ({"limit": 40, "streams": ["door", "yard"], "space": "p", "exact": True}, True),
        ({"start_ns": -7, "end_ns": 2**62, "with_coverage": True}, True),
        ({"start_ns": 0, "space": "s0", "min_score": 0.5, "min_relevance": 0.0}, True),
        ({"labels": {"zone": ["a", "b"], "plate": Not("x")}, "fallback": "recent"}, True),
        ({"streams": ["0" * 48, "door"], "space": "0"}, True),  # with the bytes of tags of times
        ({"text": "a dog"}, False),
        ({"as_of": 3}, False),
        ({"cursor": ""}, False),
        ({"min_revision": 1}, False),
        ({"hours": [("22:00", "06:00")]}, False),
        ({"weekdays": [0]}, False),
        ({"question_tokens": np.ones((2, 300), np.float32), "rerank": 5}, False),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_what_our_client_sends(options: dict[str, Any], is_plain: bool, dtype: Any) -> None:
    data = ground_request("alice", FEATURE.astype(dtype), **options).SerializeToString()
    question = plain_question(data)
    assert (question is not None) == is_plain
    assert told(lambda data: read_question(data, owner_of(data, 10)), data) == told(parsed, data)
    if question is not None:
        assert question.is_plain
        assert question.feature is not None
        assert not question.feature.flags.writeable


def test_options_are_remembered_by_their_bytes() -> None:
    one, other = (
        plain_question(ground_request(user, FEATURE, limit=7, exact=True).SerializeToString())
        for user in ("alice", "bob")
    )
    assert one is not None
    assert other is not None
    assert one.options is other.options
    assert one.options == {"limit": 7, "exact": True}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x0a",
        USER,
        USER + b"\x12",
        USER + VECTOR[:-1],
        USER + b"\x12\x00",
        USER + b"\x12\x02\x0a\x00",  # no element
        USER + b"\x12\x05\x0a\x03abc",  # no whole element
        USER + b"\x12\x04\x0a\x04abcd",  # the vector ends before its elements
        USER + b"\x12\x0c\x0a\x04abcd\x12\x04abcd",  # both dtypes
        USER + b"\x12\x0c\x0a\x04abcd\x0a\x04efgh",
        USER + b"\x12\x8a\x80\x80\x80\x80\x00\x0a\x08" + bytes(8),  # a length in six bytes
        USER + b"\x12\x0f\x0a\x88\x80\x80\x80\x80\x00" + bytes(8),
        b"\x0a\x05alic\xff" + VECTOR,  # no text
        b"\x0a\x06h\xc3\xa9llo" + VECTOR,
        VECTOR + USER,  # in another order
        USER + VECTOR + b"\x0a\x03bob",  # another user
        USER + VECTOR + VECTOR,
        USER + VECTOR + b"\x12\x00",
        USER + VECTOR + b"\xfa\x01\x00",  # fields that nobody knows
        USER + VECTOR + b"\xfb\x01\xfc\x01",
        USER + VECTOR + LIMIT + b"\x28",
        USER + VECTOR + b"\x28" + b"\xff" * 9 + b"\x02",  # a time of more than 64 bits
        USER + VECTOR + b"\x28" + b"\xff" * 11,
        USER + VECTOR + b"\xda\x01\x04\x0a\x00\x12\x00" + b"\xda\x01\x02\x0a\x00",  # a key twice
        USER + VECTOR + b"\xff",
        USER + VECTOR + b"\x1a\x01a",  # a limit that is text
    ],
)
def test_what_is_not_plain_is_left_to_the_parser(data: bytes) -> None:
    assert plain_question(data) is None
    assert told(lambda data: read_question(data, owner_of(data, 10)), data) == told(parsed, data)


@pytest.mark.parametrize(
    "data",
    [
        USER + VECTOR,
        b"\x0a\x00" + VECTOR,  # nobody's, which the engine refuses
        USER + VECTOR + LIMIT + b"\x18\x0b",  # the last one counts
        USER + VECTOR + b"\x28\x02\x30\x03\x28\x04",
        USER + VECTOR + b"\xa8\x80\x00\x02",  # a tag of three bytes
        USER + VECTOR + b"\x28" + b"\xff" * 9 + b"\x01",
        USER + b"\x12\x8b\x00\x0a\x88\x00" + bytes(8),  # lengths of more bytes than need be
        USER + VECTOR + b"\xda\x01\x03\x0a\x01(",
    ],
)
def test_plain_by_whatever_bytes(data: bytes) -> None:
    assert plain_question(data) is not None
    assert told(plain_question, data) == told(parsed, data)


def test_long_options_are_not_remembered() -> None:
    most = b"\x22" + bytes((OPTIONS_BYTES_MAX - 2,)) + b"s" * (OPTIONS_BYTES_MAX - 2)
    assert plain_question(USER + VECTOR + most) is not None
    assert plain_question(USER + VECTOR + most + LIMIT) is None


FIELDS = st.sampled_from(
    [
        *(USER, VECTOR, LIMIT, b"\x28\x02", b"\x30\x51", b"\x22\x04door", b"\x48\x01"),
        *(b"\x4a\x03top", b"\x6a\x04none", b"\xc8\x01\x01", b"\xd0\x01\x01", b"\xb8\x01\x01"),
        *(b"\x7a\x00", b"\x78\x09", b"\x92\x01\x01a", b"\xc2\x01\x00", b"\xda\x01\x00", b"\x28"),
        *(b"\x41" + bytes(7) + b"\x3f", b"\xa2\x01\x02\x0a\x00", b"\x42\x01", b"\x0b\x0c"),
    ]
)


@given(
    st.lists(FIELDS | st.binary(max_size=3), max_size=6).map(b"".join),
    st.sampled_from([b"", USER, USER + VECTOR]),
    st.integers(0, 40),
    st.integers(0, 255),
)
@example(b"", USER + VECTOR, 6, 0x12)
def test_any_bytes_are_read_as_the_parser_reads_them(
    rest: bytes, begin: bytes, place: int, byte: int
) -> None:
    data = begin + rest
    changed = data[:place] + bytes((byte,)) + data[place + 1 :]
    for one in (data, changed):
        expected = told(parsed, one)
        if plain_question(one) is not None:
            assert told(plain_question, one) == expected
        assert told(lambda data: read_question(data, owner_of(data, 10)), one) == expected
