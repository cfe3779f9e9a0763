"""A group goes to LMDB while another one is written there: it is written behind that one, or as if it never had."""

from __future__ import annotations

import errno
import os
import resource
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import lmdb
import pytest

from memdb import Clip, Keyframe, ResourceExhausted, Unavailable
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.store import writes
from memdb.store.environment import Environment
from memdb.store.native_commit import NativeCommit, native_commit
from tests.both_edges import NEEDS_NATIVE
from tests.unit.engine.conftest import CONFIG, DIM, clip, vector
from tests.unit.engine.door import filled, seqs
from tests.unit.engine.following import Commits, Run, Writing, held_in_lmdb, the_first

pytestmark = [NEEDS_NATIVE, pytest.mark.usefixtures("follow")]


def test_it_is_written_as_soon_as_the_one_before_is(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(db, 3)
    commits = the_first(monkeypatch, lambda _, real: real())
    with held_in_lmdb(db) as go:
        first = Writing(db, "door", 3)
        assert commits.begun.wait(30)
        second = Writing(db, "door", 4)
        assert commits.behind.wait(30), "it waits for a thread's turn"
        go.set()
        acks = first.wait(), second.wait()
    assert commits.done == [True]
    assert acks[0] is not None
    assert acks[1] is not None
    assert acks[1].revision == acks[0].revision + 1
    assert seqs(db) == [0, 1, 2, 3, 4]
    assert db.user("alice").ground(vector(4), limit=1).hits[0].clip.seq == 4
    assert db.verify().ok


def test_who_asks_whether_it_may_does_not_try_the_edge(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the lock of the queue, for which all wait that write to the user."""
    asked_by: list[str] = []

    def asked() -> NativeCommit | None:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            asked_by.append(frame.f_code.co_qualname)
            frame = frame.f_back
        return native_commit()

    monkeypatch.setattr(writes, "native_commit", asked)
    filled(db, 3)
    commits = the_first(monkeypatch, lambda _, real: real())
    with held_in_lmdb(db) as go:
        first = Writing(db, "door", 3)
        assert commits.begun.wait(30)
        second = Writing(db, "door", 4)
        assert commits.behind.wait(30)
        go.set()
        assert first.wait()
        assert second.wait()
    assert "Writes.write_ready" in asked_by
    assert "Writer._may_follow" not in asked_by


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_what_the_one_before_was_to_write_is_not_there_for_it(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    filled(db, 3)

    def refused(commits: Commits, _: Run) -> bool:
        assert commits.behind.wait(30)
        raise lmdb.DiskError(f"mdb_txn_commit: {os.strerror(number)}")

    commits = the_first(monkeypatch, refused)
    first = Writing(db, "door", 3)
    assert commits.begun.wait(30)
    second = Writing(db, "gate", 0)
    first.wait()
    ack = second.wait()
    assert commits.done[0] is False
    if number == errno.EIO:
        for writing in (first, second):
            assert isinstance(writing.error, Unavailable)
            assert writing.error.reason == "READ_ONLY"
        assert seqs(db) == [0, 1, 2]
        return
    assert isinstance(first.error, ResourceExhausted)
    assert first.error.reason == "DISK_FULL"
    assert ack is not None
    assert ack.revision == 2, "the number that was to be the other's"
    assert db.user("alice").stream("door", space="cam").write(clip(3)).revision == 3
    assert db.user("alice").ground(vector(0), streams=["gate"]).hits[0].clip.seq == 0
    assert db.verify().ok


def test_a_full_disk_does_not_take_back_that_it_is_broken_for_the_other(
    db: EmbeddedDatabase,
) -> None:
    """Two that are refused at once."""
    filled(db, 1)
    with db._users.use("alice") as memory:
        broken, full = (
            memory.environment._writes._refusal(
                lmdb.Error(f"mdb_txn_commit: {os.strerror(number)}"), 0
            )
            for number in (errno.EIO, errno.ENOSPC)
        )
        assert isinstance(broken, Unavailable)
        assert isinstance(full, ResourceExhausted)
        assert memory.environment.is_read_only


def test_what_was_refused_behind_another_is_held_by_nobody(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all its clips, until somebody commits again."""
    filled(db, 3)
    was_refused = threading.Event()

    def refused(*_: Any) -> bool:
        was_refused.set()
        raise ResourceExhausted("full", reason="DISK_FULL")

    monkeypatch.setattr(Environment, "write_behind", refused)
    commits = the_first(monkeypatch, lambda _, real: real())
    with held_in_lmdb(db) as go:
        first = Writing(db, "door", 3)
        assert commits.begun.wait(30)
        second = Writing(db, "door", 4)
        assert was_refused.wait(30)
        go.set()
        ack = first.wait()
        second.wait()
    assert ack is not None
    assert isinstance(second.error, ResourceExhausted)
    with db._users.use("alice") as memory:
        assert memory._writer._commits._under_way == ()
    assert seqs(db) == [0, 1, 2, 3]
    assert db.user("alice").stream("door", space="cam").write(clip(4)).revision == ack.revision + 1


def test_where_the_one_before_is_in_the_store_and_not_in_memory_the_user_is_opened_anew(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(db, 3)

    def interrupted(commits: Commits, real: Run) -> bool:
        real()
        assert commits.behind.wait(30)
        raise KeyboardInterrupt

    commits = the_first(monkeypatch, interrupted)
    first = Writing(db, "door", 3)
    assert commits.begun.wait(30)
    second = Writing(db, "door", 4)
    first.wait()
    second.wait()
    assert isinstance(first.error, KeyboardInterrupt)
    assert commits.done == [True]
    assert isinstance(second.error, Unavailable)
    assert second.error.reason == "INDEX_BROKEN"
    door = db.user("alice").stream("door", space="cam")
    assert [door.write(clip(seq)).duplicate for seq in (3, 4)] == [True, True]
    assert seqs(db) == [0, 1, 2, 3, 4]
    assert db.verify().ok


def test_who_changes_the_map_waits_for_both_and_neither_for_it(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before is not written as it was decided, for which nobody may be behind it, and the map is asked for."""
    filled(db, 3)
    with db._users.use("alice") as memory:
        environment = memory.environment
    mapping = threading.Event()
    entered = Environment.write_behind

    def behind(self: Environment, *args: Any) -> bool:
        thread.start()
        assert mapping.wait(30)
        return entered(self, *args)

    def release() -> None:
        with environment._mapped.gate._lock:
            environment._mapped.gate._owned = (
                True  # as who owns it does, before it waits for who is inside
            )
        mapping.set()
        with environment._mapped.gate._changed:
            while environment._mapped.gate._inside:
                environment._mapped.gate._changed.wait()
        environment._mapped.gate.disown()

    thread = threading.Thread(target=release, daemon=True)
    monkeypatch.setattr(Environment, "write_behind", behind)

    def refused(_: Commits, __: Run) -> bool:
        assert mapping.wait(30)
        return False

    commits = the_first(monkeypatch, refused)
    first = Writing(db, "door", 3)
    assert commits.begun.wait(30)
    second = Writing(db, "door", 4)
    assert first.wait()
    assert second.wait()
    thread.join(30)
    assert not thread.is_alive()
    assert seqs(db) == [0, 1, 2, 3, 4]
    assert db.verify().ok


def test_who_follows_needs_the_room_of_both(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that ends half-way LMDB takes for a broken disk: no commit is begun that may."""

    def heavy(seq: int) -> Clip:
        return clip(seq, keyframes=tuple(Keyframe(seq, bytes(1 << 20)) for _ in range(6)))

    entered = Environment.write_behind
    refused = threading.Event()

    def behind(self: Environment, *args: Any) -> bool:
        is_written = entered(self, *args)
        refused.set()
        return is_written

    monkeypatch.setattr(Environment, "write_behind", behind)
    config = replace(CONFIG, map_bytes_initial=256 << 20)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        db.create_space("cam", dim=DIM)
        door = db.user("alice").stream("door", space="cam")
        door.write(heavy(0))
        with db.user("alice").memory() as memory:
            size = memory.environment.data_bytes()
        commits = the_first(monkeypatch, lambda _, real: real())
        try:
            with held_in_lmdb(db, lambda: commits.behind.is_set() or refused.is_set()):
                resource.setrlimit(resource.RLIMIT_FSIZE, (size + (11 << 20), hard))
                writings = [Writing(db, "door", 1, heavy)]
                assert commits.begun.wait(30)
                writings.append(Writing(db, "door", 2, heavy))
                acks = [writing.wait() for writing in writings]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert acks[0] is not None
        assert isinstance(writings[1].error, ResourceExhausted)
        assert writings[1].error.reason == "DISK_FULL"
        assert door.write(heavy(2)).revision == acks[0].revision + 1
