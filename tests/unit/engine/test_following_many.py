"""Two groups go to LMDB while a third is written there, each decided on what the one before it leaves."""

from __future__ import annotations

import errno
import gc
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import lmdb
import pytest

from memdb import ResourceExhausted
from memdb.engine import writer
from memdb.engine.commits import Group
from memdb.engine.database import EmbeddedDatabase
from memdb.store.environment import Environment
from memdb.store.native_commit import NativeCommit, ReadyCommit
from tests.both_edges import NEEDS_NATIVE
from tests.unit.engine.conftest import clip, vector
from tests.unit.engine.door import filled, seqs
from tests.unit.engine.following import Commits, Run, Writing, held_in_lmdb, the_first
from tests.unit.engine.test_following_interrupted import at_its_bytecode, at_its_call, coming_once
from tests.unit.engine.test_interrupted import Interrupt, InterruptAsItReturns, goes_on

pytestmark = [NEEDS_NATIVE, pytest.mark.usefixtures("follow")]


def three(db: EmbeddedDatabase, commits: Commits) -> list[Writing]:
    """Clips 3, 4 and 5, each in a group of its own that stands at LMDB's door."""
    writings = [Writing(db, "door", 3)]
    assert commits.begun.wait(30)
    writings.append(Writing(db, "door", 4))
    assert commits.behind.wait(30)
    writings.append(Writing(db, "door", 5))
    assert commits.two_behind.wait(30), "it waits for the second to be written"
    return writings


