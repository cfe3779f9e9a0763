"""What a value prints as: what it is, never what its vectors and pictures hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from memdb import (
    Clip,
    Gap,
    Grounding,
    Hit,
    Keyframe,
    LongTermMemory,
    Recall,
    RecallHit,
    StoredClip,
    Utterance,
)
from memdb.codecs.tensors import encode_tensor
from memdb.types.tensor import Codec

JPEG = b"\xff\xd8" + bytes(30_000)
SHORT = np.ones((64, 1536), np.float16)


def clip(**fields: Any) -> Clip:
    given: dict[str, Any] = {
        "seq": 7,
        "start_ns": 10,
        "end_ns": 20,
        "global_memory": np.ones(1536, np.float32),
    }
    return Clip(**(given | fields))


def stored(**fields: Any) -> StoredClip:
    one = clip(**fields)
    names = [name for name in Clip.__slots__ if name != "__weakref__"]
    given = {name: getattr(one, name) for name in names}
    return StoredClip(**given, id="0" * 32, user="alice", stream="door", space="clip", revision=3)


def test_a_clip_shows_what_it_was_given_and_no_more() -> None:
    assert repr(clip()) == "Clip(seq=7, start_ns=10, end_ns=20, global_memory=<1536 float32>)"
    full = clip(
        short_memory=SHORT,
        keyframes=[Keyframe(10, JPEG)],
        transcript=[Utterance(10, 11, "hello")],
        labels={"zone": "porch"},
        sealed=False,
    )
    assert repr(full) == (
        "Clip(seq=7, start_ns=10, end_ns=20, global_memory=<1536 float32>, "
        "short_memory=<64x1536 float16>, "
        "transcript=(Utterance(start_ns=10, end_ns=11, text='hello'),), "
        "keyframes=(Keyframe(time_ns=10, jpeg=<30002 bytes>),), "
        "labels={'zone': 'porch'}, sealed=False)"
    )


def test_a_coded_tensor_shows_its_shape() -> None:
    one = clip(short_memory=encode_tensor(SHORT, Codec.F16))
    assert "EncodedTensor(codec=F16, shape=(64, 1536), payload=<196608 bytes>, checksum=" in repr(
        one
    )


@pytest.mark.parametrize("many", [1, 1000])
def test_answers_stay_short_however_many_hits_they_have(many: int) -> None:
    one = stored(
        short_memory=SHORT,
        keyframes=[Keyframe(10, JPEG)] * 64,
        transcript=[Utterance(10, 11, "word " * 1000)] * 1000,
        labels={f"label-{number}": "v" * 1000 for number in range(64)},
    )
    hit = Hit(one, 0.5)
    assert repr(one).startswith("StoredClip(seq=7, ")
    assert "id='00000000000000000000000000000000', user='alice'" in repr(one)
    assert "… 1000 in all" in repr(one)
    assert "score=0.5" in repr(hit)
    answer = Grounding((hit,) * many, 3, gaps=(Gap("door", 0, 1, 2),) * 100)
    recalled = Recall((RecallHit("clip", 0.5, {"lexical": 1.0}, clip=one),) * many, 3, ("lexical",))
    for value in (one, hit, answer, recalled):
        assert len(repr(value)) < 8_000
    assert ("… 1000 in all), revision=3" in repr(answer)) is (many == 1000)
    long_term = LongTermMemory(np.ones((512, 768), np.float32), (), "clip", 3)
    assert repr(long_term) == (
        "LongTermMemory(tokens=<512x768 float32>, spans=(), space='clip', revision=3)"
    )


def test_what_is_equal_stays_equal_and_hashes_as_before() -> None:
    one = stored()
    assert one == one
    assert one != replace(one)
    assert Hit(one, 0.5) == Hit(one, 0.5)
    assert hash(Utterance(1, 2, "x")) == hash(Utterance(1, 2, "x"))
    assert Keyframe(1, b"x") == Keyframe(1, b"x")
