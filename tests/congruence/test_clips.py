"""Writing clips one by one and reading them back, field by field."""

from __future__ import annotations

import numpy as np
import pytest

from memdb import AlreadyExists, Clip, Keyframe, NotFound, SoundEvent, Utterance
from memdb.types.database import Stream, User
from tests.congruence.media import AXES, SECOND_NS, T0_NS, clip, vector

pytestmark = pytest.mark.congruence

TOKENS = np.arange(24, dtype=np.float32).reshape(6, 4) / 8


def rich_clip() -> Clip:
    return clip(
        0,
        vector(0.5, 0.25, -1),
        short_memory=TOKENS,
        frames_per_token_row=0.25,
        transcript=[
            Utterance(T0_NS, T0_NS + SECOND_NS, "the mug is blue", "alice", "en"),
            Utterance(T0_NS + SECOND_NS, T0_NS + 2 * SECOND_NS, "grüße"),
        ],
        events=[SoundEvent(T0_NS, T0_NS + SECOND_NS, "dog barking", 0.75)],
        keyframes=[b"\xff\xd8 first", Keyframe(T0_NS + SECOND_NS, b"\xff\xd8 second")],
        labels={"zone": "porch", "empty": ""},
    )


def test_a_clip_comes_back_as_it_was_written(user: User, door: Stream) -> None:
    written = rich_clip()
    ack = door.write(written)

    read = user.clip(ack.clip_id)

    for name in ("seq", "epoch", "start_ns", "end_ns", "frames_per_token_row", "sealed"):
        assert getattr(read, name) == getattr(written, name), name
    for name in ("transcript", "events", "keyframes", "labels"):
        assert getattr(read, name) == getattr(written, name), name
    np.testing.assert_array_equal(read.global_memory, written.global_memory)
    assert read.global_memory.dtype == np.float32
    assert read.short_memory is None
    assert (read.id, read.user, read.stream, read.space) == (ack.clip_id, "alice", "door", "clip")
    assert (read.revision, ack.duplicate) == (ack.revision, False)


def test_short_memory_is_given_when_asked_as_float16(user: User, door: Stream) -> None:
    with_tokens = door.write(rich_clip()).clip_id
    other = door.write(clip(1, short_memory=TOKENS[:2].astype(np.float16))).clip_id

    read = user.clip(with_tokens, with_short_memory=True).short_memory
    both = user.short_memory([other, with_tokens, other])

    assert isinstance(read, np.ndarray)
    assert read.dtype == np.float16
    np.testing.assert_array_equal(read, TOKENS.astype(np.float16))
    assert [array.shape for array in both] == [(2, 4), (6, 4), (2, 4)]
    np.testing.assert_array_equal(both[1], TOKENS.astype(np.float16))
    assert user.short_memory([]) == []


def test_a_clip_without_short_memory_says_so(user: User, door: Stream) -> None:
    clip_id = door.write(clip(0)).clip_id

    with pytest.raises(NotFound) as caught:
        user.short_memory([clip_id])
    assert (caught.value.reason, caught.value.value) == ("NO_SHORT_MEMORY", clip_id)
    assert user.clip(clip_id, with_short_memory=True).short_memory is None


def test_float16_memory_stays_float16(user: User, door: Stream) -> None:
    memory = vector(0.1, 0.2).astype(np.float16)
    read = user.clip(door.write(clip(0, memory)).clip_id).global_memory

    assert read.dtype == np.float16
    np.testing.assert_array_equal(read, memory)


def test_the_same_clip_again_is_stored_once(user: User, door: Stream) -> None:
    first = door.write(rich_clip())
    again = door.write(rich_clip())

    assert again.duplicate
    assert (again.clip_id, again.revision) == (first.clip_id, first.revision)
    assert user.revision() == first.revision
    assert len(user.clips()) == 1


def test_another_content_under_a_sealed_number_is_refused(user: User, door: Stream) -> None:
    first = door.write(clip(0))

    with pytest.raises(AlreadyExists) as caught:
        door.write(clip(0, vector(0, 1)))

    assert (caught.value.reason, caught.value.field, caught.value.value) == (
        "SEQ_REUSED",
        "clip.seq",
        "0",
    )
    np.testing.assert_array_equal(user.clip(first.clip_id).global_memory, AXES[0])


