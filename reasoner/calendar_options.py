"""Hours and days of the week as people type them: ``9-17``, ``9:00-17:30``, ``Friday``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from memdb.errors import InvalidArgument
from memdb.types.calendar import WEEKDAYS, Calendar, checked_calendar

_CLOCK: Final = re.compile(r"\s*(?P<hour>[0-9]{1,2})(?P<rest>(?::[0-9]{2}){0,2})\s*", re.ASCII)
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def calendar(
    hours: Sequence[str] | None, weekdays: Sequence[str] | None, zone: str | None
) -> Calendar | None:
    """The filter that options say, None where they say nothing.

    zone: of hours and weekdays, left out where there are none.  Raises `InvalidArgument` (``BAD_HOURS``, field
    ``hours``; ``BAD_WEEKDAY``).
    """
    try:
        return checked_calendar(
            None if hours is None else [_stretch(text) for text in hours],
            None if weekdays is None else [_weekday(text) for text in weekdays],
            zone if hours or weekdays else None,
        )
    except InvalidArgument as error:
        if error.reason != "BAD_HOURS":
            raise
        # In the words of the command: those of the library are about pairs.
        raise InvalidArgument(
            "expected two different times of a day, such as 22:00-06:00 or 9-17; midnight as an end is 24:00",
            reason="BAD_HOURS",
            field="hours",
            value=", ".join(hours or ()),
        ) from error


def _stretch(text: str) -> list[str]:
    """The times that a dash parts, with two digits for the hour and minutes; anything else as it is, to be refused."""
    return [_time(part) for part in re.split("[-–]", text)]


def _time(text: str) -> str:
    found = _CLOCK.fullmatch(text)
    return text if found is None else f"{int(found['hour']):02}{found['rest'] or ':00'}"


def _weekday(text: str) -> str:
    """``fri`` for ``Friday``, ``FRI``; anything else as it is, to be refused."""
    day = text.strip().lower()
    return WEEKDAYS[_DAYS.index(day)] if day in _DAYS else day if day in WEEKDAYS else text
