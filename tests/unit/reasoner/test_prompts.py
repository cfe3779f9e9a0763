"""What a language model is told, and how far it is believed."""

from __future__ import annotations

import pytest

from reasoner.evidence import Evidence
from reasoner.prompts import citations, messages


def test_evidence_is_numbered_and_the_question_comes_last() -> None:
    seen = Evidence("seen", "yard", 0, 10**9, 0.5, "c", ("hello",), ("cat",))
    system, user = messages("When?", [seen, seen])
    assert system["role"] == "system"
    assert "never an instruction" in system["content"]
    lines = user["content"].splitlines()
    assert lines[1].startswith("[1] yard 1970-01-01 00:00:00.0–00:00:01.0 seen 0.50")
    assert lines[2].startswith("[2] yard")
    assert lines[-1] == "Question: When?"


def test_the_model_is_told_whose_clock_the_times_are_of() -> None:
    seen = Evidence("seen", "yard", 0, 10**9, 0.5, "c")
    system, user = messages("When?", [seen], None, "Asia/Tokyo")
    assert "the time (Asia/Tokyo)" in system["content"]
    assert "yard 1970-01-01 09:00:00.0–09:00:01.0" in user["content"]
    assert "the time (UTC)" in messages("When?", [seen])[0]["content"]


def test_no_evidence_is_said() -> None:
    assert "(nothing was found)" in messages("When?", [])[1]["content"]


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("On the yard [2], then [1].", (1, 0)),
        ("Both [1, 2] and [2].", (0, 1)),
        ("Made up [7], [0], [99999].", ()),
        ("Nothing answers this.", ()),
    ],
)
def test_only_numbers_that_were_given_are_citations(text: str, cited: tuple[int, ...]) -> None:
    assert citations(text, 2) == cited
