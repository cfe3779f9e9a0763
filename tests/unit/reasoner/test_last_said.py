"""Questions for whatever was said: there is nothing to find it by, and the last of it is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import memdb
from memdb.types.calendar import Calendar
from memdb.types.database import User
from reasoner import last_said
from reasoner.evidence import Scope
from reasoner.reasoner import Reasoner
from reasoner.table import answers_table
from tests.unit.reasoner.test_answer import SECOND_NS, SPACE, AxisEncoder, clip

WORDS = {0: ("a good morning",), 1: (), 2: ("is it raining", "it is"), 3: (), 4: (), 5: ()}


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    with memdb.open(tmp_path / "data") as db:
        db.create_space(SPACE.name, dim=SPACE.dim, model=SPACE.model)
        user = db.user("alice")
        yard = user.stream("yard", space=SPACE.name)
        yard.create()
        user.configure(text_space=SPACE.name)
        yard.write_many([clip(seq, "rain", *words) for seq, words in WORDS.items()])
        user.stream("porch", space=SPACE.name).write(clip(0, "cat", start_s=90))
        yield user


@pytest.fixture
def reasoner(user: User) -> Reasoner:
    return Reasoner(user, SPACE, AxisEncoder())


@pytest.mark.parametrize(
    "text",
    ["What was said?", "Who spoke?", "Did anyone say anything?", "What was said last night?"],
)
def test_the_last_that_was_said_is_told_newest_first(reasoner: Reasoner, text: str) -> None:
    answer = reasoner.ask(text, limit=2)

    assert [item.said for item in answer.evidence] == [("it is",), ("is it raining",)]
    assert answer.moment == answer.evidence[0]
    assert answer.text == (
        'The last that was said: on camera yard, 1970-01-01 00:00:21.0–00:00:22.0 UTC: "it is"; '
        'on camera yard, 1970-01-01 00:00:20.0–00:00:21.0 UTC: "is it raining"'
    )
    # One row has room for one of them.
    assert answer.text in answers_table([answer])


def test_behind_pages_of_silence(reasoner: Reasoner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_said, "PAGE_CLIPS", 2)
    said = [item.said[0] for item in reasoner.ask("What was said?").evidence]
    assert said == ["it is", "is it raining", "a good morning"]


def test_nothing_was_said(reasoner: Reasoner) -> None:
    answer = reasoner.ask("What was said?", scope=Scope(cameras=("porch",)))
    assert (answer.text, answer.evidence) == ("Nothing was said.", ())


def test_within_the_times_and_the_moment_that_are_asked_about(
    reasoner: Reasoner, user: User
) -> None:
    def said(scope: Scope, as_of: int | None = None) -> list[str]:
        return [
            item.said[0] for item in reasoner.ask("Who spoke?", scope=scope, as_of=as_of).evidence
        ]

    assert said(Scope(end_ns=20 * SECOND_NS)) == ["a good morning"]
    assert said(Scope(start_ns=21 * SECOND_NS)) == ["it is"]
    assert said(Scope(calendar=Calendar(((60, 120),)), zones={"yard": "UTC"})) == []
    now = reasoner.ask("Who spoke?").revision
    user.stream("yard").write(clip(6, "rain", "and it still does"))
    assert said(Scope())[0] == "and it still does"
    assert said(Scope(), as_of=now)[0] == "it is"


def test_what_is_asked_about_something_is_found_by_its_words(reasoner: Reasoner) -> None:
    assert reasoner.ask("Who spoke of the morning?").evidence[0].said == ("a good morning",)
