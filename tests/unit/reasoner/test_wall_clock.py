"""Times for people."""

from __future__ import annotations

from reasoner.wall_clock import time_range

SECOND_NS = 10**9


def test_a_range_over_midnight_names_both_days() -> None:
    day_ns = 86_400 * SECOND_NS
    assert time_range(day_ns - SECOND_NS, day_ns) == "1970-01-01 23:59:59.0–1970-01-02 00:00:00.0"


def test_tenths_are_cut_and_times_before_1970_are_times() -> None:
    assert time_range(0, SECOND_NS - 1) == "1970-01-01 00:00:00.0–00:00:00.9"
    assert time_range(-SECOND_NS // 2, 0) == "1969-12-31 23:59:59.5–1970-01-01 00:00:00.0"


def test_a_zone_has_its_own_clock() -> None:
    noon_ns = 1_767_614_400 * SECOND_NS  # 2026-01-05T12:00:00Z
    hour_ns = 3600 * SECOND_NS
    assert time_range(noon_ns, noon_ns + hour_ns, "Asia/Kolkata") == (
        "2026-01-05 17:30:00.0–18:30:00.0"
    )
    assert time_range(noon_ns, noon_ns + 4 * hour_ns, "Asia/Tokyo") == (
        "2026-01-05 21:00:00.0–2026-01-06 01:00:00.0"
    )
