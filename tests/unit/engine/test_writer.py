"""Groups overlap: one is prepared while another is written, and nothing of it shows outside."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from memdb import Keyframe, MemdbError, ResourceExhausted, failpoints
from memdb.engine import taken, writer
from memdb.engine.commits import Group
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.passage import Passage
from memdb.engine.submission import Submission
from memdb.failpoints import FailpointError
from memdb.types.operation import Operation, PutValue, RemoveValue
from tests.unit.engine.conftest import CONFIG, DIM, SECOND_NS, clip, vector


@pytest.fixture(autouse=True, params=[writer.FOLLOW_BYTES_MIN, 0], ids=["large", "any"])
def follow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which groups go to LMDB while another is written there, where the native edge is installed."""
    monkeypatch.setattr(writer, "FOLLOW_BYTES_MIN", request.param)


def in_threads(count: int, work: Callable[[int], None]) -> None:
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def test_many_streams_share_commits_and_each_keeps_its_order(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taken, "SHARE_OPERATIONS_MAX", 3)  # groups end inside of a call's batch
    user = db.user("alice")

    def camera(number: int) -> None:
        stream = user.stream(f"camera-{number}", space="cam")
        for first in range(0, 60, 10):
            acks = stream.write_many([clip(seq) for seq in range(first, first + 10)])
            revisions = [ack.revision for ack in acks]
            assert revisions == sorted(revisions)
            assert not any(ack.duplicate for ack in acks)

    in_threads(8, camera)
    found = user.clips(limit=1000)
    assert len(found) == 480
    assert user.revision() < 480  # shared
    for number in range(8):
        assert [c.seq for c in found if c.stream == f"camera-{number}"] == list(range(60))
    assert db.verify().ok


def test_versions_of_an_open_clip_follow_each_other_through_overlapping_groups(
    db: EmbeddedDatabase,
) -> None:
    user = db.user("alice")
    with user.stream("door", space="cam").ingest(window=16) as ingest:
        for version in range(1, 151):
            grown = clip(0, end_ns=version * SECOND_NS, global_memory=vector(version), sealed=False)
            ingest.send(grown)
        acks = ingest.flush()
    assert [ack.revision for ack in acks] == list(range(1, 151))
    assert user.clips()[0].end_ns == 150 * SECOND_NS
    for revision in (1, 75, 149):
        assert user.clips(as_of=revision)[0].end_ns == revision * SECOND_NS
    assert db.verify().ok


def test_other_operations_stand_between_clips_where_they_were_sent(db: EmbeddedDatabase) -> None:
    """Facts, values and snapshots are decided in a transaction of their own; clips are not."""
    user = db.user("alice")
    door = user.stream("door", space="cam")
    door.write(clip(0))

    def work(number: int) -> None:
        rng = random.Random(number)
        for step in range(40):
            match rng.randrange(4):
                case 0:
                    user.put("shared", [number, step])
                    assert user.get("shared") is not None
                case 1:
                    fact = user.remember(f"fact {number} {step}", key=f"k{number}")
                    assert user.history(fact.id)[-1].text == f"fact {number} {step}"
                case 2:
                    snapshot = user.snapshot(f"s{number}", ttl_s=60)
                    assert user.clips(as_of=snapshot, limit=1000) is not None
                case _:
                    seq = 1 + number * 40 + step
                    door.write(clip(seq))
                    assert user.ground(vector(seq), limit=1).hits[0].clip.seq == seq

    in_threads(6, work)
    assert [change.revision for change in user.changes(limit=10_000)] == sorted(
        change.revision for change in user.changes(limit=10_000)
    )
    assert db.verify().ok


@pytest.mark.parametrize("point", ["commit.before", "commit.after", "index.before"])
@pytest.mark.parametrize("at", [2, 5, 9])
def test_a_group_that_fails_takes_nothing_of_the_next_one_with_it(
    db: EmbeddedDatabase, point: str, at: int
) -> None:
    user = db.user("alice")
    user.stream("door", space="cam").write(clip(0))
    acknowledged: set[tuple[int, int]] = set()
    failpoints.arm(f"{point}=error@{at}")

    def camera(number: int) -> None:
        stream = user.stream(f"camera-{number}", space="cam")
        for seq in range(30):
            for _ in range(5):
                try:
                    stream.write(clip(seq))
                except (FailpointError, MemdbError):
                    continue  # as any client: again
                acknowledged.add((number, seq))
                break

    try:
        in_threads(6, camera)
    finally:
        failpoints.arm("")
    assert len(acknowledged) == 180
    found = [(c.stream, c.seq) for c in user.clips(limit=1000)]
    assert len(found) == len(set(found)) == 181
    for number, seq in ((0, 0), (3, 17), (5, 29)):
        hits = user.ground(vector(seq), limit=1, streams=[f"camera-{number}"]).hits
        assert hits[0].clip.seq == seq
    assert db.verify().ok


