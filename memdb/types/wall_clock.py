"""Whether stretches of time touch the hours and weekdays of a calendar, by the clock on the wall.

The stretches of a `Calendar` repeat with each week of local time.  An interval is cut where its zone's offset
changes; a piece is a plain interval of local time, and looked up in one week's stretches.  So a stretch that
crosses midnight or Sunday needs no care, an hour that the clock shows twice counts both times, and one that it
skips is never.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from memdb.types.arrays import Array
from memdb.types.calendar import WEEKDAYS, Calendar
from memdb.types.local_time import DAY_S, SECOND_NS, offset_pieces, years_of

_WEEK_NS: Final = len(WEEKDAYS) * DAY_S * SECOND_NS
_MONDAY_NS: Final = 4 * DAY_S * SECOND_NS
"""1970-01-05; 1970-01-01 was a Thursday."""
_CALENDARS_KEPT: Final = 256
"""Of questions that are asked of every clip; 8 kB at most."""


def touches(calendar: Calendar, zone: str, start_ns: Array, end_ns: Array) -> Array:
    """(n,) bool: whether [start, end) of each has a moment within the calendar; one of no length
    is a point.

    Raises `FailedPrecondition` (``ZONE_UNKNOWN``).
    """
    found = np.zeros(len(start_ns), bool)
    if not len(start_ns):
        return found
    # The last moment that counts.
    last_ns = np.maximum(start_ns, end_ns - 1)
    starts, offsets = offset_pieces(zone, years_of(start_ns, last_ns))
    begins, ends = _week_stretches(calendar)
    piece = np.searchsorted(starts, start_ns, "right") - 1
    last_piece = np.searchsorted(starts, last_ns, "right") - 1
    rows = np.arange(len(start_ns))
    while len(rows):
        at = piece[rows]
        first = np.maximum(start_ns[rows], starts[at])
        following = starts[np.minimum(at + 1, len(starts) - 1)]
        last = np.where(at < last_piece[rows], following - 1, last_ns[rows])
        hit = _within(begins, ends, first + offsets[at], last - first)
        found[rows[hit]] = True
        rows = rows[~hit & (at < last_piece[rows])]
        piece[rows] += 1
    return found


def _within(begins: Array, ends: Array, local_ns: Array, length_ns: Array) -> Array:
    """Whether [local, local + length], both moments included, meets one of the week's stretches."""
    place = (local_ns - _MONDAY_NS) % _WEEK_NS
    next_stretch = np.searchsorted(ends, place, "right")
    return np.asarray(begins[next_stretch] - place <= length_ns)


@lru_cache(_CALENDARS_KEPT)
def _week_stretches(calendar: Calendar) -> tuple[Array, Array]:
    """[begin, end) of the stretches of two weeks in nanoseconds since a Monday, disjoint and ascending."""
    listed = sorted(
        (
            (day * DAY_S + start) * SECOND_NS + week * _WEEK_NS,
            (day * DAY_S + end + (DAY_S if end <= start else 0)) * SECOND_NS + week * _WEEK_NS,
        )
        # From the week before: its Sunday night ends on the first Monday.
        for week in (-1, 0, 1)
        for day in calendar.weekdays or range(len(WEEKDAYS))
        for start, end in calendar.hours or ((0, DAY_S),)
    )
    merged: list[list[int]] = []
    for begin, end in listed:
        if merged and begin <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([begin, end])
    begins, ends = np.array(merged, np.int64).T
    begins.flags.writeable = ends.flags.writeable = False  # it is kept
    return begins, ends
