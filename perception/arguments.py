"""What the commands read from their command line as text: addresses, bounded numbers.

Every wrong one raises `InvalidArgument` with the option as its field and the text as its value.
"""

from __future__ import annotations

from collections.abc import Iterable

from memdb.errors import InvalidArgument
from memdb.types.address import checked_address


def server_address(text: str) -> str:
    """As `memdb_client.connect` takes it; refused here, before anything is loaded (``BAD_ADDRESS``)."""
    return checked_address(text, "server")


def at_least(value: int, least: int, name: str) -> int:
    """``value``, if it is not below ``least``."""
    if value < least:
        raise InvalidArgument(f"at least {least}", reason="OUT_OF_RANGE", field=name, value=value)
    return value


def labels(texts: Iterable[str], name: str = "label") -> dict[str, list[str]]:
    """``KEY=VALUE`` each, the values of one key together; what they may be is for who takes them."""
    found: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise InvalidArgument("expected KEY=VALUE", reason="BAD_TEXT", field=name, value=text)
        found.setdefault(key, []).append(value)
    return found


def within(value: float, low: float, high: float, name: str) -> float:
    """``value``, if it lies in ``[low, high]``; nan does not."""
    if not low <= value <= high:
        raise InvalidArgument(
            f"between {low:g} and {high:g}", reason="OUT_OF_RANGE", field=name, value=value
        )
    return value
