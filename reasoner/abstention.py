"""A no in words: that nothing like it was seen, where it was looked for, and what could not be.

    Nothing like that was seen; cameras and hours covered: porch 2026-01-05 09:00–17:00, 19:00–20:00 (9 h,
    420 clips), study none; gaps: porch 5 clips.

Of more gaps than an answer names the rest is counted: "gaps: porch 1200 clips, and 350 more", which are gaps.

Hours are told by the clock of each camera's zone, which is named where it is not UTC, or by that of one zone.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from memdb.types.zone import UTC_ZONE
from reasoner.wall_clock import local

if TYPE_CHECKING:
    from memdb.types.coverage import StreamCoverage
    from memdb.types.grounding import Grounding

CAMERAS_MAX: Final = 8
"""Cameras that are told by name; of more the rest is counted."""
STRETCHES_MAX: Final = 4
"""Stretches of a camera that are told, the newest."""


def describe_abstention(grounding: Grounding, zone: str | None = None) -> str:
    """The sentence of an answer that abstained; hours by the clock of ``zone``, or of each camera's."""
    looked = [part for part in grounding.coverage if part.clips]
    empty = [part.stream for part in grounding.coverage if not part.clips]
    told = [_camera(part, _zone(zone or part.zone)) for part in looked[:CAMERAS_MAX]]
    if len(looked) > CAMERAS_MAX:
        hours = sum(part.hours for part in looked[CAMERAS_MAX:])
        told.append(f"{len(looked) - CAMERAS_MAX} more cameras ({hours} h)")
    if empty:
        names = " and ".join(
            [", ".join(empty[:CAMERAS_MAX])] + ["others"] * (len(empty) > CAMERAS_MAX)
        )
        told.append(f"no clips of {names}")
    missing = Counter[str]()
    for gap in grounding.gaps:
        missing[gap.stream] += gap.last_seq - gap.first_seq + 1
    gaps = ", ".join(f"{name} {count} clips" for name, count in missing.most_common(CAMERAS_MAX))
    if grounding.gaps_left_out:
        gaps += f", and {grounding.gaps_left_out} more"
    return (
        f"Nothing like that was seen; cameras and hours covered: {'; '.join(told) or 'none'}; "
        f"gaps: {gaps or 'none'}."
    )


def _camera(part: StreamCoverage, zone: ZoneInfo) -> str:
    newest = part.stretches[-STRETCHES_MAX:]
    told: list[str] = []
    day = ""
    for start_ns, end_ns in newest:
        start, end = local(start_ns, zone), local(end_ns, zone)
        date = f"{start:%Y-%m-%d} "
        # Midnight belongs to the day that it ends.
        same_day = (end - timedelta(microseconds=1)).date() == start.date()
        until = f"{end:%H:%M}" if same_day else f"{end:%Y-%m-%d %H:%M}"
        if same_day and until == "00:00":
            until = "24:00"
        told.append(f"{date if date != day else ''}{start:%H:%M}–{until}")
        day = date if same_day else ""
    before = "…, " if len(part.stretches) > len(newest) else ""
    clock = "" if zone.key == UTC_ZONE else f" {zone.key}"
    return f"{part.stream} {before}{', '.join(told)}{clock} ({part.hours} h, {part.clips} clips)"


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # A zone that the server knows and this machine does not: its hours are told in UTC.
        return ZoneInfo(UTC_ZONE)
