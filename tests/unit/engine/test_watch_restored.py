"""Watches that go on where commits were undone: numbers stand for other commits then."""

from __future__ import annotations

from pathlib import Path

import pytest

from memdb import Change, NotFound
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore
from memdb.engine.user import EmbeddedUser
from tests.unit.engine.conftest import CONFIG, SECOND_NS


def put(user: EmbeddedUser, clock: ManualClock, *keys: str) -> None:
    for key in keys:
        clock.advance(SECOND_NS)
        user.put(key, 1)


def told_after(user: EmbeddedUser, change: Change) -> list[str | None]:
    watched = user.watch(
        from_revision=change.revision, revision_time_ns=change.time_ns, follow=False
    )
    return [later.key for later in watched]


def refused(user: EmbeddedUser, change: Change) -> None:
    with pytest.raises(NotFound) as caught:
        told_after(user, change)
    assert (caught.value.reason, caught.value.field, caught.value.value) == (
        "REVISION_NOT_FOUND",
        "from_revision",
        str(change.revision),
    )


def test_a_place_behind_a_commit_that_a_restore_undid_is_refused(
    db: EmbeddedDatabase, clock: ManualClock, folder: Path
) -> None:
    alice = db.user("alice")
    put(alice, clock, "before")
    db.backup(folder / "archive")
    put(alice, clock, "undone", "undone too")
    before, *undone = alice.watch(follow=False)
    db.close()
    restore(folder / "archive", folder / "restored")

    with EmbeddedDatabase(folder / "restored", config=CONFIG, clock=clock) as restored:
        alice = restored.user("alice")
        for change in undone:
            refused(alice, change)  # ahead of the user
        put(alice, clock, "a", "b", "c")
        for change in undone:
            refused(alice, change)  # others have their numbers
        assert told_after(alice, before) == ["a", "b", "c"]


def test_a_place_in_a_user_that_was_erased_and_made_anew_is_refused(
    db: EmbeddedDatabase, clock: ManualClock
) -> None:
    alice = db.user("alice")
    put(alice, clock, "before")
    (kept,) = alice.watch(follow=False)
    alice.erase()
    put(alice, clock, "a", "b")
    refused(alice, kept)


def test_a_revision_alone_goes_on(db: EmbeddedDatabase, clock: ManualClock) -> None:
    alice = db.user("alice")
    put(alice, clock, "a", "b")
    assert [change.key for change in alice.watch(from_revision=1, follow=False)] == ["b"]


def test_the_beginning_has_no_time(db: EmbeddedDatabase, clock: ManualClock) -> None:
    """Whoever keeps both numbers begins with two that no change told."""
    alice = db.user("alice")
    put(alice, clock, "a")
    watched = alice.watch(from_revision=0, revision_time_ns=0, follow=False)
    assert [change.key for change in watched] == ["a"]
