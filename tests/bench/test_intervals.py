"""Intervals of means."""

from __future__ import annotations

from bench.intervals import interval_of_groups


def test_values_that_belong_together_count_as_few() -> None:
    values = [0.0] * 50 + [1.0] * 50
    low, high = interval_of_groups(values, list(range(100)), 1)
    assert 0.35 < low < 0.45
    assert 0.55 < high < 0.65
    # Two days, each all right or all wrong, say next to nothing.
    assert interval_of_groups(values, [0] * 50 + [1] * 50, 1) == (0.0, 1.0)
    assert interval_of_groups([3.0] * 4, [0, 0, 1, 1], 1) == (3.0, 3.0)