def test_an_open_clip_is_revised_in_place_until_it_is_sealed(user: User, door: Stream) -> None:
    grown = clip(0, vector(1, 1), end_ns=T0_NS + 6 * SECOND_NS, sealed=False)
    first = door.write(clip(0, sealed=False))
    second = door.write(grown)
    third = door.write(clip(0, vector(1, 1), end_ns=T0_NS + 6 * SECOND_NS))

    assert first.clip_id == second.clip_id == third.clip_id
    assert first.revision < second.revision < third.revision
    (read,) = user.clips()
    assert (read.sealed, read.end_ns, read.revision) == (True, grown.end_ns, third.revision)
    old = user.clip(first.clip_id, as_of=first.revision)
    assert (old.sealed, old.revision) == (False, first.revision)


def test_clips_are_listed_by_start_in_pages(user: User, door: Stream) -> None:
    acks = door.write_many([clip(seq) for seq in (3, 0, 2, 1, 4)])
    porch = user.stream("porch", space="clip")
    porch.write(clip(9))

    assert [c.seq for c in user.clips()] == [0, 1, 2, 3, 4, 9]
    assert [c.seq for c in user.clips(stream="door")] == [0, 1, 2, 3, 4]
    assert [c.seq for c in user.clips(limit=2)] == [0, 1]
    page = user.clips(limit=2, after=acks[3].clip_id)
    assert [c.seq for c in page] == [2, 3]


def test_a_range_takes_the_clips_that_overlap_it(user: User, door: Stream) -> None:
    door.write_many([clip(seq) for seq in range(5)])
    second = T0_NS + 4 * SECOND_NS

    found = user.clips(start_ns=second, end_ns=second + 5 * SECOND_NS)

    assert [c.seq for c in found] == [1, 2]
    assert [c.seq for c in user.clips(end_ns=second)] == [0]
    assert user.clips(start_ns=T0_NS + 400 * SECOND_NS) == []


def test_many_clips_cross_in_as_many_messages_as_they_need(user: User, door: Stream) -> None:
    keyframe = bytes(range(256)) * 2048
    acks = door.write_many([clip(seq, keyframes=[keyframe] * 2) for seq in range(40)])

    assert len(acks) == 40
    read = user.clips(limit=1000)
    assert [c.seq for c in read] == list(range(40))
    assert all(frame.jpeg == keyframe for c in read for frame in c.keyframes)


def test_write_many_stops_at_the_first_refused_clip(door: Stream) -> None:
    door.write(clip(1))

    with pytest.raises(AlreadyExists):
        door.write_many([clip(0), clip(1, vector(1, 1)), clip(2)])
    assert door.write(clip(0)).duplicate


def test_nothing_to_write_is_nothing(door: Stream) -> None:
    assert door.write_many([]) == []


def test_the_ledger_and_gaps_tell_what_is_missing(user: User, door: Stream) -> None:
    assert door.ledger().next_seq == 0
    door.write_many([clip(0), clip(3), clip(5, sealed=False)])
    door.write(clip(0, epoch=2))

    ledger = door.ledger()

    assert (ledger.stream, ledger.epoch, ledger.next_seq, ledger.clips) == ("door", 0, 4, 3)
    assert (ledger.first_start_ns, ledger.last_end_ns) == (T0_NS, T0_NS + 16 * SECOND_NS)
    spans = [(gap.epoch, gap.first_seq, gap.last_seq) for gap in door.gaps()]
    assert spans == [(0, 1, 2), (0, 4, 4)]
    assert door.gaps()[0].start_ns == T0_NS + 4 * SECOND_NS
    assert door.ledger(epoch=2).next_seq == 1
    assert user.stream("nowhere").ledger() == type(ledger)("nowhere", 0, 0, 0, None, None, ())
    door.write_many([clip(1), clip(2)])
    assert [(gap.first_seq, gap.last_seq) for gap in door.gaps()] == [(4, 4)]


def test_the_times_of_a_gap_are_a_range_or_none(user: User, door: Stream) -> None:
    door.write(clip(1))
    early = T0_NS - 100 * SECOND_NS
    door.write(clip(9, start_ns=early, end_ns=early + SECOND_NS))
    first, second = door.gaps()
    assert (first.last_seq, first.end_ns) == (0, T0_NS + 4 * SECOND_NS)
    assert (second.first_seq, second.last_seq) == (2, 8)
    assert (second.start_ns, second.end_ns) == (None, None)
    assert user.ground(vector(1)).gaps == (first, second)
    # Nobody knows when these were, so they may be of any time.
    assert door.gaps(start_ns=T0_NS + 3600 * SECOND_NS) == [second]
