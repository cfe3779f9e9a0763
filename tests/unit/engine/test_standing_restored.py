"""Watches of standing questions that go on where commits were undone: numbers stand for other things then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memdb import Alert, NotFound
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore
from memdb.engine.sealed_cursor import sealed
from memdb.engine.standing_cursor import _PERSON, _UNTIMED, Cursor
from memdb.engine.user import EmbeddedUser
from tests.unit.engine.conftest import CONFIG, SECOND_NS
from tests.unit.engine.standing_lives import AXES, at, told


def untimed(user: EmbeddedUser, text: str) -> str:
    """A cursor as releases before gave it."""
    with user.memory() as memory:
        key = memory.view.state.id_key
    cursor = Cursor.parse(text, key)
    place = cursor.revision, cursor.clip_no, cursor.question_no
    return sealed(_UNTIMED.pack(*place, cursor.clock_ns), key, _PERSON)


@pytest.fixture
def undone(
    db: EmbeddedDatabase, user: EmbeddedUser, clock: ManualClock, folder: Path
) -> list[Alert]:
    """What was told of a clip that an archive has, and of two that it has not."""
    user.standing.create(AXES[0], min_score=0.5)
    door = user.stream("door", space="cam")
    door.write(at(0, 0, 0, clock))
    db.backup(folder / "archive")
    for seq in (1, 2):
        clock.advance(SECOND_NS)
        door.write(at(seq, seq, 0, clock))
    alerts = told(user)
    assert len(alerts) == 3
    db.close()
    restore(folder / "archive", folder / "restored")
    return alerts


@pytest.fixture
def restored(undone: list[Alert], clock: ManualClock, folder: Path) -> Iterator[EmbeddedUser]:
    """The user of the archive, who has written more since than what was undone."""
    with EmbeddedDatabase(folder / "restored", config=CONFIG, clock=clock) as db:
        alice = db.user("alice")
        for seq in (1, 2, 3):
            clock.advance(SECOND_NS)
            alice.stream("door").write(at(seq, 10 + seq, 0, clock))
        yield alice


@pytest.mark.parametrize("kept", [1, 2])
def test_a_cursor_at_a_commit_that_was_undone_is_refused(
    undone: list[Alert], restored: EmbeddedUser, kept: int
) -> None:
    assert undone[kept].revision <= restored.revision()
    with pytest.raises(NotFound) as caught:
        told(restored, undone[kept].cursor)
    assert (caught.value.reason, caught.value.field, caught.value.value) == (
        "REVISION_NOT_FOUND",
        "cursor",
        str(undone[kept].revision),
    )


def test_a_cursor_at_a_commit_that_was_restored_goes_on(
    undone: list[Alert], restored: EmbeddedUser
) -> None:
    assert [alert.start_ns for alert in told(restored, undone[0].cursor)] == [
        at(seq, 10 + seq, 0, ManualClock()).start_ns for seq in (1, 2, 3)
    ]


def test_alerts_of_clips_with_the_numbers_of_others_are_others(
    undone: list[Alert], restored: EmbeddedUser
) -> None:
    """Whoever drops the ids that are known drops none of them."""
    again = told(restored)
    assert again[0].id == undone[0].id
    assert [alert.clip_id for alert in again[1:3]] == [alert.clip_id for alert in undone[1:]]
    assert not {alert.id for alert in again[1:]} & {alert.id for alert in undone}


def test_alerts_of_a_question_with_the_number_of_another_are_others(
    db: EmbeddedDatabase, user: EmbeddedUser, clock: ManualClock, folder: Path
) -> None:
    user.stream("door", space="cam")
    user.put("any", 1)
    db.backup(folder / "archive")

    def ask(alice: EmbeddedUser) -> str:
        clock.advance(SECOND_NS)
        alice.standing.create(AXES[0], min_score=0.5)
        alice.stream("door").write(at(0, 0, 0, clock))
        (alert,) = told(alice)
        return alert.id

    before = ask(user)
    db.close()
    restore(folder / "archive", folder / "restored")
    with EmbeddedDatabase(folder / "restored", config=CONFIG, clock=clock) as again:
        assert ask(again.user("alice")) != before


def test_a_cursor_of_a_release_before_goes_on(user: EmbeddedUser, clock: ManualClock) -> None:
    user.standing.create(AXES[0], min_score=0.5)
    door = user.stream("door", space="cam")
    for seq in range(3):
        door.write(at(seq, seq, 0, clock))
    everything = told(user)

    old = untimed(user, everything[0].cursor)

    assert len(old) == 80
    assert told(user, old) == everything[1:]
    # And is of its commit from then on.
    watched = [user.standing.watched(), user.standing.watched(untimed(user, everything[2].cursor))]
    assert [len(one.page()) for one in watched] == [3, 0]
    assert watched[0].cursor == watched[1].cursor
