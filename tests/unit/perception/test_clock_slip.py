"""A live source and the wall clock that part."""

from __future__ import annotations

import pytest

from perception.clock_slip import SLIP_NS, ClockSlip
from perception.sources.base import NS_PER_S


@pytest.mark.parametrize("jump_ns", [SLIP_NS + 1, -SLIP_NS - 1, 10**18])
def test_a_clock_that_is_set_is_noticed_and_one_that_goes_on_is_not(jump_ns: int) -> None:
    wall_ns = 1_000 * NS_PER_S
    slip = ClockSlip(lambda: wall_ns)
    for second in range(100):
        # A camera holds back, and sends at once what it held.
        assert slip.look((second - 3 * (second % 4)) * NS_PER_S) is None
        wall_ns += NS_PER_S
    wall_ns += jump_ns
    assert slip.look(100 * NS_PER_S) == jump_ns


def test_a_camera_whose_clock_drifts_is_noticed_in_time() -> None:
    wall_ns = 0
    slip = ClockSlip(lambda: wall_ns)
    assert slip.look(0) is None
    week_s = 7 * 86_400
    found = []
    for second in range(0, 2 * week_s, 60):
        wall_ns = second * NS_PER_S
        found.append(slip.look(round(wall_ns * (1 - 50e-6))))
    first = next(number for number, slipped in enumerate(found) if slipped is not None)
    assert found[first] == 60 * first * NS_PER_S * 50e-6
    assert week_s * 0.9 < 60 * first < week_s * 1.1
