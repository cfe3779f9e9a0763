"""Which clips a standing question looks at, beside its streams: what the filters of `ground` admit."""

from __future__ import annotations

import numpy as np

from memdb.engine.state import UserState
from memdb.index.partition import PartitionView
from memdb.types.arrays import Array
from memdb.types.clip_filter import ClipFilter
from memdb.types.wall_clock import touches


def admitted(only: ClipFilter, state: UserState, partition: PartitionView, rows: Array) -> Array:
    """(n,) bool: rows with the labels, and with a moment in the hours, by the clock of the question's zone or of
    each one's stream.

    Raises `FailedPrecondition` (``ZONE_UNKNOWN``).
    """
    chosen = np.ones(len(rows), np.bool_)
    if only.labels:
        chosen = partition.names.labelled.among(only.labels, rows)
    calendar = only.calendar
    if calendar is None or not chosen.any():
        return chosen
    column = partition.columns
    places = np.flatnonzero(chosen)
    streams = column["stream_no"][rows[places]]
    by_zone: dict[str, list[int]] = {}
    for stream_no in np.unique(streams).tolist():
        zone = calendar.zone or state.streams[state.stream_names[stream_no]].zone
        by_zone.setdefault(zone, []).append(stream_no)
    for zone, numbers in by_zone.items():
        own = places[np.isin(streams, np.array(numbers, np.uint32))]
        at = rows[own]
        chosen[own] = touches(calendar, zone, column["start_ns"][at], column["end_ns"][at])
    return chosen
