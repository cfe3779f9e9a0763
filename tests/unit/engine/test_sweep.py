"""A sweep of all users: whom it opens, what it costs, and that it goes on beside readers, writers and failures."""

from __future__ import annotations

import os
import random
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import FailedPrecondition, Keyframe, MemdbError, Retention
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.memory import UserMemory
from memdb.engine.opening import open_memory
from memdb.index import partition
from memdb.store.environment import Environment
from memdb.store.schema import DATA_FILE
from tests.unit.engine.conftest import CONFIG, clip, vector
from tests.unit.engine.door import filled, seqs


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


def test_a_user_that_cannot_be_written_does_not_stop_the_sweep(
    db: EmbeddedDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("alice", "bob", "carol"):
        door = db.user(name).stream("door", space="cam")
        door.write_many([clip(seq) for seq in range(5)])
        door.set_retention(Retention(max_clips=2))
    with db.user("alice").memory() as memory:
        memory.environment._writes.failed = "an I/O error, as the disk would give"
    report = db.sweep()
    assert (report.clips, report.unswept, report.unswept_reasons) == (6, 1, ("READ_ONLY",))
    assert [len(db.user(name).clips()) for name in ("alice", "bob", "carol")] == [5, 2, 2]
    failures = [
        record
        for record in caplog.records
        if record.message == "a user cannot be swept: user alice"
    ]
    assert [record.__dict__["fields"]["user"] for record in failures] == ["alice"]


def test_a_forked_process_looks_for_no_chores(db: EmbeddedDatabase) -> None:
    db.user("bob").put("diet", 1)
    db._users._slots._pid = -1  # as a child sees it
    reasons = []
    for call in (lambda: db._users.has_chores("bob"), db.sweep, db.spaces, lambda: db.scrub(1)):
        with pytest.raises(FailedPrecondition) as refused:
            call()
        reasons.append(refused.value.reason)
    db._users._slots._pid = os.getpid()
    assert reasons == ["FORKED"] * 4


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
    load, make = open_memory, Environment.__init__

    def loading(path: Path, user: str, *rest: Any, **named: Any) -> UserMemory:
        opened.append(user)
        return load(path, user, *rest, **named)

    def looking(environment: Environment, path: Path, *rest: Any, **named: Any) -> None:
        looked.append(path.name)
        make(environment, path, *rest, **named)

    monkeypatch.setattr("memdb.engine.opener.open_memory", loading)
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


def test_gaps_beside_a_clip_that_grew_and_was_given_up_are_those_of_the_next_opening(
    folder: Path, clock: ManualClock
) -> None:
    def gaps(db: EmbeddedDatabase) -> list[object]:
        user = db.user("alice")
        return [user.ground(vector(1), as_of=at).gaps for at in range(1, 9)]

    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=len(vector(0)))
        door = db.user("alice").stream("door", space="cam")
        # The gaps begin with what the clip was, and end with what it was.
        door.write(clip(1, end_ns=11 * 10**9, sealed=False))
        door.write(clip(3))
        door.write(clip(1, end_ns=19 * 10**9, sealed=False))
        door.write(clip(1, start_ns=9 * 10**9, end_ns=12 * 10**9))
        for seq in range(4, 8):
            door.write(clip(seq))
        before = gaps(db)
        door.set_retention(Retention(max_clips=2))
        assert db.sweep().clips == 4
        swept = gaps(db)
        assert swept != before
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        assert gaps(db) == swept


@pytest.mark.parametrize("seed", range(12))
def test_an_epoch_begins_where_it_does_after_the_next_opening(
    folder: Path, clock: ManualClock, seed: int
) -> None:
    """Open clips whose start moves either way, given up, erased, and with their earlier versions collected."""
    drawn = random.Random(seed)
    config = replace(CONFIG, open_history_s=1)

    def told(db: EmbeddedDatabase) -> list[int | None]:
        door = db.user("alice").stream("door")
        return [door.ledger(epoch=epoch).first_start_ns for epoch in range(2)]

    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        db.create_space("cam", dim=len(vector(0)))
        user = db.user("alice")
        door = user.stream("door", space="cam")
        starts: dict[tuple[int, int], int] = {}

        def write(epoch: int, seq: int, *, sealed: bool) -> None:
            start_ns = (100 + 10 * seq + drawn.randrange(-9, 9)) * 10**9
            written = clip(seq, start_ns=start_ns, end_ns=start_ns + 10**9, sealed=sealed)
            if not door.write(replace(written, epoch=epoch)).duplicate:
                starts[epoch, seq] = start_ns

        for epoch, seq in ((epoch, seq) for epoch in range(2) for seq in range(3)):
            write(epoch, seq, sealed=False)
        for epoch, seq in drawn.sample(sorted(starts), 5):
            for sealed in (False, drawn.random() < 0.8):
                write(epoch, seq, sealed=sealed)
        first = [min(starts[epoch, seq] for seq in range(3)) for epoch in range(2)]
        assert told(db) == first
        clock.advance(10 * 10**9)
        door.set_retention(Retention(max_clips=drawn.randrange(1, 4)))
        db.sweep()
        assert told(db) == first
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        assert told(db) == first
        left = db.user("alice").clips()
        erased = min(left, key=lambda one: one.start_ns)
        db.user("alice").erase_clips([erased.id])
        after = told(db)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        assert told(db) == after
