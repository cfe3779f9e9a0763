"""What a policy gives up: by age, by count and by bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from memdb import AlreadyExists, Retention, Utterance
from memdb.clock import ManualClock
from memdb.engine import retention
from memdb.engine.database import EmbeddedDatabase
from memdb.index import partition, text
from memdb.store.schema import Table
from tests.unit.engine.conftest import CONFIG, SECOND_NS, clip, vector
from tests.unit.engine.door import MEMORY, filled, seqs


def set_to(clock: ManualClock, now_ns: int) -> None:
    clock.advance(now_ns - clock.now_ns())


@pytest.mark.parametrize(
    ("policy", "taken"),
    [
        (Retention(max_clips=3), (7, 0, 0)),
        (Retention(max_clips=30), (0, 0, 0)),
        (Retention(max_bytes=10 * 260), (0, 0, 0)),
        (Retention(max_bytes=10 * 260 - 1), (0, 1, 0)),
        (Retention(max_bytes=10 * 4), (0, 10, 0)),
        (Retention(max_bytes=10 * 4 - 1), (0, 10, 1)),
        (Retention(max_bytes=0), (0, 10, 10)),
        (Retention(max_clips=4, max_bytes=0), (6, 4, 4)),
    ],
)
def test_counts_and_bytes_take_the_oldest_first(
    db: EmbeddedDatabase, policy: Retention, taken: tuple[int, int, int]
) -> None:
    filled(db, 10)
    door = db.user("alice").stream("door")
    door.set_retention(policy)
    report = db.sweep()
    assert (report.clips, report.short_memories, report.keyframes) == taken
    assert seqs(db) == list(range(taken[0], 10))
    with_frames = [found.seq for found in db.user("alice").clips() if found.keyframes]
    assert with_frames == list(range(taken[0] + taken[2], 10))
    assert db.sweep().bytes_removed == 0
    assert db.verify().ok


def test_bytes_are_those_of_every_version_of_a_clip(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    door = user.stream("door", space="cam")
    user.stream("yard", space="cam").write(clip(0, short_memory=MEMORY))
    for seq in range(10):
        for version in range(4):
            tokens = np.full((16, 8), version + 1, np.float16)
            # The last clip was sealed without: what its versions before it have goes all the same.
            last = None if (seq, version) == (9, 3) else tokens
            door.write(clip(seq, short_memory=last, sealed=version == 3))
    door.set_retention(Retention(max_bytes=5 * 4 * MEMORY.nbytes - MEMORY.nbytes))
    report = db.sweep()
    assert (report.short_memories, report.bytes_removed) == (5, 5 * 4 * MEMORY.nbytes)
    with user.memory() as memory, memory.environment.read() as txn:
        assert txn.count(Table.SHORT_MEMORY) == 1 + 5 * 4 - 1
    door.set_retention(Retention(max_bytes=0))
    db.sweep()
    with user.memory() as memory, memory.environment.read() as txn:
        assert txn.count(Table.SHORT_MEMORY) == 1
    assert db.verify().ok


def test_ages_count_from_the_end_of_a_clip(db: EmbeddedDatabase, clock: ManualClock) -> None:
    set_to(clock, 1000 * SECOND_NS)
    filled(db, 10)
    door = db.user("alice").stream("door")
    door.set_retention(Retention(max_age_s=980, keyframes_age_s=960, short_memory_age_s=940))
    report = db.sweep()
    # At 1000 s: ended by 20 s, by 40 s, by 60 s.
    assert (report.clips, report.keyframes, report.short_memories) == (2, 2, 4)
    assert seqs(db) == list(range(2, 10))
    assert db.verify().ok


def test_age_takes_a_share_at_a_time(
    db: EmbeddedDatabase, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CLIPS_MIN", 4)
    set_to(clock, 1000 * SECOND_NS)
    filled(db, 40)
    db.user("alice").stream("door").set_retention(Retention(max_age_s=1))
    assert [db.sweep().clips for _ in range(3)] == [10, 7, 5]


def test_what_is_removed_takes_no_memory_for_ever(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "REMOVED_ROWS_MAX", 16)
    monkeypatch.setattr(text, "GONE_MAX", 16)
    user = db.user("alice")
    door = user.stream("door", space="cam")
    door.write(clip(0))
    door.set_retention(Retention(max_clips=10))
    for first in range(1, 200, 20):
        door.write_many(
            [
                clip(seq, transcript=(Utterance(seq, seq + 1, f"word{seq}"),))
                for seq in range(first, first + 20)
            ]
        )
        # A growing clip is open while rows move.
        door.write(clip(1000, sealed=False, end_ns=(10_010 + first) * SECOND_NS))
        db.sweep()
        kept = [found.seq for found in user.clips() if found.seq < 1000]
        assert kept == list(range(first + 10, first + 20))
        for seq in kept:
            assert user.ground(vector(seq), limit=1).hits[0].clip.seq == seq
            assert user.recall(f"word{seq}").hits[0].clip is not None
        assert user.recall(f"word{first}").hits == ()
    with user.memory() as memory:
        assert memory.view.partitions[0].rows < 100
        assert memory.view.texts.documents < 100
    assert db.verify().ok


def test_policies_and_marks_outlive_a_restart(folder: Path, clock: ManualClock) -> None:
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=8)
        filled(db, 5)
        db.user("alice").stream("door").set_retention(Retention(max_clips=2))
        db.sweep()
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        assert db.user("alice").stream("door").retention() == Retention(max_clips=2)
        assert seqs(db) == [3, 4]
        assert db.user("alice").stream("door").gaps() == []
        filled(db, 1)  # sent again
        assert seqs(db) == [3, 4]
        with pytest.raises(AlreadyExists):
            db.user("alice").stream("door").write(clip(0))
        db.user("alice").stream("door").write_many([clip(5), clip(6)])
        assert db.sweep().clips == 2
        assert db.verify().ok


def test_a_space_that_lost_all_its_clips_is_whole(db: EmbeddedDatabase) -> None:
    filled(db, 3)
    db.user("alice").stream("door").set_retention(Retention(max_age_s=1))
    assert db.sweep().clips == 3
    assert db.user("alice").clips() == []
    assert db.verify().ok
