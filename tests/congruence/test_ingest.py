"""Pipelined writing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from memdb import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from memdb.types.database import IngestWriter, Stream, User
from memdb.types.tensor import Codec, EncodedTensor
from tests.congruence.media import clip, vector

pytestmark = pytest.mark.congruence


def send_all(writer: IngestWriter, numbers: list[int]) -> None:
    for seq in numbers:
        writer.send(clip(seq, vector(1, seq)))
    writer.flush()


def test_every_clip_sent_is_acknowledged_once_in_order(user: User, door: Stream) -> None:
    tokens = np.ones((2, 4), np.float32)
    with door.ingest(window=8) as writer:
        assert writer.next_seq == 0
        for seq in range(50):
            writer.send(clip(seq, short_memory=tokens))
        acks = writer.flush()
        assert writer.flush() == []
        assert (writer.acks, writer.next_seq) == (50, 50)

    assert len({ack.clip_id for ack in acks}) == 50
    assert not any(ack.duplicate for ack in acks)
    assert [user.clip(ack.clip_id).seq for ack in acks] == list(range(50))
    revisions = [ack.revision for ack in acks]
    assert revisions == sorted(revisions)
    assert (
        user.ground(vector(1), limit=1, with_short_memory=True).hits[0].clip.short_memory
        is not None
    )


def test_a_crowd_of_small_clips_is_on_its_way_at_once(user: User, door: Stream) -> None:
    with door.ingest() as writer:
        for seq in range(2_000):
            writer.send(clip(seq))
        acks = writer.flush()

    assert len(acks) == len({ack.clip_id for ack in acks}) == 2_000
    assert user.count_clips() == 2_000


def test_leaving_the_block_waits_for_what_was_sent(user: User, door: Stream) -> None:
    with door.ingest() as writer:
        for seq in range(7):
            writer.send(clip(seq))

    assert writer.acks == 7
    assert len(user.clips()) == 7


def test_it_goes_on_where_the_ledger_stands(door: Stream) -> None:
    with door.ingest() as writer:
        send_all(writer, [0, 1, 2])

    with door.ingest() as again:
        assert (again.next_seq, again.acks) == (3, 0)
        again.send(clip(2, vector(1, 2)))
        again.send(clip(3))
        assert [ack.duplicate for ack in again.flush()] == [True, False]
        assert again.next_seq == 4


def test_each_epoch_has_its_own_numbers(user: User, door: Stream) -> None:
    with door.ingest(epoch=1) as writer:
        writer.send(clip(0, epoch=1))
    with door.ingest(epoch=2) as writer:
        assert writer.next_seq == 0
        writer.send(clip(0, epoch=2))

    assert sorted(c.epoch for c in user.clips()) == [1, 2]


def test_a_clip_of_another_epoch_is_refused(door: Stream) -> None:
    with door.ingest(epoch=1) as writer, pytest.raises(InvalidArgument) as caught:
        writer.send(clip(0))
    assert (caught.value.reason, caught.value.field, caught.value.value) == (
        "EPOCH_MISMATCH",
        "clip.epoch",
        "0",
    )


def test_the_error_of_a_clip_reaches_a_later_call(user: User, door: Stream) -> None:
    door.write(clip(2, vector(0, 0, 1)))
    writer = door.ingest()

    with pytest.raises(AlreadyExists) as caught:
        send_all(writer, [0, 1, 2])

    assert (caught.value.reason, caught.value.field, caught.value.value) == (
        "SEQ_REUSED",
        "clip.seq",
        "2",
    )
    assert [c.seq for c in user.clips()] == [0, 1, 2]


def test_after_a_refused_clip_the_writer_repeats_its_error(user: User, door: Stream) -> None:
    """Another writer goes on; this one would leave a hole that nobody notices."""
    door.write(clip(0, vector(0, 1)))
    writer = door.ingest()
    with pytest.raises(AlreadyExists):
        send_all(writer, [0])

    told: list[AlreadyExists] = []
    for call in (lambda: writer.send(clip(1)), writer.flush, writer.flush, writer.close):
        with pytest.raises(AlreadyExists) as refused:
            call()
        told.append(refused.value)
    # Another one each time: the frames of all calls before would hang on one that is raised again.
    assert len({id(error) for error in told}) == len(told)
    assert len({(error.reason, error.field, error.value) for error in told}) == 1
    assert [c.seq for c in user.clips()] == [0]
    with door.ingest() as again:
        again.send(clip(again.next_seq))
    assert [c.seq for c in user.clips()] == [0, 1]


def test_a_clip_that_is_wrong_in_itself_leaves_the_writer_as_it_was(
    user: User, door: Stream
) -> None:
    payload = bytes(16)
    wrong: list[Any] = [
        "no clip",
        clip(1, epoch=3),
        replace(clip(1), short_memory=np.full((2, 4), 1e6, np.float32)),
        clip(1, short_memory=EncodedTensor(Codec.F16, (2, 4), payload, 1)),
    ]
    with door.ingest() as writer:
        writer.send(clip(0))
        for what in wrong:
            with pytest.raises(InvalidArgument):
                writer.send(what)
        writer.send(clip(1))

    assert writer.acks == 2
    assert [c.seq for c in user.clips()] == [0, 1]


def test_a_closed_writer_takes_nothing_more(user: User, door: Stream) -> None:
    writer = door.ingest()
    writer.send(clip(0))
    writer.close()
    writer.close()

    with pytest.raises(FailedPrecondition) as caught:
        writer.send(clip(1))
    assert caught.value.reason == "CLOSED"
    assert [ack.duplicate for ack in writer.flush()] == [False]
    assert [c.seq for c in user.clips()] == [0]


def test_open_clips_are_searchable_before_they_are_sealed(user: User, door: Stream) -> None:
    with door.ingest() as writer:
        writer.send(clip(0, vector(0, 1), sealed=False))
        writer.flush()
        assert user.ground(vector(0, 1)).hits[0].clip.sealed is False
        writer.send(clip(0, vector(0, 0, 1)))
        writer.flush()

    (hit,) = user.ground(vector(0, 0, 1)).hits
    assert hit.clip.sealed
    assert hit.score == pytest.approx(1)


def test_a_stream_needs_its_space_to_begin(user: User) -> None:
    with pytest.raises(NotFound) as caught:
        write_to_nowhere(user.stream("new"))
    assert caught.value.reason == "USER_NOT_FOUND"


def write_to_nowhere(stream: Stream) -> None:
    with stream.ingest() as writer:
        writer.send(clip(0))
        writer.flush()
