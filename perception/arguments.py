"""What the commands read from their command line as text: times, addresses, bounded numbers.

Every wrong one raises `InvalidArgument` with the option as its field and the text as its value.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from memdb.errors import InvalidArgument

_HOST_PORT: Final = re.compile(
    r"(?:dns:(?://[^/]*/)?|ipv4:)?[^\s:/\[\]]+:(\d{1,5})|(?:ipv6:)?\[[0-9A-Fa-f:.%]+\]:(\d{1,5})"
)
_PORT_MAX: Final = 65_535


def moment(text: str, field: str) -> datetime:
    """An RFC 3339 time.  A date alone, or a time without its offset from UTC, is refused: what a
    local clock meant cannot be told later.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.utcoffset() is None:
        raise InvalidArgument(
            "expected a time with its offset from UTC, such as 2026-01-05T09:00:00Z",
            reason="BAD_TIME",
            field=field,
            value=text,
        )
    return found


def server_address(text: str) -> str:
    """``HOST:PORT``, or ``unix:PATH``; a host without a port is refused (``BAD_ADDRESS``)."""
    found = _HOST_PORT.fullmatch(text)
    is_port = found is not None and 0 < int(found[1] or found[2]) <= _PORT_MAX
    if not is_port and not re.fullmatch(r"unix:(?:.+)", text):
        raise InvalidArgument(
            "expected HOST:PORT, such as localhost:7700",
            reason="BAD_ADDRESS",
            field="server",
            value=text,
        )
    return text


def at_least(value: int, least: int, name: str) -> int:
    """``value``, if it is not below ``least``."""
    if value < least:
        raise InvalidArgument(f"at least {least}", reason="OUT_OF_RANGE", field=name, value=value)
    return value


def within(value: float, low: float, high: float, name: str) -> float:
    """``value``, if it lies in ``[low, high]``; nan does not."""
    if not low <= value <= high:
        raise InvalidArgument(
            f"between {low:g} and {high:g}", reason="OUT_OF_RANGE", field=name, value=value
        )
    return value