def test_the_map_grows_under_overlapping_groups(tmp_path: object) -> None:
    from memdb.config import EngineConfig

    with EmbeddedDatabase(f"{tmp_path}/db", config=EngineConfig(map_bytes_initial=1 << 20)) as db:
        db.create_space("cam", dim=8, model="m")
        user = db.user("alice")
        memory = np.ones((512, 8), np.float16)
        with user.stream("door", space="cam").ingest() as ingest:
            for seq in range(400):
                ingest.send(clip(seq, short_memory=memory))
        assert len(user.clips(limit=1000)) == 400
        assert db.verify().ok


@pytest.mark.parametrize("ahead", [False, True])
def test_who_writes_a_little_is_not_refused_with_who_writes_too_much(
    folder: Path, ahead: bool
) -> None:
    """ahead: the group can be decided before its transaction."""
    quota = replace(CONFIG, map_bytes_max=1 << 20)
    with EmbeddedDatabase(folder / "data", config=quota) as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        door = user.stream("door", space="cam")
        door.write(clip(0))
        refused: dict[int, str] = {}

        def write(number: int) -> None:
            size = 700_000 if number % 4 == 2 else 10
            try:
                if ahead:
                    frames = tuple(Keyframe(n, b"\xff" * (size // 4)) for n in range(4))
                    user.stream(f"door-{number}", space="cam").write(clip(0, keyframes=frames))
                else:
                    user.put(f"key-{number}", "x" * size)
            except ResourceExhausted as error:
                refused[number] = error.reason

        with db._users.use("alice") as memory:
            queue = memory._writer._queue
            threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
            with memory.held_back():
                for number, thread in enumerate(threads):
                    thread.start()
                    while len(queue) <= number:
                        thread.join(0.01)
            for thread in threads:
                thread.join(60)
                assert not thread.is_alive()
        assert refused
        assert refused.keys() <= {2, 6}
        assert set(refused.values()) == {"QUOTA"}
        if ahead:
            assert [s.name for s in user.streams()] == [
                "door",
                *(f"door-{number}" for number in range(8) if number not in refused),
            ]
        else:
            assert user.keys(limit=9) == [f"key-{n}" for n in range(8) if n not in refused]
        assert db.verify().ok
        user.put("more", 1)
    with EmbeddedDatabase(folder / "data", config=quota) as db:
        assert db.user("alice").get("more") == 1


def test_the_rest_of_a_batch_is_not_written_where_its_beginning_has_no_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the next group, which is made ready meanwhile; the number behind a hole would be where to go on."""
    quota = replace(CONFIG, map_bytes_max=1 << 20)
    frames = tuple(Keyframe(n, b"\xff" * 200_000) for n in range(5))
    # A group ends before the second version of the second.
    batch = [clip(0, keyframes=frames), clip(1, sealed=False), clip(1), clip(2)]
    with EmbeddedDatabase(folder / "data", config=quota) as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        door, other = (user.stream(name, space="cam") for name in ("door", "other"))
        other.write(clip(0))
        refused: list[MemdbError] = []

        def write() -> None:
            try:
                door.write_batch(batch)
            except MemdbError as error:
                refused.append(error)

        with db._users.use("alice") as memory:
            commit, queue = memory._commits.commit, memory._writer._queue

            def slow(group: Group, waiting: Callable[[], None]) -> None:
                """A disk that says that it is full once the next group waits for it."""
                waiting()
                deadline_s = time.monotonic() + 60
                while memory._writer._next is None and time.monotonic() < deadline_s:
                    time.sleep(0.001)
                monkeypatch.undo()
                commit(group, waiting)

            threads = [
                threading.Thread(target=one) for one in (partial(other.write, clip(1)), write)
            ]
            with memory.held_back():
                for number, thread in enumerate(threads):
                    thread.start()
                    while len(queue) <= number:
                        thread.join(0.001)
                monkeypatch.setattr(memory._commits, "commit", slow)
            for thread in threads:
                thread.join(60)
                assert not thread.is_alive()
        assert [error.reason for error in refused] == ["QUOTA"]
        assert [(c.stream, c.seq) for c in user.clips()] == [("other", 0), ("other", 1)]
        assert door.ledger().next_seq == 0
        door.write(clip(0))
        assert db.verify().ok


@pytest.mark.parametrize("others", [0, 1])
def test_what_is_behind_a_write_is_in_no_group_before_the_rest_of_it(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """Who has had its share of a group leaves room in it.  Power that goes before the next one, or a refusal, would
    leave a hole, and the number behind it would be where to go on.
    """
    monkeypatch.setattr(taken, "SHARE_OPERATIONS_MAX", 3)
    user = db.user("alice")
    door, other = (user.stream(name, space="cam") for name in ("door", "other"))
    door.write(clip(0))
    other.write(clip(0))
    first, second, third = (Passage() for _ in range(3))
    second.behind, third.behind = (first,), (second,)
    writes = [
        partial(door.write_batch, [clip(seq) for seq in range(1, 9)], passages=(first,)),
        partial(door.write_batch, [clip(seq) for seq in range(9, 11)], passages=(second,)),
        *[partial(other.write_batch, [clip(1)])] * others,
        partial(door.write_batch, [clip(11)], passages=(third,)),
    ]
    with db._users.use("alice") as memory:
        queue = memory._writer._queue
        with memory.held_back():
            threads = [threading.Thread(target=write) for write in writes]
            for number, thread in enumerate(threads):
                thread.start()
                while len(queue) <= number:
                    thread.join(0.001)
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
    began = 2
    shown = [
        [one.seq for one in user.clips(stream="door", as_of=revision)]
        for revision in range(began, user.revision() + 1)
    ]
    assert shown == [list(range(len(seqs))) for seqs in shown]
    assert len(shown[-1]) == 12
    # Nobody's share is kept for who has to wait: of one line all is one commit.
    assert (len(shown) == 2) is (others == 0)


def test_who_is_refused_sees_all_of_what_was_written_of_it(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the commit before had of it was told by the ledger only afterwards, and its numbers taken for free."""
    user = db.user("alice")
    door, other = (user.stream(name, space="cam") for name in ("door", "other"))
    other.write(clip(0))
    next_seqs: list[int] = []
    told = threading.Event()

    def write() -> None:
        with pytest.raises(MemoryError):
            # A group ends before the second version of the second.
            door.write_batch([clip(0), clip(1, sealed=False), clip(1)])
        next_seqs.append(door.ledger().next_seq)
        told.set()

    with db._users.use("alice") as memory:
        commits, queue = memory._commits, memory._writer._queue
        commit, publish = commits.commit, commits.publish
        groups: list[Group] = []

        def second_fails(group: Group, waiting: Callable[[], None]) -> None:
            """While the first, which the next waits for, is not shown yet."""
            groups.append(group)
            if len(groups) == 2:
                raise MemoryError
            waiting()
            deadline_s = time.monotonic() + 60
            while memory._writer._next is None and time.monotonic() < deadline_s:
                time.sleep(0.001)
            commit(group, waiting)

        def shown_late(group: Group) -> Sequence[object]:
            if group is groups[0]:
                told.wait(0.5)
            return publish(group)

        threads = [threading.Thread(target=one) for one in (partial(other.write, clip(1)), write)]
        with memory.held_back():
            for number, thread in enumerate(threads):
                thread.start()
                while len(queue) <= number:
                    thread.join(0.001)
            monkeypatch.setattr(commits, "commit", second_fails)
            monkeypatch.setattr(commits, "publish", shown_late)
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        monkeypatch.undo()
    assert len(groups) == 2
    assert next_seqs == [1]
    assert door.ledger().next_seq == 1
    assert db.verify().ok


def test_nothing_stays_in_the_queue_of_who_was_interrupted_between_two_groups(
    db: EmbeddedDatabase,
) -> None:
    """While a group is on its way that has nothing of it: its bytes were counted for ever."""
    with db._users.use("alice", create=True) as memory:
        queue = memory._writer
        left = Submission([PutValue("a", "1"), PutValue("b", "2")], ())
        queue._enqueue(left)
        left.next, left.outcomes = 1, [1]
        group = taken.Taken()
        queue._groups, group.is_counted = 1, True
        queue._abandon(left)
        queue._end(group)
        assert (list(queue._queue), queue._queued_bytes, queue._leader) == ([], 0, None)
    assert db.user("alice").put("c", 3) == 1


def test_what_is_refused_does_not_wait_for_a_commit_that_waits_for_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one between has its place behind what is refused, and shares no commit with what is behind that."""
    quota = replace(CONFIG, map_bytes_max=1 << 20)
    frames = tuple(Keyframe(n, b"\xff" * 200_000) for n in range(5))
    with EmbeddedDatabase(folder / "data", config=quota) as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        user.put("made", 1)
        door = user.stream("door", space="cam")
        first = Passage()
        writes: list[tuple[Operation, Sequence[Passage]]] = [
            (door.prepare(clip(0, keyframes=frames)), (first,)),
            (RemoveValue("made"), ()),
            (door.prepare(clip(1)), (Passage((first,)),)),
        ]
        told: dict[int, str] = {}
        with db._users.use("alice") as memory:
            commit, queue = memory._commits.commit, memory._writer._queue

            def write(number: int) -> None:
                operation, passages = writes[number]
                try:
                    memory.write([operation], None, passages)
                    told[number] = "written"
                except ResourceExhausted as error:
                    told[number] = error.reason

            def slow(group: Group, waiting: Callable[[], None]) -> None:
                """Until the next one waits for the disk."""
                waiting()
                deadline_s = time.monotonic() + 60
                while memory._writer._next is None and time.monotonic() < deadline_s:
                    time.sleep(0.001)
                commit(group, waiting)

            monkeypatch.setattr(memory._commits, "commit", slow)
            threads = [
                threading.Thread(target=write, args=(number,), daemon=True) for number in range(3)
            ]
            with memory.held_back():
                for number, thread in enumerate(threads):
                    thread.start()
                    while len(queue) <= number:
                        thread.join(0.001)
            for thread in threads:
                thread.join(30)
                assert not thread.is_alive(), "it hangs"
            monkeypatch.undo()
        assert told == {0: "QUOTA", 1: "written", 2: "QUOTA"}
        assert user.keys() == []
        door.write(clip(0))
        assert db.verify().ok
