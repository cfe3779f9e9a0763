"""Questions: what is looked for, and in which kind of memory."""

from __future__ import annotations

import pytest

from memdb import FailedPrecondition, InvalidArgument, Space
from reasoner.questions import parse_question, question_encoder, terms


@pytest.mark.parametrize(
    ("text", "subject", "cue"),
    [
        ("Which camera saw a motorcycle?", "a motorcycle", "seen"),
        ("When was there a cup of coffee?", "a cup of coffee", None),
        ("When did someone say fail better?", "fail better", "said"),
        ("What was said about hope and despair?", "hope and despair", "said"),
        ("Who spoke of wisdom and foolishness, and when?", "wisdom and foolishness", "said"),
        ("When does a man in a suit appear?", "a man in a suit", "seen"),
        ("Is there a kitten in any of the videos?", "a kitten", None),
        ("rain on the window", "rain on the window", None),
    ],
)
def test_the_asking_words_are_cut_off(text: str, subject: str, cue: str | None) -> None:
    question = parse_question(text)
    assert (question.subject, question.cue) == (subject, cue)
    assert question.text == text


def test_a_later_clause_names_the_moment() -> None:
    question = parse_question("What was said while the dog was on screen?")
    assert question.subject == "the dog was"
    assert question.cue == "seen"


def test_a_question_of_asking_words_alone_is_its_own_subject() -> None:
    assert parse_question("What is there?").subject == "What is there?"


@pytest.mark.parametrize(
    ("text", "names_nothing"),
    [
        ("What was said?", True),
        ("Who spoke at night?", True),
        ("What happened yesterday?", True),
        ("What is there?", True),
        ("Was anything said about the cat?", False),
        ("What was said while the cat was there?", False),
        ('Who said "yesterday"?', False),
        ("cat", False),
    ],
)
def test_whether_it_says_what_it_is_about(text: str, names_nothing: bool) -> None:
    assert parse_question(text).names_nothing is names_nothing


def test_white_space_is_folded() -> None:
    assert parse_question("  When\nwas a  cat  on screen? ").text == "When was a cat on screen?"


@pytest.mark.parametrize("text", ["", "   ", "?!", "\ud800"])
def test_no_words_no_question(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_question(text)
    assert caught.value.field == "question"


def test_a_question_above_the_limit_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="TOO_LARGE"):
        parse_question("word " * 4000)


def test_terms_meet_across_endings_and_leave_out_common_words() -> None:
    assert terms("trying the bicycles") == terms("They try a bicycle")
    assert terms("was it the") == frozenset()
    assert terms("someone spoke of wisdom's end") >= terms("wisdom end")


def test_a_space_without_an_encoder_says_so() -> None:
    with pytest.raises(FailedPrecondition) as caught:
        question_encoder(Space("elsewhere", 8, model="nobody:model@0"))
    assert caught.value.reason == "ENCODER_MISSING"
    assert "--encoder" in caught.value.message
    assert caught.value.value == "nobody:model@0"


def test_an_encoder_of_another_model_is_refused() -> None:
    with pytest.raises(FailedPrecondition) as caught:
        question_encoder(Space("elsewhere", 384, model="bundled:other@0"))
    assert caught.value.reason == "ENCODER_MISSING"
