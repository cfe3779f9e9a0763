"""What is told of clips that were erased, given up or collected, and of a user that was made anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from memdb import NotFound, Retention
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from memdb.store import schema
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from tests.unit.engine.conftest import CONFIG, SECOND_NS, clip
from tests.unit.engine.standing_lives import AXES, BEGIN_NS, at, told


def test_a_sequence_that_a_removed_clip_began_is_told_no_more(user: EmbeddedUser) -> None:
    user.standing.create(AXES[0], min_score=0.5, kind="sequence", then_feature=AXES[1], window_s=60)
    door = user.stream("door")
    first = door.write(clip(0, global_memory=AXES[0]))
    door.write(clip(1, global_memory=AXES[1]))
    assert len(told(user)) == 1
    user.erase_clips([first.clip_id])
    assert told(user) == []


def test_what_retention_gave_up_is_told_no_more(user: EmbeddedUser, db: EmbeddedDatabase) -> None:
    user.standing.create(AXES[0], min_score=0.5)
    door = user.stream("door")
    for seq in range(4):
        door.write(clip(seq, global_memory=AXES[0]))
    door.set_retention(Retention(max_clips=2))
    db.sweep()
    assert [alert.start_ns for alert in told(user)] == [20 * SECOND_NS, 30 * SECOND_NS]


def test_a_version_that_was_collected_leaves_the_alert_its_id(
    user: EmbeddedUser, clock: ManualClock, folder: Path, db: EmbeddedDatabase
) -> None:
    user.standing.create(AXES[0], min_score=0.5, sealed_only=False)
    door = user.stream("door")
    for length in (2, 4):
        door.write(
            clip(0, global_memory=AXES[0], sealed=False, end_ns=length * SECOND_NS, start_ns=0)
        )
    door.write(clip(0, global_memory=AXES[0]))
    (before,) = told(user)
    db.close()
    config = replace(CONFIG, open_history_s=1)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as again:
        clock.advance(3600 * SECOND_NS)
        assert again.sweep().versions > 0
        (after,) = told(again.user("alice"))
    assert after.id == before.id
    assert after.revision > before.revision


def test_an_absence_after_a_clip_that_was_erased_is_counted_from_before(
    user: EmbeddedUser, clock: ManualClock
) -> None:
    """By who listens as by who comes later, and the clip is named no more."""
    user.standing.create(AXES[0], min_score=0.5, kind="absent", window_s=20)
    door = user.stream("door")
    watched = user.standing.watched()
    clock.advance(12 * SECOND_NS)
    kept = door.write(at(0, 9, 0, clock))
    clock.advance(4 * SECOND_NS)
    gone = door.write(at(1, 14, 0, clock))
    assert watched.page() == []
    user.erase_clips([gone.clip_id])
    clock.advance(16 * SECOND_NS)
    (heard,) = watched.page()
    assert heard.earlier_clip_id == kept.clip_id
    assert heard.happened_ns == BEGIN_NS + 30 * SECOND_NS
    assert [alert.id for alert in told(user)] == [heard.id]


def test_a_damaged_record_of_the_log_ends_no_watch(user: EmbeddedUser, clock: ManualClock) -> None:
    """It says when a commit was made, which is not what a match needs to know."""
    user.standing.create(AXES[0], min_score=0.5)
    user.standing.create(AXES[1], min_score=0.5, kind="absent", window_s=20)
    ack = user.stream("door").write(at(0, -1, 0, clock))
    with user.memory() as memory:

        def emptied(txn: Transaction) -> tuple[bool, None]:
            txn.put(Table.LOG, schema.revision_key(ack.revision), b"")
            return True, None

        memory.environment.write(emptied)
    assert [alert.kind for alert in told(user)] == ["seen"]
    clock.advance(25 * SECOND_NS)
    assert [alert.kind for alert in told(user)] == ["seen", "absent"]


def test_a_watch_of_a_user_that_was_made_anew_says_so(user: EmbeddedUser) -> None:
    user.standing.create(AXES[0], min_score=0.5)
    watched = user.standing.watched()
    watched.page()
    user.erase()
    for _ in range(2):
        with pytest.raises(NotFound) as caught:
            watched.page()
        assert caught.value.reason == "USER_NOT_FOUND"
        user.put("a", 1)


def test_a_watch_outlives_the_user_being_opened_anew(
    user: EmbeddedUser, db: EmbeddedDatabase
) -> None:
    user.standing.create(AXES[0], min_score=0.5)
    watched = user.standing.watched()
    door = user.stream("door")
    gone = door.write(clip(0, global_memory=AXES[0]))
    assert len(watched.page()) == 1
    user.erase_clips([gone.clip_id])  # makes the environment anew
    door.write(clip(1, global_memory=AXES[0]))
    assert [alert.start_ns for alert in watched.page()] == [10 * SECOND_NS]
