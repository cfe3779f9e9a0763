"""Facts and the time in which they hold, by a clock that is told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from memdb import DataLoss, Fact, Utterance
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from memdb.store.schema import Table, revision_key
from tests.unit.engine.conftest import CONFIG, SECOND_NS, clip

DAY_NS = 24 * 3600 * SECOND_NS


def texts(user: EmbeddedUser, question: str, **options: object) -> list[str]:
    return [hit.text for hit in user.recall(question, **options).hits]  # type: ignore[arg-type]


def test_a_fact_is_recalled_while_it_holds(db: EmbeddedDatabase, clock: ManualClock) -> None:
    user = db.user("alice")
    begin_ns = clock.now_ns() + DAY_NS
    user.remember("Alice is in Rome", valid_from=begin_ns, valid_to=begin_ns + DAY_NS)
    seen = []
    for _ in range(4):
        seen.append(texts(user, "Rome"))
        clock.advance(DAY_NS - 1)
    assert seen == [[], [], ["Alice is in Rome"], []]


def test_what_expires_hides_nothing_behind_it(db: EmbeddedDatabase) -> None:
    """The one that holds is the worst by its words, and has none in common by its feature."""
    user = db.user("alice")
    db.create_space("text", dim=2)
    user.configure(text_space="text")
    near, far = np.array([1, 0], np.float32), np.array([0.1, 1], np.float32)
    for number in range(1001):
        user.remember("mug", valid_from=number, valid_to=number + 1, feature=near)
    user.remember("it is said that the mug of Alice is blue", valid_from=2, feature=far)
    user.remember("mug", valid_from=2**61, feature=near)
    for feature in (None, near):
        assert texts(user, "mug", limit=1, feature=feature) == [
            "it is said that the mug of Alice is blue"
        ]
        assert texts(user, "mug", limit=1, feature=feature, valid_at=1) == ["mug"]


def test_as_of_a_moment_is_about_that_moment(db: EmbeddedDatabase, clock: ManualClock) -> None:
    user = db.user("alice")
    first_ns = clock.now_ns()
    one = user.remember("the guest sleeps here", valid_to=first_ns + 3 * DAY_NS)
    clock.advance(2 * DAY_NS)
    user.put("unrelated", 1)
    clock.advance(2 * DAY_NS)

    def at(revision: int) -> object:
        return user.recall("guest", as_of=revision)

    assert texts(user, "guest") == []
    # The newest commit was made while the fact held: to ask as of it is not to ask about now.
    assert texts(user, "guest", as_of=one.revision + 1) == ["the guest sleeps here"]
    before = [at(revision) for revision in (one.revision, one.revision + 1)]
    # A time is about itself, even where no commit is.
    day_three = datetime.fromtimestamp(first_ns // SECOND_NS + 3 * 86400, UTC)
    assert texts(user, "guest", as_of=day_three) == []
    user.put("unrelated", 2)
    clock.advance(100 * DAY_NS)
    assert [at(revision) for revision in (one.revision, one.revision + 1)] == before
    assert texts(user, "guest", as_of=one.revision, valid_at="now") == []
    assert texts(user, "guest", as_of=0, valid_at="any") == texts(user, "guest", as_of=0) == []


def test_a_clock_that_was_set_back_hides_nothing(db: EmbeddedDatabase, clock: ManualClock) -> None:
    user = db.user("alice")
    user.remember("the mug is blue")
    clock.advance(-DAY_NS)
    assert texts(user, "mug") == ["the mug is blue"]
    assert [fact.text for fact in user.facts(valid_at="now")] == ["the mug is blue"]


def test_a_fact_holds_as_of_the_commit_that_wrote_it(
    db: EmbeddedDatabase, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits are told by whole microseconds, and one may have begun before the fact joined it."""
    user = db.user("alice")
    clock.advance(999)
    fact = user.remember("the mug is blue")
    assert texts(user, "mug", as_of=fact.revision) == ["the mug is blue"]
    behind_ns = iter([0, 10 * SECOND_NS])
    now_ns = clock.now_ns
    clock.advance(DAY_NS)
    # Written at the first, committed at the second.
    monkeypatch.setattr(ManualClock, "now_ns", lambda _: now_ns() - next(behind_ns, 0))
    other = user.remember("the lamp is blue")
    assert texts(user, "lamp", as_of=other.revision) == ["the lamp is blue"]
    assert other.valid_from_ns < other.written_ns


@pytest.mark.parametrize("is_opened_again", [False, True])
def test_a_fact_of_an_earlier_release_holds_as_of_its_commit(
    folder: Path, clock: ManualClock, is_opened_again: bool
) -> None:
    """Its validity began when it was written, which may be after the time of its commit, if by nanoseconds alone."""
    clock.advance(999)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        fact = db.user("alice").remember("the mug is blue", valid_from=clock.now_ns())
        assert fact.valid_from_ns == fact.written_ns
        if not is_opened_again:
            assert_told(db.user("alice"), fact)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        assert_told(db.user("alice"), fact)


def assert_told(user: EmbeddedUser, fact: Fact) -> None:
    assert texts(user, "mug", as_of=fact.revision) == ["the mug is blue"]
    committed_ns = fact.written_ns - 999
    assert texts(user, "mug", valid_at=committed_ns) == ["the mug is blue"]
    assert user.facts(valid_at=committed_ns) == [fact]
    assert user.facts(valid_at=committed_ns - 1) == []


def test_validity_and_times_are_those_of_the_store(folder: Path, clock: ManualClock) -> None:
    """What is made anew at an opening filters as what grew."""

    def answers(user: EmbeddedUser) -> list[list[str]]:
        return [
            texts(user, "mug", valid_at=5),
            texts(user, "mug", valid_at=20),
            texts(user, "mug", kinds=["utterance"], start_ns=70 * SECOND_NS),
            texts(user, "mug", kinds=["utterance"], end_ns=70 * SECOND_NS, streams=["door"]),
        ]

    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=8)
        user = db.user("alice")
        late = Utterance(80 * SECOND_NS, 90 * SECOND_NS, "a mug, late")
        said = (Utterance(0, 1, "a mug"), late)
        user.stream("door", space="cam").write(clip(0, transcript=said))
        fact = user.remember("the mug is blue", valid_from=1, valid_to=10)
        user.revise(fact.id, valid_to=15)
        user.remember("the mug is red", valid_from=20)
        grown = answers(user)
        assert grown == [
            ["a mug", "a mug, late", "the mug is blue"],
            ["a mug", "a mug, late", "the mug is red"],
            ["a mug, late"],
            ["a mug"],
        ]
        assert db.verify().ok
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        assert answers(db.user("alice")) == grown


def test_without_a_commit_time_only_its_facts_are_not_recalled(
    folder: Path, clock: ManualClock
) -> None:
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=8)
        user = db.user("alice")
        user.stream("door", space="cam").write(clip(0, transcript=[Utterance(0, 1, "a mug")]))
        user.remember("the mug is blue")
        with user.memory() as memory:
            memory.environment.write(lambda txn: (True, txn.delete(Table.LOG, revision_key(1))))
        with pytest.raises(DataLoss) as lost:
            user.recall("mug", as_of=1)
        assert (lost.value.reason, lost.value.field) == ("MISSING", "log/1")
        assert texts(user, "mug", as_of=1, kinds=["utterance"]) == ["a mug"]
        assert texts(user, "mug", as_of=1, valid_at="any") == ["a mug"]
        assert texts(user, "mug") == ["a mug", "the mug is blue"]
