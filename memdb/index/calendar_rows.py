"""Which rows of a table of times touch the hours and weekdays that a question names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from memdb import deadline
from memdb.types.arrays import Array
from memdb.types.calendar import Calendar
from memdb.types.wall_clock import touches


def rows_within(
    calendar: Calendar, columns: Mapping[str, Array], rows: Array, zones: Mapping[int, str]
) -> Array:
    """Those of ``rows``, (n,) int64, whose ``start_ns`` and ``end_ns`` touch the calendar, each by the clock of its
    stream, or all by that of the question's zone.

    zones: of the streams that have rows there, by number.

    Raises `FailedPrecondition` (``ZONE_UNKNOWN``).
    """
    by_zone: dict[str, list[int]] = {}
    for number, zone in zones.items():
        by_zone.setdefault(calendar.zone or zone, []).append(number)
    within = np.zeros(len(rows), bool)
    streams = columns["stream_no"][rows]
    for zone, numbers in by_zone.items():
        deadline.check()  # the rules of a zone over all of time take half a second
        places = np.arange(len(rows))
        if len(by_zone) > 1:
            places = np.flatnonzero(np.isin(streams, np.array(numbers, np.uint32)))
        own = rows[places]
        within[places] = touches(calendar, zone, columns["start_ns"][own], columns["end_ns"][own])
    return rows[within]
