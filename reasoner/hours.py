"""Hours and weekdays of a question, as the methods of a user take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from memdb.types.calendar import clock_texts

if TYPE_CHECKING:
    from memdb.types.calendar import Calendar


class Hours(TypedDict):
    """Options of `User.ground`, `User.recall` and `User.clips`."""

    hours: list[tuple[str, str]] | None
    weekdays: tuple[int, ...] | None
    zone: str | None


def hours_of(calendar: Calendar | None) -> Hours:
    """None for each where all hours of all days are asked about."""
    if calendar is None:
        return Hours(hours=None, weekdays=None, zone=None)
    return Hours(
        hours=clock_texts(calendar), weekdays=calendar.weekdays or None, zone=calendar.zone
    )
