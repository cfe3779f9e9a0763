"""Errors cross the wire and come back the same."""

from __future__ import annotations

import grpc
import pytest

from memdb.errors import (
    FAMILIES,
    Internal,
    InvalidArgument,
    MemdbError,
    ResourceExhausted,
    Unavailable,
    Violation,
)
from memdb.wire.codes import StatusCode
from memdb.wire.status import CODES, DETAILS_KEY, code_of, error_from_call, error_to_trailers


def over_the_wire(error: MemdbError) -> MemdbError:
    trailers = error_to_trailers(error, "request-1")
    return error_from_call(code_of(error), error.message, trailers)


def test_the_table_has_every_family_once() -> None:
    assert set(CODES) == set(FAMILIES)
    assert len(set(CODES.values())) == len(FAMILIES)
    assert StatusCode.UNKNOWN not in CODES.values()


def test_the_codes_are_those_of_grpc() -> None:
    assert {code.name: code.value for code in StatusCode} == {
        code.name: code.value for code in grpc.StatusCode
    }


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_every_family_comes_back(family: type[MemdbError]) -> None:
    back = over_the_wire(family("what went wrong", reason="SOME_REASON"))
    assert type(back) is family
    assert (back.message, back.reason, back.field, back.value, back.violations) == (
        "what went wrong",
        "SOME_REASON",
        None,
        None,
        (),
    )
    assert back.request_id == "request-1"


@pytest.mark.parametrize(
    "value", ["", "x", "a\\n\n\x00b", "é" * 500, 7, (1, 2), float("nan")], ids=repr
)
def test_field_and_value_come_back_exactly(value: object) -> None:
    error = InvalidArgument("bad", field="clip.labels[a.b]", value=value)
    back = over_the_wire(error)
    assert (back.field, back.value, back.violations) == (error.field, error.value, error.violations)
    assert str(back) == str(error)


def test_violations_come_back_with_their_values() -> None:
    violations = (
        Violation("a", "first", "1"),
        Violation("b", "second"),
        Violation("c", "third", "x"),
    )
    back = over_the_wire(InvalidArgument("two faults", field="a", value="1", violations=violations))
    assert back.violations == violations


def test_a_subclass_travels_as_its_family() -> None:
    class Special(ResourceExhausted):
        default_reason = "SPECIAL"

    back = over_the_wire(Special("full"))
    assert (type(back), back.reason) == (ResourceExhausted, "SPECIAL")


def test_long_text_is_bounded() -> None:
    error = InvalidArgument("m" * 100_000, field="f", value="v" * 100_000)
    packed = dict(error_to_trailers(error, "r" * 64))[DETAILS_KEY]
    assert len(packed) < 4096


@pytest.mark.parametrize(
    ("code", "details", "family", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, "failed to connect", Unavailable, "UNAVAILABLE"),
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "CLIENT: Sent message larger than max (17 vs. 16)",
            ResourceExhausted,
            "MESSAGE_TOO_LARGE",
        ),
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "Stream removed (RST_STREAM (Received RST_STREAM with error code 11))",
            Unavailable,
            "UNAVAILABLE",
        ),
        (
            grpc.StatusCode.INTERNAL,
            "Stream removed (RST_STREAM (Received RST_STREAM with error code 1))",
            Unavailable,
            "UNAVAILABLE",
        ),
        (grpc.StatusCode.INTERNAL, "Exception deserializing response!", Internal, "INTERNAL"),
        (grpc.StatusCode.UNKNOWN, "", Internal, "UNKNOWN"),
        (grpc.StatusCode.CANCELLED, "", Unavailable, "CANCELLED"),
    ],
)
def test_answers_that_grpc_made(
    code: grpc.StatusCode, details: str, family: type[MemdbError], reason: str
) -> None:
    for trailers in ((), ((DETAILS_KEY, b"\xff\xff"),), ((DETAILS_KEY, b""),)):
        error = error_from_call(code, details, trailers)
        assert (type(error), error.reason) == (family, reason)
