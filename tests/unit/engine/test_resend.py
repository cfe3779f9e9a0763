"""A number is written once: the same again is a duplicate, another content is refused once sealed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xxhash
import zstandard

from memdb import AlreadyExists, Clip, Keyframe, Retention, SoundEvent, Utterance
from memdb.clock import ManualClock
from memdb.codecs.tensors import encode_tensor
from memdb.engine.database import EmbeddedDatabase
from memdb.types.arrays import Array
from memdb.types.tensor import Codec, EncodedTensor
from tests.unit.engine.conftest import CONFIG, SECOND_NS, clip, vector


def test_the_same_again_is_a_duplicate_of_the_same_commit(db: EmbeddedDatabase) -> None:
    door = db.user("alice").stream("door", space="cam")
    first = door.write(clip(0))
    door.write(clip(1))
    again = door.write(clip(0))
    assert (again.clip_id, again.revision, again.duplicate) == (first.clip_id, first.revision, True)
    assert db.user("alice").revision() == 2


CHANGES = {
    "start_ns": 1,
    "end_ns": 11 * SECOND_NS,
    "global_memory": vector(77),
    "short_memory": np.zeros((1, 8), np.float16),
    "frames_per_token_row": 0.25,
    "transcript": (Utterance(0, 1, "hello"),),
    "events": (SoundEvent(0, 1, "bark", 0.5),),
    "keyframes": (Keyframe(0, b"jpeg"),),
    "labels": {"zone": "porch"},
    "sealed": False,
}


@pytest.mark.parametrize("field", CHANGES)
def test_any_other_content_under_a_sealed_number_is_refused(
    db: EmbeddedDatabase, field: str
) -> None:
    user = db.user("alice")
    door = user.stream("door", space="cam")
    ack = door.write(clip(0))
    with pytest.raises(AlreadyExists) as refused:
        door.write(clip(0, **{field: CHANGES[field]}))
    assert (refused.value.reason, refused.value.field, refused.value.value) == (
        "SEQ_REUSED",
        "clip.seq",
        "0",
    )
    assert user.revision() == ack.revision
    assert [found.revision for found in user.clips()] == [ack.revision]


def test_an_open_clip_is_revised_and_late_copies_of_it_are_duplicates(
    db: EmbeddedDatabase,
) -> None:
    user = db.user("alice")
    door = user.stream("door", space="cam")
    drafts = [clip(0, end_ns=n * SECOND_NS, sealed=False) for n in (1, 2)]
    acks = [door.write(draft) for draft in (*drafts, clip(0))]
    assert [ack.revision for ack in acks] == [1, 2, 3]
    assert len({ack.clip_id for ack in acks}) == 1
    for draft, ack in zip((*drafts, clip(0)), acks, strict=True):
        late = door.write(draft)
        assert (late.duplicate, late.revision) == (True, ack.revision)
    with pytest.raises(AlreadyExists):
        door.write(clip(0, end_ns=3 * SECOND_NS, sealed=False))
    (now,) = user.clips()
    assert (now.end_ns, now.sealed, now.revision) == (10 * SECOND_NS, True, 3)
    assert [c.end_ns // SECOND_NS for r in (1, 2, 3) for c in user.clips(as_of=r)] == [1, 2, 10]
    assert user.clips(as_of=0) == []


def test_epochs_number_on_their_own(db: EmbeddedDatabase) -> None:
    door = db.user("alice").stream("door", space="cam")
    acks = [door.write(clip(0, epoch=epoch, labels={"n": str(epoch)})) for epoch in (0, 1)]
    assert len({ack.clip_id for ack in acks}) == 2
    assert [door.ledger(epoch=epoch).next_seq for epoch in (0, 1, 2)] == [1, 1, 0]


def test_several_versions_in_one_call_have_a_revision_each(db: EmbeddedDatabase) -> None:
    door = db.user("alice").stream("door", space="cam")
    batch: list[Clip] = [
        clip(0, sealed=False, labels={"n": "1"}),
        clip(1),
        clip(0, sealed=False, labels={"n": "2"}),
        clip(0),
        clip(1),
    ]
    acks = door.write_many(batch)
    assert [(ack.revision, ack.duplicate) for ack in acks] == [
        (1, False),
        (1, False),
        (2, False),
        (3, False),
        (1, True),
    ]


MEMORY = np.random.default_rng(1).standard_normal((16, 8)).astype(np.float16)


def zstd_of_another_release(array: Array) -> EncodedTensor:
    """The elements that "f16-zstd" holds, in a frame with other bytes."""
    payload = zstandard.ZstdCompressor(level=19, write_checksum=True).compress(array.tobytes())
    rows, dim = array.shape
    tensor = EncodedTensor(Codec.F16_ZSTD, (rows, dim), payload, xxhash.xxh3_64_intdigest(payload))
    assert payload != encode_tensor(array, Codec.F16_ZSTD).payload
    return tensor


def rich(short_memory: Array | EncodedTensor | None, **changes: object) -> Clip:
    """A clip with something of everything that its sender chose."""
    return clip(
        0,
        short_memory=short_memory,
        frames_per_token_row=0.25,
        transcript=(Utterance(0, 1, "hello", "Ann", "en"),),
        events=(SoundEvent(0, 1, "bark", 0.1),),
        keyframes=(Keyframe(0, b"other"),),
        labels={"zone": "yard"},
        **changes,
    )


@pytest.mark.parametrize("reopened", [False, True])
def test_the_same_clip_coded_otherwise_is_a_duplicate(
    folder: Path, clock: ManualClock, reopened: bool
) -> None:
    array = np.repeat(MEMORY, 8, axis=0)
    copies = [
        encode_tensor(array, Codec.F16_ZSTD),
        zstd_of_another_release(array),
        encode_tensor(array, Codec.F16_PLANES),
        encode_tensor(array, Codec.F16),
    ]
    assert len({bytes(copy.payload) for copy in copies}) == 4
    db = EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock)
    db.create_space("cam", dim=8)
    first = db.user("alice").stream("door", space="cam").write(rich(copies[0]))
    if reopened:
        db.close()
        db = EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock)
    door = db.user("alice").stream("door")
    for copy in copies:
        again = door.write(rich(copy))
        assert (again.duplicate, again.revision, again.clip_id) == (
            True, first.revision, first.clip_id,
        )  # fmt: skip
    (stored,) = db.user("alice").encoded_short_memory([first.clip_id])
    assert bytes(stored.payload) == copies[0].payload
    assert db.verify().ok
    db.close()


@pytest.mark.parametrize("field", CHANGES)
def test_what_differs_in_more_than_its_coding_is_refused(db: EmbeddedDatabase, field: str) -> None:
    array = np.repeat(MEMORY, 8, axis=0)
    door = db.user("alice").stream("door", space="cam")
    door.write(rich(array))
    changed = {"short_memory": zstd_of_another_release(array), field: CHANGES[field]}
    if field == "frames_per_token_row":
        changed[field] = 0.5
    with pytest.raises(AlreadyExists):
        door.write(replace(rich(array), **changed))  # type: ignore[arg-type]
    other = array.copy()
    other[-1, -1] += 1
    for tensor in (
        zstd_of_another_release(other),
        zstd_of_another_release(array.reshape(64, 16)[:, :8].copy()),
        encode_tensor(array, Codec.COARSE, period=4),
        None,
    ):
        with pytest.raises(AlreadyExists):
            door.write(rich(tensor))


def test_one_element_of_another_sign_of_zero_is_another_content(db: EmbeddedDatabase) -> None:
    door = db.user("alice").stream("door", space="cam")
    zeros = np.zeros((16, 8), np.float16)
    door.write(clip(0, short_memory=zeros))
    with pytest.raises(AlreadyExists):
        door.write(clip(0, short_memory=zstd_of_another_release(-zeros)))
    assert door.write(clip(0, short_memory=zstd_of_another_release(zeros))).duplicate


def test_another_content_under_a_number_that_was_given_up_is_refused(
    folder: Path, clock: ManualClock
) -> None:
    """Else an agent that numbers from 0 anew hears of each clip that it was stored, and none is."""
    drafts = [clip(1, end_ns=n * SECOND_NS + 10 * SECOND_NS, sealed=False) for n in (2, 3)]
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=8)
        door = db.user("alice").stream("door", space="cam")
        acks = door.write_many([clip(0), *drafts, clip(1), clip(2), clip(3)])
        door.set_retention(Retention(max_clips=2))
        assert db.sweep().clips == 2
        db.user("alice").erase_clips([acks[4].clip_id])
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        door = db.user("alice").stream("door", space="cam")
        for again, ack in (
            (clip(0), acks[0]),
            (clip(1), acks[1]),
            *zip(drafts, acks[1:], strict=False),
        ):
            late = door.write(again)
            assert (late.duplicate, late.clip_id) == (True, ack.clip_id)
        for seq in (0, 1):
            with pytest.raises(AlreadyExists) as refused:
                door.write(clip(seq, labels={"zone": "yard"}))
            assert refused.value.reason == "SEQ_REUSED"
        # Of what was erased nothing is known any more, not even by what it would be known.
        assert door.write(clip(2, labels={"zone": "yard"})).duplicate
        assert [found.seq for found in db.user("alice").clips()] == [3]
        assert db.verify().ok