def test_both_are_written_as_soon_as_the_one_before_is(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(db, 3)
    commits = the_first(monkeypatch, lambda _, real: real())
    with held_in_lmdb(db) as go:
        writings = three(db, commits)
        go.set()
        acks = [writing.wait() for writing in writings]
    assert commits.done == [True, True]
    revisions = [ack.revision for ack in acks if ack is not None]
    assert revisions == list(range(revisions[0], revisions[0] + 3))
    assert seqs(db) == [0, 1, 2, 3, 4, 5]
    assert db.user("alice").ground(vector(5), limit=1).hits[0].clip.seq == 5
    assert db.verify().ok


def test_more_wait_for_their_turn(db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    assert writer.BEHIND_MAX == 2
    filled(db, 3)
    commits = the_first(monkeypatch, lambda _, real: real())
    with held_in_lmdb(db) as go:
        writings = three(db, commits)
        writings += [Writing(db, "door", seq) for seq in (6, 7, 8)]
        with db._users.use("alice") as memory:
            assert len(memory._writer._behind) == 2
        go.set()
        assert all(writing.wait() for writing in writings)
    assert seqs(db) == list(range(9))
    assert db.verify().ok


def groups() -> list[Group]:
    """All that there are in this process."""
    return [found for found in gc.get_objects() if isinstance(found, Group)]


def test_who_waits_does_not_hold_what_was_written_before_it(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all its clips."""
    filled(db, 3)
    before = groups()
    run = NativeCommit.run
    count, is_seen = 0, threading.Event()

    def third_is_held(self: NativeCommit, env: Any, ready: ReadyCommit) -> bool:
        nonlocal count
        count += 1
        if count == 3:
            assert is_seen.wait(30)
        return run(self, env, ready)

    monkeypatch.setattr(NativeCommit, "run", third_is_held)
    commits = the_first(monkeypatch, lambda _, real: real())
    with held_in_lmdb(db) as go:
        first, second, third = three(db, commits)
        go.set()
        assert first.wait()
        assert second.wait()
        held = [found for found in groups() if not any(found is one for one in before)]
        is_seen.set()
        assert third.wait()
    assert len(held) == 1


def test_a_number_that_two_groups_have_is_given_once(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first is going to write is known to the third, though neither the store nor the second has it."""
    filled(db, 3)
    commits = the_first(monkeypatch, lambda _, real: real())
    with held_in_lmdb(db) as go:
        writings = [Writing(db, "door", 3)]
        assert commits.begun.wait(30)
        writings.append(Writing(db, "door", 4))
        assert commits.behind.wait(30)
        again = Writing(db, "door", 3)
        go.set()
        acks = [writing.wait() for writing in (*writings, again)]
    assert acks[0] is not None
    assert acks[2] is not None
    assert acks[2].duplicate
    assert acks[2].clip_id == acks[0].clip_id
    assert seqs(db) == [0, 1, 2, 3, 4]
    assert db.verify().ok


def test_where_the_first_has_no_room_both_are_decided_anew(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(db, 3)

    def refused(commits: Commits, _: Run) -> bool:
        assert commits.two_behind.wait(30)
        raise lmdb.DiskError(f"mdb_txn_commit: {os.strerror(errno.ENOSPC)}")

    commits = the_first(monkeypatch, refused)
    writings = [Writing(db, "door", 3)]
    assert commits.begun.wait(30)
    writings.append(Writing(db, "gate", 0))
    assert commits.behind.wait(30)
    writings.append(Writing(db, "yard", 0))
    acks = [writing.wait() for writing in writings]
    assert isinstance(writings[0].error, ResourceExhausted)
    assert commits.done[:2] == [False, False]
    assert [ack.revision for ack in acks[1:] if ack is not None] == [2, 3]
    assert sorted(seqs(db)) == [0, 0, 0, 1, 2], "of the door no more than it had"
    assert db.verify().ok


def test_where_the_second_is_not_tried_the_third_is_not_written_for_it(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is committed by itself then, and leaves the counters that the third waits for: it must not be written
    before it is known to be decided on what is there.
    """
    filled(db, 3)
    entered = Environment.write_behind
    count = 0
    commits = the_first(monkeypatch, lambda _, real: real())

    def behind(self: Environment, *args: Any) -> bool:
        nonlocal count
        count += 1
        if count == 1:
            args[-1]()  # as it does when it is about to wait
            assert commits.behind.wait(30), "the third"
            return False
        return entered(self, *args)

    monkeypatch.setattr(Environment, "write_behind", behind)
    with held_in_lmdb(db) as go:
        writings = [Writing(db, "door", 3)]
        assert commits.begun.wait(30)
        writings.append(Writing(db, "door", 4))
        writings.append(Writing(db, "door", 5))
        assert commits.behind.wait(30)
        go.set()
        assert all(writing.wait() for writing in writings)
    assert commits.done[0] is False, "the third, behind what was not there"
    assert seqs(db) == [0, 1, 2, 3, 4, 5]
    assert db.verify().ok


def test_of_three_the_first_in_the_store_and_not_in_memory_is_found_by_all(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(db, 3)

    def interrupted(commits: Commits, real: Run) -> bool:
        real()
        assert commits.two_behind.wait(30)
        raise KeyboardInterrupt

    commits = the_first(monkeypatch, interrupted)
    with held_in_lmdb(db) as go:
        writings = three(db, commits)
        go.set()
        for writing in writings:
            writing.wait()
    assert isinstance(writings[0].error, KeyboardInterrupt)
    assert all(writing.error is not None for writing in writings[1:])
    door = db.user("alice").stream("door", space="cam")
    for seq in (3, 4, 5):
        door.write(clip(seq))
        assert door.write(clip(seq)).duplicate
    assert seqs(db) == [0, 1, 2, 3, 4, 5]
    assert db.verify().ok


@pytest.mark.parametrize("interrupting", [at_its_bytecode, at_its_call])
def test_an_interrupt_of_the_second_while_a_third_is_behind_it(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch, interrupting: Callable[[int], Interrupt]
) -> None:
    filled(db, 1)
    door = db.user("alice").stream("door", space="cam")
    tried = 0
    for times in range(1, 2000):
        door.write(clip(1, epoch=times))  # from which it is known what the store has
        interrupt = interrupting(times)

        def is_over(interrupt: Interrupt = interrupt) -> bool:
            return commits.two_behind.is_set() or interrupt.came  # noqa: B023 - called within the turn

        with monkeypatch.context() as patched:
            commits = the_first(patched, lambda _, run: run())
            thread, thirds = coming_once(commits.behind, interrupt, db, f"yard-{times}")
            with held_in_lmdb(db, is_over) as go:
                first = Writing(db, f"camera-{times}", 0)
                assert commits.begun.wait(30)
                thread.start()
                with interrupt.within():
                    door.write(clip(0, epoch=times))
                go.set()
            first.wait()
            thread.join(30)
            thirds[0].wait()
        if not interrupt.came:
            break
        tried += 1
        goes_on(db)
        alice = db.user("alice")
        for stream, epoch in (
            (door, times),
            (alice.stream(f"camera-{times}"), 0),
            (alice.stream(f"yard-{times}", space="cam"), 0),
        ):
            stream.write(clip(0, epoch=epoch))
            assert stream.write(clip(0, epoch=epoch)).duplicate
    assert tried > 30
    assert db.verify().ok


def test_an_interrupt_of_the_second_as_it_gives_the_disk_to_the_third(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is somebody's, or nobody would ever have it again."""
    filled(db, 1)
    door = db.user("alice").stream("door", space="cam")
    for times in range(1, 100):
        door.write(clip(1, epoch=times))  # from which it is known what the store has
        interrupt = InterruptAsItReturns(
            lambda code: code.co_qualname == "Writer._give_disk", times
        )
        with monkeypatch.context() as patched:
            commits = the_first(patched, lambda _, run: run())
            thread, thirds = coming_once(commits.behind, interrupt, db, f"yard-{times}")
            with held_in_lmdb(db, commits.two_behind.is_set):
                first = Writing(db, f"camera-{times}", 0)
                assert commits.begun.wait(30)
                thread.start()
                with suppress(KeyboardInterrupt), interrupt.within():
                    door.write(clip(0, epoch=times))
            thread.join(30)
            first.wait()
            thirds[0].wait()
        if not interrupt.came:
            break
        goes_on(db)
        yard = db.user("alice").stream(f"yard-{times}", space="cam")
        yard.write(clip(0))
        assert yard.write(clip(0)).duplicate
    assert times > 2
    assert db.verify().ok
