"""Times as the clock on the wall of a time zone tells them, for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from memdb.types.zone import UTC_ZONE

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def local(time_ns: int, zone: ZoneInfo) -> datetime:
    """A moment by the clock of a zone."""
    return (_EPOCH + timedelta(microseconds=time_ns // 1000)).astimezone(zone)


def time_range(start_ns: int, end_ns: int, zone: str | None = None) -> str:
    """``2026-01-05 09:00:10.0–09:00:18.0`` by the clock of ``zone``, UTC where none is named; the second
    date only where it is another.
    """
    clock = ZoneInfo(zone or UTC_ZONE)
    start, end = local(start_ns, clock), local(end_ns, clock)
    until = _time(end) if start.date() == end.date() else f"{end:%Y-%m-%d} {_time(end)}"
    return f"{start:%Y-%m-%d} {_time(start)}–{until}"


def _time(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}.{moment.microsecond // 100_000}"
