"""Erasing clips, time ranges and streams; retention; legal hold."""

from __future__ import annotations

import numpy as np
import pytest

from memdb import FailedPrecondition, InvalidArgument, NotFound, Retention, Utterance
from memdb.types.database import Database, Stream, User
from tests.congruence.media import AXES, SECOND_NS, T0_NS, clip, vector

pytestmark = pytest.mark.congruence


def seqs(user: User, stream: str | None = None) -> list[int]:
    return [found.seq for found in user.clips(stream=stream)]


def test_erased_clips_are_gone_at_every_moment_and_do_not_come_back(
    db: Database, user: User, door: Stream
) -> None:
    acks = [door.write(clip(seq)) for seq in range(6)]
    fact = user.remember("someone came", evidence=[acks[2].clip_id, acks[4].clip_id])
    before = user.snapshot("before", ttl_s=60)

    report = user.erase_clips([acks[2].clip_id, acks[3].clip_id])

    assert sorted(report.clip_ids) == sorted([acks[2].clip_id, acks[3].clip_id])
    assert (report.user, report.clips, report.fact_ids) == ("alice", 2, (fact.id,))
    assert seqs(user) == [0, 1, 4, 5]
    assert [found.seq for found in user.clips(as_of=before)] == [0, 1, 4, 5]
    assert [found.seq for found in user.clips(as_of=acks[3].revision)] == [0, 1]
    assert all(hit.clip.seq not in (2, 3) for hit in user.ground(AXES[2], limit=6).hits)
    with pytest.raises(NotFound) as gone:
        user.clip(acks[2].clip_id)
    assert gone.value.reason == "CLIP_NOT_FOUND"
    assert user.history(fact.id)[0].evidence == (acks[4].clip_id,)
    again = door.write(clip(2))
    assert (again.duplicate, again.clip_id) == (True, acks[2].clip_id)
    assert seqs(user) == [0, 1, 4, 5]
    assert door.gaps() == []
    assert door.ledger().next_seq == 6
    assert door.write(clip(6)).duplicate is False
    assert [c.kind for c in user.watch(follow=False) if c.kind == "erase"] == ["erase", "erase"]
    assert db.verify().ok


def test_a_time_range_takes_what_touches_it(db: Database, user: User, door: Stream) -> None:
    for seq in range(6):
        door.write(clip(seq))
    yard = user.stream("yard", space="clip")
    yard.write(clip(0))
    first = user.clips(stream="door")[0]
    length = first.end_ns - first.start_ns
    report = door.erase(start_ns=first.start_ns + length, end_ns=first.start_ns + 3 * length)
    assert report.clips == 2
    assert seqs(user, "door") == [0, 3, 4, 5]
    assert seqs(user, "yard") == [0]
    report = user.erase_clips(start_ns=first.start_ns, end_ns=first.start_ns + 1)
    assert report.clips == 2
    assert seqs(user, "door") == [3, 4, 5]
    assert seqs(user, "yard") == []
    assert db.verify().ok


def test_a_stream_goes_whole_and_may_begin_again(db: Database, user: User, door: Stream) -> None:
    for seq in (0, 1, 3):
        door.write(clip(seq))
    user.stream("yard", space="clip").write(clip(0))
    report = door.erase()
    assert (report.clips, report.streams) == (3, ("door",))
    assert [info.name for info in user.streams()] == ["yard"]
    assert door.ledger().next_seq == 0
    with pytest.raises(NotFound):
        user.clips(stream="door")
    assert door.write(clip(0, vector(0, 9))).duplicate is False
    assert seqs(user, "door") == [0]
    assert list(user.watch(follow=False))
    assert db.verify().ok


def test_the_words_of_an_erased_clip_are_not_recalled(user: User, door: Stream) -> None:
    said = Utterance(T0_NS, T0_NS + SECOND_NS, "the parcel is under the bench")
    ack = door.write(clip(0, transcript=(said,)))
    assert user.recall("parcel").hits
    user.erase_clips([ack.clip_id])
    assert user.recall("parcel").hits == ()


def test_what_is_not_there_is_refused_and_nothing_is_erased(user: User, door: Stream) -> None:
    ack = door.write(clip(0))
    for ids in ([ack.clip_id, "0" * 32], ["0" * 32]):
        with pytest.raises(NotFound) as refused:
            user.erase_clips(ids)
        assert refused.value.reason == "CLIP_NOT_FOUND"
        assert refused.value.field == f"clip_ids[{len(ids) - 1}]"
    with pytest.raises(InvalidArgument) as empty:
        user.erase_clips()
    assert (empty.value.reason, empty.value.field) == ("EMPTY", "clip_ids")
    with pytest.raises(NotFound) as nowhere:
        user.stream("attic").erase()
    assert nowhere.value.reason == "STREAM_NOT_FOUND"
    assert seqs(user) == [0]


