"""What the commands read from their command line."""

from __future__ import annotations

import math

import pytest

from memdb import InvalidArgument
from memdb.types.times import moment
from perception.arguments import at_least, server_address, within


@pytest.mark.parametrize(
    "text", ["2026-01-05T09:00:00Z", "2026-01-05T09:00:00.25+01:00", "2026-01-05 09:00:00-08:00"]
)
def test_a_time_with_its_offset(text: str) -> None:
    assert moment(text, "start").utcoffset() is not None


@pytest.mark.parametrize("text", ["2026-01-05T09:00:00", "2026-01-05", "yesterday", ""])
def test_any_other_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidArgument, match="such as 2026-01-05T09:00:00Z") as caught:
        moment(text, "start")
    assert (caught.value.reason, caught.value.field) == ("BAD_TIME", "start")


@pytest.mark.parametrize(
    "text",
    ["localhost:7700", "10.0.0.5:1", "[::1]:7700", "dns:///memory.example:65535",
     "ipv4:127.0.0.1:7700", "unix:/run/memdb.sock", "ipv6:[::1]:7700"],
)  # fmt: skip
def test_an_address(text: str) -> None:
    assert server_address(text) == text


@pytest.mark.parametrize(
    "text", ["localhost", "", ":7700", "localhost:", "localhost:0", "localhost:65536",
             "localhost:http", "::1", "::1:7700", "http://localhost:7700", "unix:", "a b:1"],
)  # fmt: skip
def test_an_address_without_a_port_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        server_address(text)
    assert caught.value.reason == "BAD_ADDRESS"


def test_bounds() -> None:
    assert (at_least(1, 1, "n"), within(-1.0, -1, 1, "s")) == (1, -1.0)
    with pytest.raises(InvalidArgument):
        at_least(0, 1, "n")
    for value in (1.01, -1.5, math.nan, math.inf):
        with pytest.raises(InvalidArgument) as caught:
            within(value, -1, 1, "s")
        assert caught.value.reason == "OUT_OF_RANGE"
