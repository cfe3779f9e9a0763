"""Hours and weekdays as people type them."""

from __future__ import annotations

import pytest

from memdb.errors import InvalidArgument
from memdb.types.calendar import checked_calendar
from reasoner.calendar_options import calendar


@pytest.mark.parametrize(
    "typed", ["09:00-17:00", "9:00-17:00", "9-17", "9 - 17", "09:00:00-17", "9–17"]
)
def test_hours(typed: str) -> None:
    assert calendar([typed], None, None) == checked_calendar([("09:00", "17:00")], None, None)


def test_hours_end_at_midnight() -> None:
    assert calendar(["22-24"], None, None) == checked_calendar([("22:00", "24:00")], None, None)


@pytest.mark.parametrize("typed", ["fri", "Fri", "FRIDAY", " friday"])
def test_a_weekday(typed: str) -> None:
    assert calendar(None, [typed], None) == checked_calendar(None, [4], None)


def test_nothing() -> None:
    assert calendar(None, None, "Europe/Berlin") is None


@pytest.mark.parametrize("typed", ["", "9", "9-9", "9-25", "9-17-18", "9:5-10", "9am-5pm", "-5-6"])
def test_what_are_no_hours(typed: str) -> None:
    with pytest.raises(InvalidArgument, match="such as 22:00-06:00") as refused:
        calendar([typed], None, None)
    assert (refused.value.reason, refused.value.field) == ("BAD_HOURS", "hours")


@pytest.mark.parametrize("typed", ["", "fr", "Freitag", "5", "fridays"])
def test_what_is_no_weekday(typed: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        calendar(None, [typed], None)
    assert refused.value.reason == "BAD_WEEKDAY"
