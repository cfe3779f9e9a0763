"""What a word is found by."""

from __future__ import annotations

import pytest

from memdb.index.terms import asked_terms, terms, weight_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bicycles", "Bicycle"),
        ("trying", "tries"),
        ("barked", "BARKING"),
        ("Alice's", "alice"),
        ("Alice\u2019s", "alice"),
        ("snake_case", "snake case"),
    ],
)
def test_forms_of_a_word_meet(one: str, other: str) -> None:
    assert terms(one) == terms(other)


def test_words_of_other_scripts_stay() -> None:
    assert terms("Größe 日本 москва 42") == ["größe", "日本", "москва", "42"]


def test_a_question_looks_for_what_carries_meaning() -> None:
    assert asked_terms("Where are the red cars, and the other car?") == {
        "red": "red",
        "car": "cars",
        "other": "other",
    }
    assert list(asked_terms("who is that?")) == ["who", "is", "that"]
    assert asked_terms("?!") == {}


def test_words_that_hold_a_sentence_together_make_no_text_longer() -> None:
    assert weight_of(terms("the dog is at the door")) == 2
