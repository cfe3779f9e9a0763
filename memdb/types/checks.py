"""Checks of single values at the door: text, numbers, lists, choices.

Each takes anything at all and gives the value back in its plain type, or raises `InvalidArgument`
with the field and the value; none raises anything else.  What is right and plain already, as nearly
everything is, is given back at once: a clip goes through some thirty of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sized
from contextlib import suppress
from itertools import islice
from typing import Any, Final, TypeGuard, TypeVar

import numpy as np

from memdb.errors import InvalidArgument
from memdb.types.limits import TEXT_CHARS_MAX

_Item = TypeVar("_Item")

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def check_text(
    value: object, field: str, chars_max: int = TEXT_CHARS_MAX, *, may_be_empty: bool = False
) -> str:
    """``value`` if it is text of 1 to ``chars_max`` characters that UTF-8 can carry.

    Raises `InvalidArgument` (``BAD_TEXT``, ``EMPTY``, ``TOO_LARGE``).
    """
    if type(value) is str and 0 < len(value) <= chars_max and value.isascii():
        return value
    if not isinstance(value, str):
        raise InvalidArgument(
            "expected text", reason="BAD_TEXT", field=field, value=type(value).__name__
        )
    if not value and not may_be_empty:
        raise InvalidArgument("text is empty", reason="EMPTY", field=field)
    if len(value) > chars_max:
        raise InvalidArgument(
            f"text has more than {chars_max} characters",
            reason="TOO_LARGE",
            field=field,
            value=len(value),
        )
    if not value.isascii() and _SURROGATE.search(value):
        raise InvalidArgument(
            "text has a lone surrogate", reason="BAD_TEXT", field=field, value=value
        )
    return plain(value)


def plain(text: str) -> str:
    """``text`` as `str` itself, and not as a subclass (of numpy, of an enumeration) that cannot be
    stored.
    """
    return text if type(text) is str else str.__str__(text)


def is_integer(value: object) -> TypeGuard[int | np.integer[Any]]:
    """Whether ``value`` counts: an integer of Python or numpy, no truth value and no stretch of time, which numpy
    takes for integers too.
    """
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.timedelta64))


def check_int(value: object, field: str, minimum: int, maximum: int) -> int:
    """``value`` as int if it lies in [minimum, maximum], else `InvalidArgument` (``OUT_OF_RANGE``)."""
    if type(value) is int and minimum <= value <= maximum:  # as nearly all are
        return value
    if not is_integer(value) or not minimum <= int(value) <= maximum:
        raise InvalidArgument(
            f"expected an integer from {minimum} to {maximum}{_but(value, is_integer(value))}",
            reason="OUT_OF_RANGE",
            field=field,
            value=value,
        )
    return int(value)


def _but(value: object, is_right: bool) -> str:
    """What kind of value came where it is not of the right one: a text "5" is shown as the number is."""
    return "" if is_right else f", not {type(value).__name__}"


def check_number(
    value: object,
    field: str,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    *,
    above: bool = False,
) -> float:
    """``value`` as a finite float if it lies in [minimum, maximum], else `InvalidArgument`
    (``OUT_OF_RANGE``).

    above: the minimum itself is refused.
    """
    if type(value) is float and minimum < value < maximum:  # as nearly all are
        return value
    number = math.nan
    if isinstance(value, (float, np.floating)) or is_integer(value):
        # An integer beyond every float is refused below.
        with suppress(OverflowError):
            number = float(value)
    within = minimum < number <= maximum if above else minimum <= number <= maximum
    if not within or not math.isfinite(number):
        is_number = isinstance(value, (float, np.floating)) or is_integer(value)
        raise InvalidArgument(
            _number_wanted(minimum, maximum, above) + _but(value, is_number),
            reason="OUT_OF_RANGE",
            field=field,
            value=value,
        )
    return number


def _number_wanted(minimum: float, maximum: float, above: bool) -> str:
    if minimum == -math.inf:
        return "expected a finite number"
    # Ten digits: 30 days in seconds are 2592000, not 2.592e+06.
    return f"expected a number {'above' if above else 'from'} {minimum:.10g} to {maximum:.10g}"


def check_flag(value: object, field: str) -> bool:
    """``value`` if it is true or false, else `InvalidArgument` (``BAD_TYPE``)."""
    if value is True or value is False:
        return value
    if not isinstance(value, (bool, np.bool_)):
        raise InvalidArgument(
            "expected true or false", reason="BAD_TYPE", field=field, value=type(value).__name__
        )
    return bool(value)


def check_choice(
    value: object, choices: tuple[str, ...], field: str, reason: str, *, also: str | None = None
) -> str:
    """``value`` if it is one of ``choices``, else `InvalidArgument` with ``reason``.

    also: what is taken beside them, for who is refused.
    """
    if not isinstance(value, str) or value not in choices:
        raise InvalidArgument(
            f"expected {'' if also is None else f'{also}, or '}one of {', '.join(choices)}",
            reason=reason,
            field=field,
            value=value,
        )
    return plain(value)


def check_range(start_ns: int, end_ns: int, field: str, *, start: str = "start") -> None:
    """Raise `InvalidArgument` (``TIME_RANGE``) when the end lies before the start, of which ``start`` tells."""
    if end_ns < start_ns:
        raise InvalidArgument(
            f"end lies before {start}",
            reason="TIME_RANGE",
            field=field,
            value=f"[{start_ns}, {end_ns})",
        )


def check_iterable(values: Iterable[_Item], field: str) -> Iterable[_Item]:
    """``values`` if it can be gone through item by item, text and bytes excepted, else
    `InvalidArgument` (``BAD_TYPE``).
    """
    if not isinstance(values, (str, bytes, bytearray)):
        try:
            return iter(values)
        except TypeError:
            pass  # refused below
    raise InvalidArgument(
        "expected a list, also of one" if isinstance(values, str) else "expected a list",
        reason="BAD_TYPE",
        field=field,
        value=values if isinstance(values, str) else type(values).__name__,
    )


def check_many(
    values: Iterable[_Item], kind: type[_Item], field: str, maximum: int
) -> tuple[_Item, ...]:
    """``values`` as a tuple of at most ``maximum`` items of type ``kind``; no more than one item
    beyond that is taken from it.

    Raises `InvalidArgument` (``BAD_TYPE``, ``TOO_LARGE``).
    """
    if type(values) is tuple and len(values) <= maximum:
        items = values
    else:
        items = tuple(islice(check_iterable(values, field), maximum + 1))
    if len(items) > maximum:
        raise InvalidArgument(
            f"more than {maximum} items",
            reason="TOO_LARGE",
            field=field,
            value=len(values) if isinstance(values, Sized) else len(items),
        )
    for index, item in enumerate(items):
        if not isinstance(item, kind):
            raise InvalidArgument(
                f"expected {kind.__name__}",
                reason="BAD_TYPE",
                field=f"{field}[{index}]",
                value=type(item).__name__,
            )
    return items
