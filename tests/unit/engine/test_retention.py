"""What a sweep gives up: ages, counts and bytes; clocks that jump; history and snapshots."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import (
    Clip,
    FailedPrecondition,
    Keyframe,
    MemdbError,
    ResourceExhausted,
    Retention,
    Utterance,
)
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine import apply_removal, retention
from memdb.engine.applied import Removed
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.memory import UserMemory
from memdb.index import partition, text
from memdb.store.environment import DATA_FILE, Environment
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.operation import Operation, RemoveClips
from tests.unit.engine.conftest import CONFIG, SECOND_NS, clip, vector

DAY_NS = 86_400 * SECOND_NS
MEMORY = np.ones((16, 8), np.float16)


def filled(db: EmbeddedDatabase, count: int) -> None:
    """Clips of ten seconds that end before the newest commit, with 256 + 4 bytes each."""
    door = db.user("alice").stream("door", space="cam")
    door.write_many(
        [
            clip(
                seq,
                short_memory=MEMORY,
                keyframes=(Keyframe(seq, b"jpeg"),),
                transcript=(Utterance(seq, seq + 1, f"word{seq}"),),
            )
            for seq in range(count)
        ]
    )


def seqs(db: EmbeddedDatabase) -> list[int]:
    return [found.seq for found in db.user("alice").clips(limit=1000)]


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


def test_history_is_collected_but_for_snapshots_and_says_so(
    folder: Path, clock: ManualClock
) -> None:
    config = EngineConfig(
        map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20, open_history_s=3600
    )
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        db.create_space("cam", dim=8)
        user = db.user("alice")
        door = user.stream("door", space="cam")
        for version in range(1, 7):
            door.write(
                clip(
                    0,
                    end_ns=version * SECOND_NS,
                    sealed=version == 6,
                    transcript=(Utterance(0, 1, f"version{version}"),),
                )
            )
            if version == 3:
                snapshot = user.snapshot("kept", ttl_s=86_400)
        assert db.sweep().versions == 0
        clock.advance(2 * 3600 * SECOND_NS)
        user.put("time", "goes on")
        assert db.sweep().versions == 4
        assert user.clips(as_of=snapshot)[0].end_ns == 3 * SECOND_NS
        assert user.clips()[0].end_ns == 6 * SECOND_NS
        assert [
            hit.clip.end_ns for hit in user.recall("version3", as_of=snapshot).hits if hit.clip
        ] == [3 * SECOND_NS]
        for revision in (1, 2, 5):
            with pytest.raises(FailedPrecondition) as collected:
                user.clips(as_of=revision)
            assert collected.value.reason == "HISTORY_COLLECTED"
        assert db.verify().ok
        assert [change.clip is None for change in user.changes() if change.kind == "clip"] == [
            True, True, False, True, True, False,
        ]  # fmt: skip
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        assert db.user("alice").clips(as_of="kept")[0].end_ns == 3 * SECOND_NS
        with pytest.raises(FailedPrecondition):
            db.user("alice").clips(as_of=1)
        assert db.verify().ok


def test_a_history_that_was_collected_is_told_in_bounded_room(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply_removal, "SPANS_MAX", 4)
    config = replace(CONFIG, open_history_s=3600)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        db.create_space("cam", dim=8)
        user = db.user("alice")
        door = user.stream("door", space="cam")
        for seq in range(10):
            door.write(clip(seq, sealed=False))
            snapshot = user.snapshot(f"at{seq}", ttl_s=86_400)
            user.release(snapshot.name)
            door.write(clip(seq, global_memory=vector(seq + 100)))
        clock.advance(2 * 3600 * SECOND_NS)
        user.put("time", "goes on")
        assert db.sweep().versions == 10
        with user.memory() as memory:
            spans = memory.view.state.collected
        assert spans == ((1, 28), (29, 32), (33, 36), (37, 40))
        for revision, is_told in ((0, True), (4, False), (28, True), (32, True), (33, False)):
            if is_told:
                assert len(user.clips(as_of=revision)) == revision // 4
            else:
                with pytest.raises(FailedPrecondition):
                    user.clips(as_of=revision)
        assert db.verify().ok


@pytest.mark.parametrize("collects", [True, False])
def test_gaps_beside_a_clip_that_grew_stay_when_its_versions_go(
    folder: Path, clock: ManualClock, collects: bool
) -> None:
    """Or when it goes itself: as the clip is, not as it was first written, nor as far as one still knows."""
    config = replace(CONFIG, open_history_s=3600)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        db.create_space("cam", dim=8)
        door = db.user("alice").stream("door", space="cam")
        for seq, seconds, sealed in ((0, 1, False), (0, 5, False), (2, 10, True), (0, 10, True)):
            start_ns = seq * 10 * SECOND_NS
            door.write(clip(seq, end_ns=start_ns + seconds * SECOND_NS, sealed=sealed))
        if collects:
            clock.advance(2 * 3600 * SECOND_NS)
            assert db.sweep().versions == 2
        else:
            door.set_retention(Retention(max_clips=1))
            assert db.sweep().clips == 1
        gaps = door.gaps()
        assert [(gap.start_ns, gap.end_ns) for gap in gaps] == [(10 * SECOND_NS, 20 * SECOND_NS)]
        assert db.verify().ok
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        assert db.user("alice").stream("door").gaps() == gaps


def test_a_moment_between_collected_ones_is_told_where_a_snapshot_keeps_it(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply_removal, "SPANS_MAX", 1)
    with EmbeddedDatabase(
        folder / "data", config=replace(CONFIG, open_history_s=3600), clock=clock
    ) as db:
        db.create_space("cam", dim=8)
        user = db.user("alice")
        door = user.stream("door", space="cam")
        for seq in range(4):
            door.write(clip(seq, sealed=False))
            if seq == 1:
                snapshot = user.snapshot("kept", ttl_s=86_400)
            user.put("time", "goes on")
            door.write(clip(seq, global_memory=vector(seq + 100)))
        clock.advance(2 * 3600 * SECOND_NS)
        user.put("time", "goes on")
        assert db.sweep().versions == 3
        for moment in (snapshot, "kept", snapshot.revision):
            assert [found.sealed for found in user.clips(as_of=moment)] == [True, False]
        with pytest.raises(FailedPrecondition) as collected:
            user.clips(as_of=snapshot.revision - 2)
        assert collected.value.reason == "HISTORY_COLLECTED"


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


def test_readers_and_writers_go_on_while_a_sweep_removes(db: EmbeddedDatabase) -> None:
    filled(db, 300)
    user = db.user("alice")
    door = user.stream("door")
    door.set_retention(Retention(max_clips=20, max_bytes=0))
    stop = threading.Event()
    errors: list[BaseException] = []

    def reads() -> None:
        while not stop.is_set():
            try:
                assert len(user.ground(vector(1), limit=10).hits) == 10
                user.clips(limit=50)
                user.recall("word5")
                user.changes(limit=100)
            except (MemdbError, AssertionError) as error:
                errors.append(error)
                return

    def writes() -> None:
        seq = 300
        while not stop.is_set():
            door.write(clip(seq))
            seq += 1

    threads = [threading.Thread(target=reads) for _ in range(2)] + [threading.Thread(target=writes)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        db.sweep()
    stop.set()
    for thread in threads:
        thread.join(30)
    assert errors == []
    db.sweep()
    assert len(seqs(db)) == 20
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
        assert db.user("alice").stream("door").write(clip(0)).duplicate
        db.user("alice").stream("door").write_many([clip(5), clip(6)])
        assert db.sweep().clips == 2
        assert db.verify().ok


def test_a_space_that_lost_all_its_clips_is_whole(db: EmbeddedDatabase) -> None:
    filled(db, 3)
    db.user("alice").stream("door").set_retention(Retention(max_age_s=1))
    assert db.sweep().clips == 3
    assert db.user("alice").clips() == []
    assert db.verify().ok


def test_a_user_that_cannot_be_written_does_not_stop_the_sweep(
    db: EmbeddedDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("alice", "bob", "carol"):
        door = db.user(name).stream("door", space="cam")
        door.write_many([clip(seq) for seq in range(5)])
        door.set_retention(Retention(max_clips=2))
    with db.user("alice").memory() as memory:
        memory.environment._failed = "an I/O error, as the disk would give"
    report = db.sweep()
    assert (report.clips, report.unswept, report.unswept_reasons) == (6, 1, ("READ_ONLY",))
    assert [len(db.user(name).clips()) for name in ("alice", "bob", "carol")] == [5, 2, 2]
    failures = [
        record
        for record in caplog.records
        if record.message == "a user cannot be swept: user alice"
    ]
    assert [record.__dict__["fields"]["user"] for record in failures] == ["alice"]


@pytest.mark.parametrize("how", ["sweep", "erase"])
def test_a_user_at_its_quota_makes_room_and_is_written_again(
    folder: Path, clock: ManualClock, how: str
) -> None:
    config = replace(CONFIG, map_bytes_max=4 << 20)
    rng = np.random.default_rng(0)

    def heavy(seq: int) -> Clip:
        return clip(seq, short_memory=rng.standard_normal((2048, 8)).astype(np.float16))

    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        db.create_space("cam", dim=8)
        door = db.user("alice").stream("door", space="cam")

        def write_from(seq: int) -> None:
            while True:
                door.write(heavy(seq))
                seq += 1

        with pytest.raises(ResourceExhausted) as full:
            write_from(0)
        written = len(db.user("alice").clips(limit=1000))
        assert (full.value.reason, written > 50) == ("QUOTA", True)
        if how == "sweep":
            door.set_retention(Retention(max_bytes=1 << 20))
            assert db.sweep().short_memories > written // 2
        else:
            assert door.erase(end_ns=(written // 2) * 10 * SECOND_NS).clips == written // 2
        for seq in range(written, written + written // 3):
            door.write(heavy(seq))
        assert db.verify().ok
        with pytest.raises(ResourceExhausted):
            write_from(written * 2)
        with db.user("alice").memory() as memory:
            # What was lent to make room is not there for others.
            assert memory.environment.data_bytes() < (4 << 20) + (1 << 20)


def test_what_makes_room_shares_no_commit_with_what_takes_it(
    folder: Path, clock: ManualClock
) -> None:
    config = replace(CONFIG, map_bytes_max=1 << 20)

    def heavy(seq: int) -> Clip:
        return clip(seq, keyframes=(Keyframe(seq, bytes(20_000)),))

    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        db.create_space("cam", dim=8)
        door = db.user("alice").stream("door", space="cam")

        def fill() -> None:
            for seq in range(1000):
                door.write(heavy(seq))

        with pytest.raises(ResourceExhausted):
            fill()
        with db.user("alice").memory() as memory:
            ended: dict[str, object] = {}

            def commit(name: str, operation: Operation, queued: threading.Event) -> None:
                try:
                    (ended[name],) = memory.write([operation], queued.set)
                except ResourceExhausted as error:
                    ended[name] = error.reason
                    queued.set()

            threads = []
            with memory.held_back():
                for name, operation in (
                    ("write", door.prepare(heavy(2000))),
                    ("remove", RemoveClips((1, 2), is_erasure=False)),
                ):
                    queued = threading.Event()
                    threads.append(threading.Thread(target=commit, args=(name, operation, queued)))
                    threads[-1].start()
                    assert queued.wait(30)
            for thread in threads:
                thread.join(30)
            assert ended["write"] == "QUOTA"
            assert isinstance(ended["remove"], Removed)


def test_what_was_lent_to_make_room_is_given_back_where_it_was_not_enough(
    folder: Path, clock: ManualClock
) -> None:
    config = replace(CONFIG, map_bytes_max=1 << 20)

    def too_much(txn: Transaction) -> tuple[bool, None]:
        for number in range(40):
            txn.put(Table.VALUES, b"%d" % number, bytes(1 << 20))
        return True, None

    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        db.user("alice").put("diet", 1)
        with db.user("alice").memory() as memory:
            with pytest.raises(ResourceExhausted):
                memory.environment.write(too_much, gives_up=True)
            assert memory.environment._env.info()["map_size"] == 1 << 20


def test_a_forked_process_looks_for_no_chores(db: EmbeddedDatabase) -> None:
    db.user("bob").put("diet", 1)
    db._users._pid = -1  # as a child sees it
    with pytest.raises(FailedPrecondition) as refused:
        db._users.has_chores("bob")
    db._users._pid = os.getpid()
    assert refused.value.reason == "FORKED"


def test_a_batch_that_is_thinned_costs_one_look_at_all_rows(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(db, 50)
    looks: list[str] = []
    thin = partition.Partition.thin

    def counting(found: partition.Partition, clip_nos: np.ndarray, name: str) -> None:
        looks.append(name)
        thin(found, clip_nos, name)

    monkeypatch.setattr(partition.Partition, "thin", counting)
    db.user("alice").stream("door").set_retention(Retention(max_bytes=0))
    report = db.sweep()
    assert (report.short_memories, report.keyframes) == (50, 50)
    assert sorted(looks) == ["keyframe_bytes", "short_memory_bytes"]
    assert db.verify().ok


def test_a_sweep_opens_nobody_who_has_nothing_to_do(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"user{number}" for number in range(6)]
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=8)
        for name in names:
            db.user(name).stream("door", space="cam").write_many([clip(seq) for seq in range(8)])
        db.user("user1").stream("door").set_retention(Retention(max_clips=5))
    opened: list[str] = []
    looked: list[str] = []
    load, make = UserMemory.open, Environment.__init__

    def loading(path: Path, user: str, *rest: Any) -> UserMemory:
        opened.append(user)
        return load(path, user, *rest)

    def looking(environment: Environment, path: Path, *rest: Any) -> None:
        looked.append(path.name)
        make(environment, path, *rest)

    monkeypatch.setattr(UserMemory, "open", loading)
    config = replace(CONFIG, open_users_max=1)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        monkeypatch.setattr(Environment, "__init__", looking)
        assert db.sweep().clips == 3
        assert opened == ["user1"]
        looked.clear()
        db.sweep()
        # Nor is it looked at again while nobody uses it.
        assert set(looked) <= {db._directory.user_path("user1").name}
        # Whoever is used since is.
        db.user("user2").stream("door").set_retention(Retention(max_clips=2))
        db.user("user3").put("who", "closes user2")
        assert db.sweep().clips == 6
        assert db.verify().ok


def test_a_user_that_is_closed_before_its_freed_pages_are_given_back_is_opened_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG, embed_texts=False) as db:
        db.create_space("cam", dim=8)
        alice = db.user("alice").stream("door", space="cam")
        alice.write_many(
            [clip(seq, keyframes=(Keyframe(seq, bytes(20_000)),)) for seq in range(100)]
        )
        alice.set_retention(Retention(max_clips=1))
        db.user("bob").put("k", 1)
        file = db._directory.user_path("alice") / DATA_FILE
    # A disk on which nothing may be written but what makes room.
    full = replace(CONFIG, disk_free_bytes_min=1 << 62, open_users_max=1)
    with EmbeddedDatabase(tmp_path / "data", config=full, embed_texts=False) as db:
        shrink = db._users.shrink

        def once_closed(user: str) -> int:
            assert db.user("bob").get("k") == 1
            assert not db.is_open(user)
            return shrink(user)

        monkeypatch.setattr(db._users, "shrink", once_closed)
        size = file.stat().st_size
        assert db.sweep().clips == 99
        assert file.stat().st_size < size // 8
        assert seqs(db) == [99]
