"""A verification that runs while everything goes on finds what is wrong, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import numpy as np
import pytest

from memdb import Discrepancy, Keyframe, Retention, Unavailable, Utterance, failpoints
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.writer import Writer
from memdb.types.operation import BeginErasure, RemoveClips
from tests.unit.engine.conftest import clip, vector

ROUNDS = 25


def test_what_is_being_erased_is_no_difference(db: EmbeddedDatabase) -> None:
    door = db.user("alice").stream("door", space="cam")
    for seq in (0, 3, 6):
        door.write(clip(seq))
    with db.user("alice").memory() as memory:
        # As an erasure is before its compaction.
        memory.write([BeginErasure((), (1,))])
        memory.write([RemoveClips((1,), is_erasure=True)])
    assert [gap.end_ns is None for gap in door.gaps()] == [False, False]
    assert db.verify().discrepancies == ()
    db.sweep()
    assert [(gap.first_seq, gap.end_ns is None) for gap in door.gaps()] == [(1, True), (4, False)]
    assert db.verify().discrepancies == ()


def test_a_commit_that_is_not_shown_yet_is_no_difference(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held between the store and memory until the verification has seen that they differ."""
    user = db.user("alice")
    fact = user.remember("the mug is blue")
    between, may_go_on, has_looked = (threading.Event() for _ in range(3))
    held_back = Writer.held_back

    def hit(name: str) -> None:
        if name == "index.before":
            between.set()
            assert may_go_on.wait(60)

    def looks_again(writer: Writer) -> AbstractContextManager[None]:
        has_looked.set()
        return held_back(writer)

    monkeypatch.setattr(failpoints, "hit", hit)
    monkeypatch.setattr(Writer, "held_back", looks_again)
    with ThreadPoolExecutor(2) as threads:
        forgetting = threads.submit(user.forget, fact.id)
        assert between.wait(60)
        verifying = threads.submit(db.verify)
        verifying.add_done_callback(lambda _: has_looked.set())
        assert has_looked.wait(60)
        may_go_on.set()
        forgetting.result(60)
        assert verifying.result(60).discrepancies == ()


def removes_by_policy(db: EmbeddedDatabase, _: int) -> None:
    db.sweep()


def thins_by_policy(db: EmbeddedDatabase, turn: int) -> None:
    db.user("alice").stream("door").set_retention(Retention(max_bytes=turn % 7 * 100))
    db.sweep()


def erases(db: EmbeddedDatabase, turn: int) -> None:
    found = db.user("alice").clips(limit=1000)
    db.user("alice").erase_clips([found[turn % len(found)].id])


def forgets(db: EmbeddedDatabase, turn: int) -> None:
    user = db.user("alice")
    fact = user.remember(f"the mug is blue {turn}", key=f"key {turn % 5}")
    user.forget(fact.id)


def erases_a_stream(db: EmbeddedDatabase, turn: int) -> None:
    stream = db.user("alice").stream(f"stream{turn}", space="cam")
    stream.write_many([clip(0), clip(2)])
    stream.erase()


@pytest.mark.parametrize(
    "removes", [removes_by_policy, thins_by_policy, erases, forgets, erases_a_stream]
)
def test_removals_meanwhile_are_no_differences(
    db: EmbeddedDatabase, removes: Callable[[EmbeddedDatabase, int], None]
) -> None:
    door = db.user("alice").stream("door", space="cam")

    def write(seq: int) -> None:
        door.write(
            clip(
                seq,
                short_memory=np.ones((16, 8), np.float16),
                keyframes=(Keyframe(seq, b"jpeg"),),
                transcript=(Utterance(seq, seq + 1, f"word{seq}"),),
            )
        )

    for seq in range(40):
        write(seq)
    door.set_retention(Retention(max_clips=30))
    stop = threading.Event()
    errors: list[BaseException] = []

    def goes_on(work: Callable[[int], object]) -> None:
        turn = 40
        while not stop.is_set():
            try:
                work(turn)
            except Unavailable:
                continue  # closed for an erasure: asked again, as clients do
            except BaseException as error:
                errors.append(error)
                return
            turn += 1

    threads = [
        threading.Thread(target=goes_on, args=(work,))
        for work in (write, lambda turn: removes(db, turn))
    ]
    for thread in threads:
        thread.start()
    found: list[Discrepancy] = []
    try:
        for _ in range(ROUNDS):
            found += db.verify().discrepancies
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert errors == []
    assert found == []
    assert db.verify().ok


def test_what_is_wrong_is_found_while_writers_go_on(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    door = user.stream("door", space="cam")
    door.write_many([clip(seq) for seq in range(10)])
    with user.memory() as memory:
        columns = memory.view.partitions[0].columns
        columns["start_ns"][3] += 1
    stop = threading.Event()

    def writes() -> None:
        seq = 10
        while not stop.is_set():
            door.write(clip(seq))
            seq += 1

    writer = threading.Thread(target=writes)
    writer.start()
    found = db.verify().discrepancies
    stop.set()
    writer.join(60)
    assert [item.what for item in found] == ["column start_ns differs from the store"]
    assert user.ground(vector(3), limit=1).hits[0].clip.seq == 3


def test_what_facts_are_about_is_compared(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    fact = user.remember("the mug is blue", about=["mug", "Ann"])
    user.revise(fact.id, about=["mug"])
    user.remember_many(["plain", "another"])
    assert db.verify().ok
    with user.memory() as memory:
        memory.view.texts.things.add(2, ["Bob"])
    found = db.verify().discrepancies
    assert [item.what for item in found] == ["what facts are about differs from the store"]
