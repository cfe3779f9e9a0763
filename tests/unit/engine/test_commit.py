"""What a commit leaves when it is cut short at each of its steps, in the same process."""

from __future__ import annotations

import dataclasses
import errno
import mmap
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from memdb import DataLoss, MemdbError, Unavailable, failpoints
from memdb.engine import memory as memory_module
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.view import View
from memdb.failpoints import FailpointError
from memdb.store.native_commit import NativeCommit, ReadyCommit
from tests.both_edges import NEEDS_NATIVE
from tests.unit.engine.conftest import CONFIG, DIM, clip, vector


@pytest.mark.parametrize("point", ["commit.before", "commit.after", "index.before", "index.after"])
def test_an_interrupted_commit_is_whole_or_absent_and_the_next_ones_are_right(
    db: EmbeddedDatabase, point: str
) -> None:
    user = db.user("alice")
    door = user.stream("door", space="cam")
    door.write(clip(0))
    failpoints.arm(f"{point}=error")
    with pytest.raises(FailpointError):
        door.write(clip(1))
    failpoints.arm("")
    # As after a KeyboardInterrupt: the caller does not know, asks again, and goes on with others.
    for _ in range(2):
        try:
            acks = [door.write(clip(seq)) for seq in (2, 1, 3)]
            break
        except Unavailable as refused:
            if refused.reason != "INDEX_BROKEN":
                raise
    assert len({ack.clip_id for ack in acks}) == 3
    assert [found.seq for found in user.clips()] == [0, 1, 2, 3]
    for seq in range(4):
        assert user.ground(vector(seq), limit=1).hits[0].clip.seq == seq
    assert user.revision() in (4, 5)
    assert db.verify().ok


def test_a_duplicate_of_what_was_not_shown_is_acknowledged_only_where_it_is_shown(
    db: EmbeddedDatabase,
) -> None:
    """Who is told that a clip is there finds it: nothing else may come that would notice."""
    user = db.user("alice")
    door = user.stream("door", space="cam")
    door.write(clip(0))
    failpoints.arm("commit.after=error")
    with pytest.raises(FailpointError):
        door.write(clip(1))
    failpoints.arm("")
    with pytest.raises(Unavailable):
        door.write(clip(1))
    ack = door.write(clip(1))
    assert ack.duplicate
    assert [found.seq for found in user.get_clips([ack.clip_id])] == [1]
    assert user.ground(vector(1), limit=1).hits[0].clip.seq == 1


