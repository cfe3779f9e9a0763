"""Times within questions, which narrow nothing."""

from __future__ import annotations

import pytest

from reasoner.spoken_times import spoken_time


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("Was there a cat at night?", "at night"),
        ("Who came yesterday morning?", "yesterday morning"),
        ("Was the parcel there at 9 o'clock?", "at 9 o'clock"),
        ("What happened between 9:00 and 10:00?", "between 9:00"),
        ("Did anybody ring after 10 pm?", "after 10 pm"),
        ("A fox on Fridays", "on Fridays"),
        ("Was a car there last Monday?", "last Monday"),
        ("Is the door open today?", "today"),
        ("Was the gate shut at midnight?", "at midnight"),
        ("Who rang two days ago?", "two days ago"),
        ("Was there a fox an hour ago?", "an hour ago"),
        ("What was here a few weeks ago?", "a few weeks ago"),
    ],
)
def test_a_time(question: str, told: str) -> None:
    assert spoken_time(question) == told


@pytest.mark.parametrize(
    "question",
    [
        "When was there a cat?",
        "Who said good morning?",
        'Who said "see you at 9:00 on Monday"?',
        "Where are the 12 cups?",
        "a night stand beside the bed",
        "Which camera looked at 3 dogs?",
        "Who spoke about Monday?",
        "Who left long ago?",
        "the noon bell",
    ],
)
def test_no_time(question: str) -> None:
    assert spoken_time(question) is None
