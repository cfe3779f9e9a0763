"""Hours and weekdays of clips against a reader of the clock on the wall, minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memdb.types.calendar import Calendar
from memdb.types.wall_clock import touches

pytestmark = pytest.mark.property

MINUTE_NS = 60 * 1_000_000_000
DAY_MINUTES = 24 * 60
CHANGES = {
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00", "1980-04-06T01:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "Australia/Lord_Howe": ("2026-04-04T15:00", "2026-10-03T15:30"),  # by half an hour
    "Antarctica/Troll": ("2026-03-29T01:00", "2026-10-25T01:00"),  # by two hours
    "Asia/Beirut": ("2026-03-28T22:00", "2026-10-24T21:00"),  # at midnight
    "Pacific/Apia": ("2011-12-30T10:00",),  # a Friday that never was
    "Africa/Casablanca": ("2026-02-15T02:00", "2026-03-22T02:00"),  # for Ramadan
    "Asia/Kathmandu": ("1986-01-01T00:00", "2025-12-31T18:15"),
    "UTC": ("2026-01-01T00:00", "1969-12-31T00:00"),
}
"""Moments (UTC) at which the clock on the wall is turned, or the year begins."""

minutes_of_day = st.integers(0, DAY_MINUTES - 1)
stretches = st.tuples(minutes_of_day, st.integers(1, DAY_MINUTES)).filter(lambda s: s[0] != s[1])
calendars = st.tuples(
    st.lists(stretches, max_size=3), st.sets(st.integers(0, 6), max_size=6)
).filter(lambda parts: bool(parts[0] or parts[1]))
clips = st.tuples(
    st.integers(-3 * DAY_MINUTES, 3 * DAY_MINUTES),
    st.one_of(st.just(0), st.integers(1, 90), st.integers(0, 9 * DAY_MINUTES)),
)
"""Start, in minutes from a change, and length."""


def on_the_wall(
    minute: datetime, zone: ZoneInfo, hours: list[tuple[int, int]], days: set[int]
) -> bool:
    """Whether a moment lies within the calendar: read from the clock and the sheet of the day."""
    local = minute.astimezone(zone)
    of_day = local.hour * 60 + local.minute
    today = local.weekday()
    yesterday = (local.date() - timedelta(days=1)).weekday()
    for start, end in hours or [(0, DAY_MINUTES)]:
        begun_today = of_day >= start and (start >= end or of_day < end)
        begun_yesterday = start >= end and of_day < end
        if (begun_today and (not days or today in days)) or (
            begun_yesterday and (not days or yesterday in days)
        ):
            return True
    return False


@given(
    st.sampled_from([(zone, change) for zone, changes in CHANGES.items() for change in changes]),
    calendars,
    st.lists(clips, min_size=1, max_size=6),
)
@example(
    ("Europe/Berlin", "2026-03-29T01:00"), ([(120, 180)], {6}), [(-60, 180), (-60, 60), (0, 60)]
)
@example(("Europe/Berlin", "2026-10-25T01:00"), ([(150, 160)], {6}), [(-60, 60), (0, 60), (60, 60)])
@example(("Pacific/Apia", "2011-12-30T10:00"), ([], {4}), [(-60, 120), (-DAY_MINUTES - 60, 120)])
@example(
    ("UTC", "2026-01-01T00:00"), ([(22 * 60, 6 * 60)], {2}), [(0, 0), (359, 1), (360, 1), (-121, 1)]
)
def test_clips_touch_what_the_clock_on_the_wall_says(
    place: tuple[str, str],
    calendar: tuple[list[tuple[int, int]], set[int]],
    placed: list[tuple[int, int]],
) -> None:
    (name, change), (hours, days) = place, calendar
    zone, origin = ZoneInfo(name), datetime.fromisoformat(change).replace(tzinfo=UTC)
    origin_ns = int(origin.timestamp()) * 1_000_000_000
    start_ns = np.array([origin_ns + start * MINUTE_NS for start, _ in placed], np.int64)
    end_ns = start_ns + np.array([length * MINUTE_NS for _, length in placed], np.int64)

    found = touches(
        Calendar(tuple((start * 60, end * 60) for start, end in hours), tuple(sorted(days))),
        name,
        start_ns,
        end_ns,
    )

    expected = [
        any(
            on_the_wall(origin + timedelta(minutes=start + offset), zone, hours, days)
            for offset in range(max(length, 1))
        )
        for start, length in placed
    ]
    assert found.tolist() == expected


@given(
    st.sampled_from(sorted(CHANGES)),
    st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=4),
    minutes_of_day,
)
def test_a_point_at_any_time_that_there_is(name: str, times: list[int], start: int) -> None:
    """From 1823 to 2116, to the nanosecond."""
    end = (start + 61) % DAY_MINUTES or DAY_MINUTES
    at = np.array(times, np.int64)

    found = touches(Calendar(((start * 60, end * 60),)), name, at, at)

    for time_ns, hit in zip(times, found.tolist(), strict=True):
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)
        local = moment.astimezone(ZoneInfo(name))
        of_day = local.hour * 3600 + local.minute * 60 + local.second
        inside = of_day >= start * 60, of_day < end * 60
        assert hit == (all(inside) if start < end else any(inside))


@pytest.mark.parametrize("zone", sorted(CHANGES))
def test_a_clip_of_years_touches_every_hour_of_the_week(zone: str) -> None:
    origin_ns = int(datetime(2009, 6, 1, tzinfo=UTC).timestamp()) * 1_000_000_000
    start = np.array([origin_ns], np.int64)

    for day in range(7):
        assert touches(
            Calendar(((3600 * 2, 3600 * 2 + 1),), (day,)), zone, start, start + 10**17
        ).all()
