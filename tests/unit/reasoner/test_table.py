"""The table: one row per question, and who answered."""

from __future__ import annotations

from dataclasses import replace

from reasoner.answer import EXTRACTIVE, Answer
from reasoner.evidence import Evidence
from reasoner.questions import parse_question
from reasoner.table import answer_row, answers_table, render


def answer(*evidence: Evidence, by: str = EXTRACTIVE, arms: tuple[str, ...] = ()) -> Answer:
    cited = (0,) if evidence else ()
    durations_ms = {"total": 12.34}
    question = parse_question("When was a cat on screen?")
    return Answer(question, "Words [1].", evidence, cited, by, 3, arms, durations_ms)


SEEN = Evidence("seen", "yard", 0, 8 * 10**9, 0.513, "c", ("good boy",), ("cat", "lynx"))
SAID = Evidence("said", "porch", 10**9, 2 * 10**9, 0.8, "c", ("fail better",), ("desk",))
SEMANTIC = ("lexical", "semantic")


def test_a_row_names_the_moment_and_its_support() -> None:
    assert answer_row(answer(SEEN)) == (
        "When was a cat on screen?",
        "yard",
        "1970-01-01 00:00:00.0–00:00:08.0",
        "seen",
        "0.51",
        '[cat, lynx] "good boy"',
        "12.3",
    )
    assert answer_row(answer(SAID))[5] == '"fail better" [desk]'


def test_times_are_told_by_the_clock_of_the_answer_and_the_heading_says_whose() -> None:
    by_tokyo = replace(answer(SEEN), zone="Asia/Tokyo")
    assert answer_row(by_tokyo)[2] == "1970-01-01 09:00:00.0–09:00:08.0"
    assert "from–to (Asia/Tokyo)" in answers_table([by_tokyo])
    assert "from–to (UTC)" in answers_table([answer(SEEN)])


def test_no_moment_is_a_row_too() -> None:
    assert answer_row(answer()) == (
        "When was a cat on screen?", "–", "–", "–", "–", "Words [1].", "12.3",
    )  # fmt: skip


def test_the_table_says_that_answers_are_extractive() -> None:
    text = answers_table([answer(SEEN, arms=SEMANTIC)])
    assert "no language model was asked" in text
    assert "words alone" not in text


def test_the_table_says_when_speech_was_searched_by_words_alone() -> None:
    assert "words alone" in answers_table([answer(SEEN, arms=("lexical",))])


def test_a_models_words_follow_the_table() -> None:
    text = answers_table([answer(SEEN, by="small", arms=SEMANTIC)])
    assert "small: Words [1]." in text
    assert "no language model" not in text


def test_columns_align_and_long_cells_are_cut() -> None:
    text = render(("a", "ms"), [("x" * 9, "1"), ("y\nz", "22")], (5, 4))
    assert text.splitlines() == ["a      ms", "─────  ──", "xxxx…   1", "y z    22"]


def test_columns_align_whatever_the_letters() -> None:
    rows = [("猫はどこ？", "1"), ("\N{CAT}e\u0301", "2"), ("cat", "3"), ("猫猫猫猫猫猫猫", "4")]
    lines = render(("a", "ms"), rows, (12, 2)).splitlines()
    assert lines[2:] == [
        "猫はどこ？    1",
        "\N{CAT}e\u0301           2",
        "cat           3",
        "猫猫猫猫猫…   4",
    ]


def test_columns_align_beside_an_emoji_put_together_of_several() -> None:
    """What joins it is written as a sign that takes a column."""
    family = "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL}"
    questions = [replace(answer(SEEN).question, text=text) for text in (family, "cat")]
    text = answers_table([replace(answer(SEEN), question=question) for question in questions])
    first, second = text.splitlines()[2:4]
    assert first.startswith("\N{MAN}\ufffd\N{WOMAN}\ufffd\N{GIRL}  yard")
    assert second.startswith("cat       yard")


def test_a_terminal_without_our_signs_has_others() -> None:
    text = answers_table([answer(SEEN)], "ascii")
    assert text.isascii()
    assert "----" in text
