"""Which clips touch the hours and weekdays that a question names: a mask of rows, made before the search."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from memdb.engine.state import StreamState
from memdb.index.calendar_rows import rows_within
from memdb.index.partition import PartitionView
from memdb.types.arrays import Array
from memdb.types.calendar import Calendar


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
    zones = {stream.no: stream.zone for stream in streams}
    mask[rows_within(calendar, partition.columns, rows, zones)] = True
    return mask
