"""Hours of the day and days of the week."""

from __future__ import annotations

from typing import TypedDict

from memdb.errors import InvalidArgument
from memdb.types.calendar import DAY_S, Calendar, clock_text
from memdb.v1 import grounding_service_pb2 as pb


class CalendarArguments(TypedDict):
    """Options of `User.ground`."""

    hours: list[tuple[str, str]] | None
    weekdays: list[int] | None
    zone: str | None


def calendar_to_proto(calendar: Calendar | None) -> pb.CalendarFilter | None:
    """A calendar as a message."""
    if calendar is None:
        return None
    return pb.CalendarFilter(
        hours=[pb.HoursOfDay(start_s=start, end_s=end) for start, end in calendar.hours],
        weekdays=calendar.weekdays,
        zone=calendar.zone,
    )


def calendar_arguments(message: pb.CalendarFilter) -> CalendarArguments:
    """The options of `User.ground` that a message carries; `User.ground` checks them.

    Raises `InvalidArgument` (``BAD_HOURS``) for what is no second of a day.
    """
    return CalendarArguments(
        hours=[
            (_text(hours.start_s, index), _text(hours.end_s, index))
            for index, hours in enumerate(message.hours)
        ]
        or None,
        weekdays=list(message.weekdays) or None,
        zone=message.zone if message.HasField("zone") else None,
    )


def _text(second: int, index: int) -> str:
    if second > DAY_S:
        raise InvalidArgument(
            f"expected seconds of a day, at most {DAY_S}",
            reason="BAD_HOURS",
            field=f"hours[{index}]",
            value=second,
        )
    return clock_text(second)
