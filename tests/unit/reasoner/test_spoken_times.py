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
        ("Who came the day before yesterday?", "the day before yesterday"),
        ("Was there a fox in the last two hours?", "in the last two hours"),
        ("What passed within the past hour?", "within the past hour"),
        ("Did it rain half an hour ago?", "half an hour ago"),
        ("Who rang a couple of days ago?", "a couple of days ago"),
        ("Was the cat in at half past nine?", "at half past nine"),
        ("Who came at nine o'clock?", "at nine o'clock"),
        ("Has anybody called since Monday?", "since Monday"),
        ("A parcel on 5 May", "on 5 May"),
        ("A parcel on the 5th of May", "on the 5th of May"),
        ("A parcel on May 5th?", "on May 5th"),
        ("Who came on the 5th?", "on the 5th"),
        ("Was the gate open on the 5th at noon?", "on the 5th"),
        ("Was the bin out on 2026-01-05?", "on 2026-01-05"),
        ("Did it snow in January?", "in January"),
        ("Who came at the weekend?", "at the weekend"),
        ("Did a car stay overnight?", "overnight"),
        ("Is the dog out every morning?", "every morning"),
        ("Who was there on Friday night?", "on Friday night"),
        ("Who was at the gate at dusk?", "at dusk"),
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
        "May I see the cat?",
        "Is there a march in the street?",
        "a picture of two nights",
        "the last cup on the table",
        "Who stood by the window?",
        "Who spoke about nine cats?",
        "a dawn chorus",
        "Who was on the 2nd floor?",
        "What fell after the 3rd knock?",
    ],
)
def test_no_time(question: str) -> None:
    assert spoken_time(question) is None
