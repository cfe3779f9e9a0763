"""Questions that can only be understood after another."""

from __future__ import annotations

import pytest

from reasoner.pointing_back import points_back


@pytest.mark.parametrize(
    "question",
    [
        "And after that?",
        "and then?",
        "What happened next?",
        "What happened before that?",
        "Where is it now?",
        "Who was it?",
        "What else?",
        "And later?",
        "Did anything happen before?",
        "Did anyone come after that?",
        "What about him?",
        "Is there anything else?",
        "What was said after that?",
        "What could be seen next?",
    ],
)
def test_they_have_nothing_of_their_own(question: str) -> None:
    assert points_back(question)


@pytest.mark.parametrize(
    "question",
    [
        "What happened?",
        "Is it raining?",
        "Who came after the postman?",
        "And in the kitchen?",
        "What did they say?",
        "Is that the dog?",
        "What time is it?",
        "Was there a cat?",
        "Was it red?",
        "Did anyone come?",
        "Did anything happen?",
        "Was anything said about the postman before?",
        "When did we have everything before us?",
        "Who spoke?",
        "What was said?",
        "?",
        "",
    ],
)
def test_others_have(question: str) -> None:
    assert not points_back(question)
