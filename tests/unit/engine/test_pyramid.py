"""The pyramid that grows with what is asked equals one summed of all clips, to the last bit, whatever was written and
removed in between.
"""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from memdb import DeadlineExceeded, deadline
from memdb.deadline import Deadline
from memdb.engine import pyramid
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.long_term import summed_buckets
from memdb.engine.pyramid import HOUR_NS, Buckets, Pyramid
from memdb.engine.view import View
from memdb.index import partition
from memdb.types.operation import RemoveClips
from tests.unit.engine.conftest import clip


def check(view: View, found: Buckets | None) -> None:
    wanted = {stream.no for stream in view.state.streams.values()}
    assert found is not None
    expected = summed_buckets(view.partitions[0], wanted, view.revision)
    assert found.keys() == expected.keys()
    for place, bucket in found.items():
        assert bucket.clips == expected[place].clips
        assert np.array_equal(bucket.total, expected[place].total)


def asked(view: View) -> Buckets | None:
    wanted = {stream.no for stream in view.state.streams.values()}
    return view.pyramid.buckets(0, view.partitions[0], view.revision, wanted, list)


@pytest.mark.parametrize("seed", range(6))
def test_it_equals_the_sums_of_all_clips(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(pyramid, "KEPT_CLIPS", 4)
    monkeypatch.setattr(pyramid, "_PENDING_MAX", 3)
    monkeypatch.setattr(pyramid, "_SUMMED_ROWS", 2)
    monkeypatch.setattr(partition, "REMOVED_ROWS_MAX", 8)
    random = Random(seed)
    user = db.user("alice")
    streams = [user.stream(name, space="cam") for name in ("door", "yard")]
    streams[0].create()
    seqs = [0, 0]
    for _ in range(80):
        which = random.randrange(2)
        step = random.random()
        if step < 0.7:
            many = random.randint(1, 5)
            clips = []
            for seq in range(seqs[which], seqs[which] + many):
                start_ns = seq * HOUR_NS // 7
                if random.random() < 0.3:
                    open_clip = clip(seq, start_ns=start_ns, end_ns=start_ns + 1, sealed=False)
                    clips.append(open_clip)
                clips.append(clip(seq, start_ns=start_ns, end_ns=start_ns + 2))
            streams[which].write_many(clips)
            seqs[which] += many
        else:
            # As a sweep removes: the user stays open, and with it what was counted.
            with user.memory() as memory:
                columns = memory.view.partitions[0].columns if memory.view.partitions else {}
                there = [int(no) for no in columns.get("clip_no", ())]
                going = random.sample(there, min(len(there), random.randint(1, 8)))
                memory.write([RemoveClips(tuple(going), is_erasure=False)])
        with user.memory() as memory:
            view = memory.view
        if view.partitions and random.random() < 0.5:
            check(view, asked(view))
    with user.memory() as memory:
        before = memory.view
        check(before, asked(before))
        there = before.partitions[0].columns["clip_no"].tolist()
        memory.write([RemoveClips(tuple(there[len(there) // 4 :]), is_erasure=False)])
        after = memory.view
    assert after.partitions[0].matrix is not before.partitions[0].matrix  # rows were cleared away
    check(after, asked(after))
    assert db.verify().ok


def test_an_older_view_is_told_so(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    door = user.stream("door", space="cam")
    door.write(clip(0))
    with user.memory() as memory:
        older = memory.view
    door.write(clip(1))
    with user.memory() as memory:
        newer = memory.view
    check(newer, asked(newer))
    assert asked(older) is None
    check(newer, asked(newer))


def test_large_sums_are_kept_and_small_ones_are_not(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyramid, "KEPT_CLIPS", 3)
    user = db.user("alice")
    door = user.stream("door", space="cam")
    door.write_many([clip(seq, start_ns=seq, end_ns=seq + 1) for seq in range(4)])
    door.write(clip(4, start_ns=30 * HOUR_NS, end_ns=30 * HOUR_NS + 1))
    summed: list[int] = []
    real = pyramid.add_rows

    def counting(total: np.ndarray, matrix: object, rows: np.ndarray) -> None:
        summed.append(len(rows))
        real(total, matrix, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(pyramid, "add_rows", counting)
    with user.memory() as memory:
        view = memory.view
    check(view, asked(view))
    assert sorted(summed) == [1, 1, 4, 4]
    summed.clear()
    check(view, asked(view))
    assert sorted(summed) == [1, 1]


def test_what_was_half_counted_is_counted_anew(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = db.user("alice")
    user.stream("door", space="cam").write_many([clip(seq) for seq in range(3)])
    with user.memory() as memory:
        view = memory.view
    real, left = pyramid._Tally.add, [1]

    def failing(self: pyramid._Tally, rows: np.ndarray) -> None:
        real(self, rows)
        if left:
            left.pop()
            raise MemoryError

    monkeypatch.setattr(pyramid._Tally, "add", failing)
    with pytest.raises(MemoryError):
        asked(view)
    check(view, asked(view))


def test_a_caller_who_leaves_ends_it_and_what_was_summed_is_kept(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyramid, "KEPT_CLIPS", 1)
    monkeypatch.setattr(pyramid, "_SUMMED_ROWS", 2)
    user = db.user("alice")
    user.stream("door", space="cam").write_many([clip(seq) for seq in range(9)])
    with user.memory() as memory:
        view = memory.view
    caller = Deadline()
    real, pieces = deadline.check, []

    def leaving() -> None:
        pieces.append(1)
        if len(pieces) == 7:  # in the second of the two buckets
            caller.leave()
        real()

    monkeypatch.setattr(deadline, "check", leaving)
    with pytest.raises(DeadlineExceeded) as refused:
        caller.within(asked, view)
    assert refused.value.reason == "CALLER_LEFT"
    pieces.clear()
    found = asked(view)
    assert len(pieces) == 5  # the second alone
    check(view, found)


def test_who_waits_for_the_sums_of_another_may_leave(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    user.stream("door", space="cam").write(clip(0))
    with user.memory() as memory:
        view = memory.view
    with view.pyramid._lock, pytest.raises(DeadlineExceeded):
        Deadline(0.05).within(asked, view)
    check(view, asked(view))


def test_a_new_pyramid_knows_nothing(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    user.stream("door", space="cam").write(clip(0))
    with user.memory() as memory:
        view = memory.view
    found = Pyramid().buckets(0, view.partitions[0], view.revision, set(), list)
    assert found == {}
