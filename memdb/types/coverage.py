"""What of a stream a question searched: what an answer, and above all a no, rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from memdb.types.zone import UTC_ZONE

STRETCHES_MAX: Final = 64
"""Stretches of hours that a coverage lists of one stream."""


@dataclass(frozen=True, slots=True)
class StreamCoverage:
    """The clips of one stream that the filters of a question admit."""

    stream: str
    clips: int
    """How many of its clips were searched."""
    zone: str = UTC_ZONE
    """The stream's time zone."""
    start_ns: int | None = None
    """Start of the earliest clip, None where there is none."""
    end_ns: int | None = None
    """End of the latest."""
    hours: int = 0
    """Clock hours (UTC) in which there are clips."""
    stretches: tuple[tuple[int, int], ...] = ()
    """[start, end) in nanoseconds of hours with clips that follow each other, oldest first: the newest
    64 of them."""
    missing: int = 0
    """Clip numbers within the time range that are missing or damaged: all of them, of which `Grounding.gaps` names
    the newest."""
