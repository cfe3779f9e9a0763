"""Short-term memory coded as its stream's handle says."""

from __future__ import annotations

import numpy as np
import pytest

from memdb import InvalidArgument
from memdb.codecs.tensors import decode_tensor, encode_tensor
from memdb.types.arrays import Array
from memdb.types.database import Database, User
from memdb.types.tensor import CODEC_NAMES, Codec
from tests.congruence.media import clip

pytestmark = pytest.mark.congruence

DIM, FRAMES, REGIONS = 64, 6, 4


@pytest.fixture
def watcher(db: Database) -> User:
    db.create_space("wide", dim=DIM)
    return db.user("walter")


def tokens() -> Array:
    """A still scene: every region much as it was in the frame before."""
    rng = np.random.default_rng(3)
    scene = rng.normal(size=(1, REGIONS, DIM)) + 0.1 * rng.normal(size=(FRAMES, REGIONS, DIM))
    return scene.reshape(-1, DIM).astype(np.float32)


@pytest.mark.parametrize("name", CODEC_NAMES)
def test_both_ways_of_writing_code_by_the_handle(watcher: User, name: str) -> None:
    """What comes back is what the codec makes of it, to the bit, whichever way it went."""
    door = watcher.stream("door", space="wide", codec=name)
    seen, feature = tokens(), np.ones(DIM, np.float32)
    parts = {"short_memory": seen, "frames_per_token_row": 1 / REGIONS}
    acks = [door.write(clip(0, feature, **parts))]
    with door.ingest() as writer:
        writer.send(clip(1, feature, **parts))
        acks += writer.flush()

    expected = decode_tensor(encode_tensor(seen, CODEC_NAMES[name], period=REGIONS))
    for kept in watcher.short_memory([ack.clip_id for ack in acks]):
        assert kept.tobytes() == expected.tobytes()
    whole = watcher.clip(acks[0].clip_id, with_short_memory=True).short_memory
    assert isinstance(whole, np.ndarray)
    assert whole.tobytes() == expected.tobytes()

    found = watcher.ground(feature, question_tokens=seen[4:5], rerank=2).hits
    assert [hit.clip.seq for hit in found] == [0, 1]
    assert all(hit.spans for hit in found)


def test_a_clip_sent_again_in_the_same_codec_is_stored_once(watcher: User) -> None:
    door = watcher.stream("door", space="wide", codec="delta")
    first, again = (
        door.write(clip(0, np.ones(DIM, np.float32), short_memory=tokens())) for _ in range(2)
    )
    assert (first.duplicate, again.duplicate) == (False, True)


def test_what_was_coded_before_stays_as_it_is(watcher: User) -> None:
    coded = encode_tensor(tokens(), Codec.INT8)
    door = watcher.stream("door", space="wide", codec="int4")
    ack = door.write(clip(0, np.ones(DIM, np.float32), short_memory=coded))
    assert watcher.short_memory([ack.clip_id])[0].tobytes() == decode_tensor(coded).tobytes()


@pytest.mark.parametrize("name", ["", "F16", 4])
def test_an_unknown_codec_is_refused(watcher: User, name: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        watcher.stream("door", space="wide", codec=name)
    assert (refused.value.reason, refused.value.field) == ("BAD_CODEC", "codec")
