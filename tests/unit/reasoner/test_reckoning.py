"""Questions for a number or an order, which nothing reckons."""

from __future__ import annotations

import pytest

from reasoner.demo import script
from reasoner.reckoning import reckoning


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("How many cats were there?", "How many"),
        ("And how often was there a fox?", "how often"),
        ("How long was the gate open?", "How long"),
        ("When was the last time a van came?", "last"),
        ("Who rang the very first time?", "the very first time"),
        ("When did a van last come?", "last"),
        ("When was the first parcel there last week?", "first"),
    ],
)
def test_what_is_to_be_reckoned_is_told_as_it_was_said(question: str, told: str) -> None:
    assert reckoning(question) == told


@pytest.mark.parametrize(
    "question",
    [
        "Was there a cat?",
        "When was there a fox last night?",
        'When did somebody say "at last"?',
        "When did someone say “how many”?",
        "A cat on the first floor",
        "When was somebody on the first floor?",
        "Does anybody show how the door opens?",
        "",
    ],
)
def test_what_names_no_number_and_no_order(question: str) -> None:
    assert reckoning(question) is None


def test_the_questions_of_the_demo_want_nothing_reckoned() -> None:
    asked = [question.text for question in (*script.QUESTIONS, *script.HELD_OUT)]
    assert [question for question in asked if reckoning(question) is not None] == []