def test_a_hold_keeps_everything(db: Database, user: User, door: Stream) -> None:
    ack = door.write(clip(0))
    door.set_retention(Retention(max_clips=1, hold=True))
    door.write(clip(1))
    assert db.sweep().clips == 0
    for erase in (
        door.erase,
        user.erase,
        lambda: user.erase_clips([ack.clip_id]),
        lambda: door.erase(start_ns=0, end_ns=2**62),
    ):
        with pytest.raises(FailedPrecondition) as held:
            erase()
        assert (held.value.reason, held.value.value) == ("LEGAL_HOLD", "door")
    assert seqs(user) == [0, 1]
    door.set_retention(None)
    assert door.retention() == Retention()
    assert door.erase().clips == 2


def test_a_policy_thins_first_and_keeps_what_is_found(
    db: Database, user: User, door: Stream
) -> None:
    memory = np.ones((8, 4), np.float16)
    acks = [door.write(clip(seq, short_memory=memory, keyframes=(b"jpeg",))) for seq in range(4)]
    door.set_retention(Retention(max_bytes=2 * memory.nbytes))
    assert door.retention() == Retention(max_bytes=2 * memory.nbytes)
    report = db.sweep()
    assert (report.clips, report.short_memories, report.keyframes) == (0, 3, 0)
    assert report.bytes_removed == 3 * memory.nbytes
    with pytest.raises(NotFound) as thinned:
        user.short_memory([acks[0].clip_id])
    assert thinned.value.reason == "NO_SHORT_MEMORY"
    assert len(user.short_memory([acks[3].clip_id])) == 1
    for seq in range(4):
        assert user.ground(AXES[seq], limit=1).hits[0].clip.seq == seq
    door.set_retention(Retention(max_clips=1))
    assert db.sweep().clips == 3
    assert seqs(user) == [3]
    assert door.gaps() == []
    assert db.sweep().clips == 0
    assert db.verify().ok


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_age_s", 0), ("max_clips", -1), ("max_bytes", 1.5), ("short_memory_age_s", "day")],
)
def test_a_policy_is_checked(name: str, value: object) -> None:
    with pytest.raises(InvalidArgument) as refused:
        Retention(**{name: value})  # type: ignore[arg-type]
    assert refused.value.field == f"retention.{name}"


@pytest.mark.parametrize("how", ["erased", "given up"])
def test_a_page_goes_on_where_the_one_before_ended_though_its_last_clip_is_gone(
    db: Database, user: User, door: Stream, how: str
) -> None:
    acks = [door.write(clip(seq)) for seq in range(6)]
    first = user.clips(limit=3)
    assert [found.seq for found in first] == [0, 1, 2]
    if how == "erased":
        user.erase_clips([acks[1].clip_id, acks[2].clip_id, acks[3].clip_id])
    else:
        door.set_retention(Retention(max_clips=2))
        assert db.sweep().clips == 4
    assert [found.seq for found in user.clips(limit=3, after=first[-1].cursor)] == [4, 5]
    assert user.clips(after=user.clips()[-1].cursor) == []
    if how == "given up":
        assert [found.seq for found in user.clips(after=first[-1].id)] == [4, 5]
        return
    with pytest.raises(NotFound) as gone:
        user.clips(after=first[-1].id)
    assert (gone.value.reason, gone.value.field) == ("CLIP_NOT_FOUND", "after")


@pytest.mark.parametrize("start", ["", "x", "+1", "01", "1_0", "-0", str(2**63), "1:1"])
def test_a_cursor_that_nobody_was_given_is_not_found(user: User, door: Stream, start: str) -> None:
    ack = door.write(clip(0))
    with pytest.raises(NotFound) as refused:
        user.clips(after=f"{start}:{ack.clip_id}")
    assert (refused.value.reason, refused.value.field) == ("CLIP_NOT_FOUND", "after")
    with pytest.raises(NotFound):
        user.clips(after=f"0:{'0' * 32}")


def test_an_erasure_of_nothing_changes_nothing(user: User, door: Stream) -> None:
    first = door.write(clip(0))
    with pytest.raises(InvalidArgument) as empty:
        user.erase_clips([])
    assert (empty.value.reason, empty.value.field) == ("EMPTY", "clip_ids")
    report = user.erase_clips(start_ns=T0_NS - 5 * SECOND_NS, end_ns=T0_NS - 4 * SECOND_NS)
    assert (report.clips, report.bytes_removed) == (0, 0)
    assert user.revision() == first.revision


def test_a_fact_is_valid_from_when_it_was_written(user: User) -> None:
    fact = user.remember("the mug is blue")
    assert fact.valid_from_ns <= fact.written_ns
