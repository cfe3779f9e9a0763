"""A live camera that shows nothing although it sends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perception.errors import SourceUnreadable
from perception.sources.sight import Sight


class Clock:
    """Stands still unless it is moved."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def packets(clock: Clock, seconds_each: float, count: int) -> Iterator[int]:
    for number in range(count):
        clock.now_s += seconds_each
        yield number


def test_no_picture_although_packets_come() -> None:
    clock = Clock()
    sight = Sight(30.0, clock_s=clock)
    seen: list[int] = []

    def watch() -> None:
        for number in sight.timed(packets(clock, 1.0, 100)):
            # Pictures for ten seconds, and sound after them.
            sight.look(min(number, 10))
            seen.append(number)

    with pytest.raises(SourceUnreadable, match="no picture for 30 s"):
        watch()
    assert len(seen) == 40


def test_time_in_which_nobody_looks_does_not_count() -> None:
    clock = Clock()
    sight = Sight(30.0, clock_s=clock)
    seen = 0
    for number in sight.timed(packets(clock, 1.0, 20)):
        sight.look(0)
        clock.now_s += 100.0 * number
        seen += 1
    assert seen == 20
