"""What a word is found by."""

from __future__ import annotations

import time

import pytest

from memdb.index.terms import asked_terms, terms


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bicycles", "Bicycle"),
        ("trying", "tries"),
        ("barked", "BARKING"),
        ("Alice's", "alice"),
        ("Alice\u2019s", "alice"),
        ("snake_case", "snake case"),
        ("caf\u00e9", "CAFE\u0301"),
        ("Stra\u00dfe", "STRASSE"),
        ("\u0130stanbul", "istanbul"),
        ("\ufb01ne", "fine"),
        ("\uff34\uff36", "tv"),
    ],
)
def test_forms_of_a_word_meet(one: str, other: str) -> None:
    assert terms(one) == terms(other)


def test_words_of_other_scripts_stay() -> None:
    assert terms("Größe 日本 москва 42") == ["grösse", "日本", "москва", "42"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("लाल कार, मुझे हिन्दी", ["लाल", "कार", "मुझे", "हिन्दी"]),
        ("مَرْحَبًا بِكَ", ["مَرْحَبًا", "بِكَ"]),
        ("\u0301 a\u0323b c\u0301", ["\u1ea1b", "\u0107"]),
        ("\u2764\ufe0f car\ufe0f", ["\u2764", "car"]),
    ],
)
def test_marks_belong_to_their_letters(text: str, found: list[str]) -> None:
    """Without, a word of Hindi is its consonants, each of which nearly every other text has too."""
    assert terms(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I love \U0001f355\U0001f355!", ["i", "love", "\U0001f355", "\U0001f355"]),
        ("\U0001f44d\U0001f3fd", ["\U0001f44d"]),
        ("\U0001f469\u200d\U0001f467", ["\U0001f469", "\U0001f467"]),
        (
            "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7",
            ["\U0001f1e9\U0001f1ea", "\U0001f1eb\U0001f1f7"],
        ),
        ("caf\u00e9\u2b50 1\ufe0f\u20e3", ["caf\u00e9", "\u2b50", "1"]),
        ("\u2014 \u201cso\u201d \u2026 \u2192 \u25a0", ["so"]),
        (
            "\u25b6\ufe0f so\u2b06\ufe0f \u21a9 \U0001f0cf",
            ["\u25b6", "so", "\u2b06", "\u21a9", "\U0001f0cf"],
        ),
    ],
)
def test_emoji_are_words(text: str, found: list[str]) -> None:
    assert terms(text) == found


@pytest.mark.parametrize(
    "marks", ["\u0301\u0323" * 8000, "\u0301" * 8000 + "\u0323" * 8000, "\uff9e\u0301" * 8000]
)
def test_more_marks_than_a_letter_has_hold_nobody_up(marks: str) -> None:
    """To bring them in order is one call, which nothing else in the process goes on beside: half a second of it."""
    took_s = []
    for _ in range(3):
        begin_s = time.thread_time()
        found = terms(f"car e{marks} door")
        took_s.append(time.thread_time() - begin_s)
    # The least, for Python's collector may come by.
    assert min(took_s) < 0.1
    assert (found[0], found[-1]) == ("car", "door")


def test_a_question_looks_for_what_carries_meaning() -> None:
    assert asked_terms("Where are the red cars, and the other car?") == {
        "red": "red",
        "car": "cars",
        "other": "other",
    }
    assert list(asked_terms("who is that?")) == ["who", "is", "that"]
    assert asked_terms("?!") == {}
