"""Streams of a user, their ledgers and gaps."""

from __future__ import annotations

from dataclasses import dataclass

from memdb.types.zone import UTC_ZONE


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream that exists."""

    name: str
    space: str
    """The feature space of its clips."""
    revision: int
    """The commit that created it."""
    id: str = ""
    """What tells it from another of its name, before and after: a watcher hears by it that the stream
    is gone."""
    zone: str = UTC_ZONE
    """IANA name of the time zone in which its hours and weekdays are told."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Clip numbers ``first_seq..last_seq`` (inclusive) of an epoch that were skipped and have not
    arrived; or one clip that arrived and is damaged.
    """

    stream: str
    epoch: int
    first_seq: int
    last_seq: int
    """Inclusive."""
    start_ns: int | None = None
    """End of the clip before the gap; None when the gap begins the epoch, that clip was erased, or its end lies
    after ``end_ns``: numbers that do not follow the clock do not tell when the missing ones were."""
    end_ns: int | None = None
    """Start of the clip after the gap, None as above.  Of a damaged clip, its own start and end, where known."""
    reason: str = "missing"
    """``missing`` or ``damaged``."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was received of one epoch of a stream."""

    stream: str
    epoch: int
    next_seq: int
    """One more than the highest sealed number, or the first behind it that is not damaged: where an agent goes on."""
    clips: int
    """Distinct clips received."""
    first_start_ns: int | None
    """Start of the earliest clip, None when there is none."""
    last_end_ns: int | None
    """End of the highest sealed clip, None when there is none."""
    gaps: tuple[Gap, ...]
    """Numbers that were skipped and have not come."""
