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


def sound_track(given: int | str | None) -> int | str | None:
    """``given``: a number from 1, also as text, or a language code as media have it; None for none."""
    if isinstance(given, str) and given.isdecimal():
        given = int(given)
    if given == "" or (isinstance(given, int) and given < 1):
        raise InvalidArgument(
            "a number from 1, or a language such as deu",
            reason="OUT_OF_RANGE",
            field="sound-track",
            value=given,
        )
    return given


def within(value: float, low: float, high: float, name: str) -> float:
    """``value``, if it lies in ``[low, high]``; nan does not."""
    if not low <= value <= high:
        raise InvalidArgument(
            f"between {low:g} and {high:g}", reason="OUT_OF_RANGE", field=name, value=value
        )
    return value


def of_camera(error: InvalidArgument, camera: str) -> InvalidArgument:
    """The same error, told of one camera."""
    told = error.again()
    told.message = f"camera {camera}: {error.message}"
    return told