@NEEDS_NATIVE
def test_what_was_decided_ahead_is_committed_in_one_call(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for a user's first commit, and for one behind what the store alone could decide."""
    done: list[bool] = []
    run = NativeCommit.run

    def told(self: NativeCommit, env: Any, ready: ReadyCommit) -> bool:
        done.append(run(self, env, ready))
        return done[-1]

    monkeypatch.setattr(NativeCommit, "run", told)
    user = db.user("alice")
    door = user.stream("door", space="cam")
    for seq, count in ((0, 0), (1, 1), (2, 2)):
        door.write(clip(seq))
        assert done == [True] * count
    user.put("key", 1)
    door.write(clip(3))
    assert done == [True] * 2
    door.write(clip(4))
    assert done == [True] * 3
    assert [found.seq for found in user.clips()] == [0, 1, 2, 3, 4]
    assert db.verify().ok


def test_where_no_memory_is_left_to_show_a_commit_the_user_is_opened_anew(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> mmap.mmap:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    user = db.user("alice")
    door = user.stream("door", space="cam")
    with monkeypatch.context() as patched:
        patched.setattr("memdb.index.matrix.mmap.mmap", refused)
        with pytest.raises(Unavailable) as error:
            door.write(clip(0))
        assert error.value.reason == "INDEX_BROKEN"
        # It was committed, so that the user cannot be opened without memory for it either.
        with pytest.raises(Unavailable) as error:
            user.clips()
        assert (error.value.reason, error.value.field) == ("OPEN_FAILED", "alice")
    assert door.write(clip(0)).duplicate
    assert user.ground(vector(0), limit=1).hits[0].clip.seq == 0
    assert db.verify().ok


def test_a_user_whose_store_there_is_no_memory_to_look_through_is_opened_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise MemoryError

    with EmbeddedDatabase(folder / "data", config=CONFIG) as db:
        db.create_space("cam", dim=DIM)
        db.user("alice").stream("door", space="cam").write(clip(0))
    with EmbeddedDatabase(folder / "data", config=CONFIG) as db:
        with monkeypatch.context() as patched:
            patched.setattr("memdb.store.file_mark.check_structure", no_memory)
            with pytest.raises(Unavailable) as error:
                db.user("alice").clips()
            assert (error.value.reason, error.value.field) == ("OPEN_FAILED", "alice")
        assert [found.seq for found in db.user("alice").clips()] == [0]


def test_callers_that_share_an_interrupted_commit_all_learn_of_it(db: EmbeddedDatabase) -> None:
    door = db.user("alice").stream("door", space="cam")
    door.write(clip(0))
    failpoints.arm("commit.before=error@3")
    outcomes: dict[int, BaseException | int] = {}

    def write(seq: int) -> None:
        try:
            outcomes[seq] = door.write(clip(seq)).revision
        except (FailpointError, MemdbError) as error:
            outcomes[seq] = error

    threads = [threading.Thread(target=write, args=(seq,)) for seq in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(outcomes) == 16
    failpoints.arm("")
    stored = {found.seq for found in db.user("alice").clips()}
    acknowledged = {seq for seq, outcome in outcomes.items() if isinstance(outcome, int)}
    assert acknowledged <= stored
    assert db.verify().ok


def test_a_reader_that_reports_damage_does_not_take_the_view_back(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = db.user("alice")
    door = user.stream("door", space="cam")
    door.write_many([clip(0), clip(1)])
    with user.memory() as memory:
        reporting, written = threading.Event(), threading.Event()
        real = dataclasses.replace

        def slowly(view: View, **changes: Any) -> View:
            made = real(view, **changes)
            reporting.set()
            written.wait(0.5)  # as the interpreter may choose to
            return made

        monkeypatch.setattr(memory_module, "replace", slowly)
        damage = threading.Thread(
            target=memory.damage_found, args=(["keyframes/" + "0" * 39 + "1"],)
        )
        memory.view.note_damaged_version(0, 1, DataLoss("damaged"))
        damage.start()
        assert reporting.wait(10)
        door.write(clip(2))
        written.set()
        damage.join(10)
        assert memory.view.revision == 2
        assert [gap.reason for gap in door.gaps()] == ["damaged"]
    assert [found.seq for found in user.clips()] == [0, 1, 2]
    assert db.verify().ok


def test_views_only_go_forward_while_many_threads_move_them(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    door = user.stream("door", space="cam")
    door.write_many([clip(seq) for seq in range(40)])
    stop = threading.Event()
    back: list[tuple[int, int]] = []

    def watches() -> None:
        newest = 0
        while not stop.is_set():
            revision = memory.view.revision
            if revision < newest:
                back.append((newest, revision))
            newest = max(newest, revision)

    def reports() -> None:
        for clip_no in range(40):
            memory.view.note_damaged_version(clip_no, 1, DataLoss("damaged"))
            memory.damage_found([])

    with user.memory() as memory:
        watcher = threading.Thread(target=watches)
        threads = [threading.Thread(target=reports) for _ in range(2)]
        threads += [
            threading.Thread(
                target=lambda first=first: [
                    user.remember(f"fact {first} {number}") for number in range(40)
                ]
            )
            for first in range(3)
        ]
        for thread in (watcher, *threads):
            thread.start()
        for thread in threads:
            thread.join(60)
        stop.set()
        watcher.join(10)
        assert back == []
        assert len(door.gaps()) == 40
        assert len(user.facts()) == 120
        assert len(memory.view.texts.search("fact", None, None, 1000, memory.view.revision)) == 120
