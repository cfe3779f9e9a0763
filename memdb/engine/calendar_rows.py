"""Which clips touch the hours and weekdays that a question names: a mask of rows, made before the search."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from memdb import deadline
from memdb.engine.state import StreamState
from memdb.index.partition import PartitionView
from memdb.types.arrays import Array
from memdb.types.calendar import Calendar
from memdb.types.wall_clock import touches


def within_calendar(
    calendar: Calendar,
    partition: PartitionView,
    allowed: Array | None,
    streams: Iterable[StreamState],
) -> Array:
    """(rows,) bool: those of the ``allowed`` rows (None: all) that touch the calendar, each by the clock of
    its stream, or all by that of the question's zone.

    Raises `FailedPrecondition` (``ZONE_UNKNOWN``).
    """
    mask = np.zeros(partition.rows, bool)
    rows = np.arange(partition.rows) if allowed is None else np.flatnonzero(allowed)
    column = partition.columns
    by_zone: dict[str, list[int]] = {}
    for stream in streams:
        by_zone.setdefault(calendar.zone or stream.zone, []).append(stream.no)
    for zone, numbers in by_zone.items():
        deadline.check()  # the rules of a zone over all of time take half a second
        own = rows
        if len(by_zone) > 1:
            own = rows[np.isin(column["stream_no"][rows], np.array(numbers, np.uint32))]
        mask[own] = touches(calendar, zone, column["start_ns"][own], column["end_ns"][own])
    return mask
