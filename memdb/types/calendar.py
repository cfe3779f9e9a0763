"""Which hours of the day and days of the week a question is about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import time
from typing import Any, Final

from memdb.errors import InvalidArgument
from memdb.types.checks import check_many, is_integer
from memdb.types.zone import checked_zone

DAY_S: Final = 86_400
HOURS_MAX: Final = 24
"""Stretches of a day that one question may name."""
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""Short names, in the order of `datetime.date.weekday`."""

HourOfDay = time | str
"""A naive time of whole seconds, or text: ``"22:00"``, ``"06:30:15"``; the midnight that ends a day is
``"24:00"`` or ``"00:00"``."""
Weekday = int | str
"""0 (Monday) to 6, or a short name: ``"mon"``."""

_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Calendar:
    """Stretches of the day on some days of the week, by the clock on the wall.

    A stretch belongs to the day on which it begins: 22:00 to 06:00 on Fridays ends on Saturday morning.
    """

    hours: tuple[tuple[int, int], ...] = ()
    """[start, end) in seconds of the day; an end at or before its start is of the next day.  Empty: all
    day."""
    weekdays: tuple[int, ...] = ()
    """Ascending, 0 is Monday; empty: every day."""
    zone: str | None = None
    """By whose clock; None: each stream's own zone."""


def checked_calendar(
    hours: Iterable[Sequence[HourOfDay]] | None,
    weekdays: Iterable[Weekday] | None,
    zone: str | None,
) -> Calendar | None:
    """What the options of a question say, None where they restrict nothing.

    Raises `InvalidArgument`: ``BAD_HOURS``, ``BAD_WEEKDAY``, ``BAD_ZONE``, ``EMPTY``, ``TOO_LARGE``, and
    ``NOT_USED`` of a zone alone.
    """
    name = None if zone is None else checked_zone(zone)
    if hours is None and weekdays is None:
        if name is not None:
            raise InvalidArgument(
                "a zone is for hours or weekdays; there are none",
                reason="NOT_USED",
                field="zone",
                value=name,
            )
        return None
    stretches: tuple[tuple[int, int], ...] = ()
    if hours is not None:
        listed = check_many(hours, object, "hours", HOURS_MAX)
        stretches = tuple(_stretch(item, f"hours[{index}]") for index, item in enumerate(listed))
        _not_empty(stretches, "hours")
    days: tuple[int, ...] = ()
    if weekdays is not None:
        wanted = check_many(weekdays, object, "weekdays", len(WEEKDAYS))
        days = tuple(sorted({_weekday(item, f"weekdays[{i}]") for i, item in enumerate(wanted)}))
        _not_empty(days, "weekdays")
    return Calendar(stretches, days, name)


def clock_text(second: int) -> str:
    """A second of the day as `checked_calendar` reads it: ``22:00``."""
    hour, rest = divmod(second, 3600)
    minute, left = divmod(rest, 60)
    return f"{hour:02}:{minute:02}" + (f":{left:02}" if left else "")


def clock_texts(calendar: Calendar) -> list[tuple[str, str]] | None:
    """The hours of a calendar as an option, None for all day."""
    return [(clock_text(start), clock_text(end)) for start, end in calendar.hours] or None


def _not_empty(items: tuple[object, ...], field: str) -> None:
    if not items:
        # None in Python would be all on the wire.
        raise InvalidArgument("name at least one, or None for all", reason="EMPTY", field=field)


def _stretch(item: object, field: str) -> tuple[int, int]:
    if isinstance(item, str) or not isinstance(item, Sequence) or len(item) != 2:
        raise _bad_hours(item, field)
    start, end = (_second(part, field) for part in item)
    if start in (end, DAY_S):
        raise _bad_hours(item, field)  # nothing, or all day?
    return start, end or DAY_S


def _second(value: Any, field: str) -> int:
    if isinstance(value, str):
        if value == "24:00":
            return DAY_S
        found = _CLOCK.fullmatch(value)
        if found is None:
            raise _bad_hours(value, field)
        hour, minute, second = (int(digits or 0) for digits in found.groups())
        return hour * 3600 + minute * 60 + second
    if not isinstance(value, time) or value.tzinfo is not None or value.microsecond:
        raise _bad_hours(value, field)
    return value.hour * 3600 + value.minute * 60 + value.second


def _bad_hours(value: object, field: str) -> InvalidArgument:
    return InvalidArgument(
        'expected a list of pairs of different times, such as [("22:00", "06:00")], hours of two digits ("09:00"); '
        'midnight as an end is "24:00"',
        reason="BAD_HOURS",
        field=field,
        value=str(value)[:80],
    )


def _weekday(value: object, field: str) -> int:
    if isinstance(value, str) and value in WEEKDAYS:
        return WEEKDAYS.index(value)
    if is_integer(value) and 0 <= value < len(WEEKDAYS):
        return int(value)
    raise InvalidArgument(
        f"expected a weekday, 0 (Monday) to 6 or one of {', '.join(WEEKDAYS)}",
        reason="BAD_WEEKDAY",
        field=field,
        value=str(value)[:80],
    )
