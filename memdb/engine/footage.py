"""Where a question could look: the clips, hours and gaps of every stream that it searched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from memdb import deadline
from memdb.engine.state import StreamState, UserState, numbered
from memdb.index.partition import PartitionView
from memdb.types.arrays import Array
from memdb.types.coverage import STRETCHES_MAX, StreamCoverage

HOUR_NS: Final = 3600 * 1_000_000_000
_HOURS_EACH_MAX: Final = 24 * 7
"""A clip longer than that counts in its first hours."""


def searched_streams(
    state: UserState, stream_nos: tuple[int, ...] | None, space_no: int | None, revision: int
) -> list[StreamState]:
    """The streams of a space (of them the numbered ones, None for all) that existed at a revision."""
    there = [
        stream
        for stream in state.streams.values()
        if stream.space_no == space_no and stream.revision <= revision
    ]
    return numbered(there, stream_nos)


def footage(
    partition: PartitionView | None,
    allowed: Array | None,
    streams: Iterable[StreamState],
    missing: Mapping[str, int],
) -> tuple[StreamCoverage, ...]:
    """What was searched of ``streams``, by name.

    allowed: (rows,) bool of the rows that were searched, None for all.
    missing: by stream, of those that miss any, how many clip numbers are missing there.
    """
    searched = sorted(streams, key=lambda stream: stream.name)
    if partition is None:
        return tuple(
            StreamCoverage(stream.name, 0, stream.zone, missing=missing.get(stream.name, 0))
            for stream in searched
        )
    rows = np.arange(partition.rows) if allowed is None else np.flatnonzero(allowed)
    numbers = partition.columns["stream_no"][rows]
    # Grouped once: a user may have a thousand cameras.
    rows = rows[np.argsort(numbers, kind="stable")]
    numbers = partition.columns["stream_no"][rows]
    # All looked up at once, in the type of the column: each look-up of another type copies all of it.
    wanted = np.array([stream.no for stream in searched], numbers.dtype)
    firsts = np.searchsorted(numbers, wanted, "left").tolist()
    lasts = np.searchsorted(numbers, wanted, "right").tolist()
    found = []
    for stream, first, last in zip(searched, firsts, lasts, strict=True):
        deadline.check()
        count = missing.get(stream.name, 0)
        found.append(_of_stream(partition, rows[first:last], stream, count))
    return tuple(found)


def _of_stream(
    partition: PartitionView, rows: Array, stream: StreamState, missing: int
) -> StreamCoverage:
    if not len(rows):
        return StreamCoverage(stream.name, 0, stream.zone, missing=missing)
    start_ns = partition.columns["start_ns"][rows]
    end_ns = np.maximum(partition.columns["end_ns"][rows], start_ns + 1)
    hours = _hours(start_ns // HOUR_NS, (end_ns - 1) // HOUR_NS)
    breaks = np.flatnonzero(np.diff(hours) > 1) + 1
    begins = hours[np.concatenate([[0], breaks])]
    ends = hours[np.concatenate([breaks - 1, [len(hours) - 1]])] + 1
    return StreamCoverage(
        stream.name,
        len(rows),
        stream.zone,
        int(start_ns.min()),
        int(partition.columns["end_ns"][rows].max()),
        len(hours),
        tuple(
            (int(begin) * HOUR_NS, int(end) * HOUR_NS)
            for begin, end in zip(
                begins[-STRETCHES_MAX:].tolist(), ends[-STRETCHES_MAX:].tolist(), strict=True
            )
        ),
        missing,
    )


def _hours(first: Array, last: Array) -> Array:
    """The hours between ``first`` and ``last`` of any clip, both included, ascending."""
    hours = np.unique(first)
    span = np.minimum(last - first, _HOURS_EACH_MAX)
    for more in range(1, int(span.max()) + 1):
        hours = np.union1d(hours, first[span >= more] + more)
    return hours
