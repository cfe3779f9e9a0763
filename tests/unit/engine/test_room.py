"""A user whose room is used up: what gives up is written, and is lent the room for it."""

from __future__ import annotations

import resource
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memdb import Clip, Keyframe, ResourceExhausted, Retention
from memdb.clock import ManualClock
from memdb.engine.applied import Removed
from memdb.engine.database import EmbeddedDatabase
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.operation import Operation, RemoveClips
from tests.unit.engine.conftest import CONFIG, SECOND_NS, clip


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


def test_a_sweep_makes_room_where_a_file_may_grow_no_more(folder: Path, clock: ManualClock) -> None:
    """The disk beside it has room: the pages that the sweep freed stayed in the file, and writes refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def heavy(seq: int) -> Clip:
        return clip(seq, keyframes=(Keyframe(seq, bytes(200_000)),))

    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=8)
        door = db.user("alice").stream("door", space="cam")
        for seq in range(30):
            door.write(heavy(seq))
        with db.user("alice").memory() as memory:
            size = memory.environment.data_bytes()
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + (1 << 20), hard))
            with pytest.raises(ResourceExhausted) as full:
                door.write(heavy(30))
            door.set_retention(Retention(max_clips=3))
            assert db.sweep().clips == 27
            door.write(heavy(30))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert full.value.reason == "DISK_FULL"
        assert db.verify().ok


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
            assert memory.environment._mapped.env.info()["map_size"] == 1 << 20
