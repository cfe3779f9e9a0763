"""Answers put together by hand are protobuf's to the last byte, from clips that are kept and from others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memdb.codecs.tensors import encode_tensor
from memdb.engine.clip_cache import ClipCache
from memdb.engine.hydrate import USUAL, clip_bytes
from memdb.types.arm import Arm, ArmMatch
from memdb.types.clip import (
    NO_GLOBAL_MEMORY,
    Keyframe,
    SoundEvent,
    StoredClip,
    Utterance,
)
from memdb.types.coverage import StreamCoverage
from memdb.types.grounding import Grounding, Hit, Span
from memdb.types.stream import Gap
from memdb.v1 import grounding_service_pb2 as pb
from memdb.wire.grounding import grounding_to_proto
from memdb.wire.groundings import groundings_to_proto
from memdb.wire.packed_groundings import (
    KEPT_BYTES_MAX,
    pack_grounding,
    pack_groundings,
    pack_streamed,
)

SIZES = (0, 1, 10, 127, 128, 300, 5_000, KEPT_BYTES_MAX)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
TIME = st.integers(-(2**62), 2**62)
FLOAT = st.one_of(st.sampled_from([0.0, -0.0, 1.0, float("nan"), float("-inf")]), st.floats())
COUNT = st.integers(0, 2**32 - 1)


@st.composite
def clips(draw: st.DrawFn) -> StoredClip:
    vector = NO_GLOBAL_MEMORY
    if draw(st.booleans()):
        dtype = draw(st.sampled_from([np.float16, np.float32]))
        vector = np.arange(draw(st.sampled_from([1, 64, 2000])), dtype=dtype)
    short = np.ones((2, 4), np.float16) if draw(st.integers(0, 9)) == 0 else None
    jpegs = st.sampled_from(SIZES[1:]).map(bytes)
    return StoredClip(
        seq=draw(st.integers(0, 2**63 - 1)),
        epoch=draw(COUNT),
        start_ns=draw(TIME),
        end_ns=draw(TIME),
        global_memory=vector,
        short_memory=None if short is None else encode_tensor(short),
        frames_per_token_row=draw(st.none() | st.floats(0.5, 9)),
        transcript=tuple(
            draw(
                st.lists(
                    st.builds(Utterance, st.just(1), st.just(2), TEXT, TEXT, st.none()), max_size=2
                )
            )
        ),
        events=tuple(
            draw(
                st.lists(
                    st.builds(SoundEvent, st.just(1), st.just(2), TEXT, st.just(0.5)), max_size=2
                )
            )
        ),
        keyframes=tuple(draw(st.lists(st.builds(Keyframe, st.just(3), jpegs), max_size=2))),
        labels=draw(st.dictionaries(TEXT, TEXT, max_size=5)),
        sealed=draw(st.booleans()),
        id="0123456789abcdef" * 2,
        user=draw(TEXT),
        stream=draw(TEXT),
        space="p" * draw(st.sampled_from(SIZES[:6])),
        revision=draw(st.integers(0, 2**63 - 1)),
    )


SPANS = st.builds(Span, TIME, TIME, FLOAT, st.none() | COUNT, st.none() | COUNT)
ARMS = st.builds(
    Arm,
    st.just("vector"),
    FLOAT,
    FLOAT,
    COUNT,
    FLOAT,
    st.just((ArmMatch(1, 2, 3, ("a", "word")),)) | st.just(()),
)
GAPS = st.builds(Gap, TEXT, COUNT, COUNT, COUNT, st.none() | TIME, st.none() | TIME)
COVERAGE = st.builds(
    StreamCoverage, TEXT, COUNT, st.just("UTC"), st.none(), st.none(), COUNT, st.just(((1, 2),))
)


def few(of: st.SearchStrategy[Any], most: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    """Mostly none, as in most answers."""
    return st.one_of(st.just(()), st.just(()), st.lists(of, max_size=most).map(tuple))


@st.composite
def answers(draw: st.DrawFn, count: int = 3) -> list[Grounding]:
    """Answers that have clips in common, and gaps or not."""
    found = draw(st.lists(clips(), min_size=1, max_size=4))
    plain = st.builds(Hit, st.sampled_from(found), FLOAT, st.floats(0, 1))
    odd = st.builds(
        Hit,
        st.sampled_from(found),
        FLOAT,
        st.none() | FLOAT,
        few(SPANS),
        few(st.floats(width=32), 9),
        few(ARMS),
    )
    gaps = draw(few(GAPS))
    return [
        Grounding(
            tuple(draw(st.lists(plain | odd, max_size=9))),
            draw(st.integers(0, 2**63 - 1)),
            draw(st.sampled_from(["none", "recent"])),
            gaps if draw(st.integers(0, 3)) else draw(few(GAPS)),
            draw(few(COVERAGE)),
            draw(st.booleans()),
            draw(st.none() | TEXT),
            approximate=draw(st.booleans()),
            gaps_left_out=draw(st.sampled_from([0, 0, 1, 2**40])),
        )
        for _ in range(draw(st.integers(0, count)))
    ]


def cache_of(groundings: list[Grounding], bytes_max: int) -> ClipCache:
    """A cache in which the clips of these answers are kept, but those that are too large."""
    cache = ClipCache(bytes_max)
    kept = cache.of_user()
    clips = {hit.clip: None for one in groundings for hit in one.hits}
    for number, clip in enumerate(clips):
        if clip.short_memory is None:
            kept.put(number, 1, USUAL, clip, clip_bytes(clip))
    return cache


@given(answers(), st.sampled_from([0, 1 << 20, 1 << 30]))
def test_packed_answers_are_protobufs(groundings: list[Grounding], bytes_max: int) -> None:
    cache = cache_of(groundings, bytes_max)
    for _ in range(2):  # the second time from what the first has left
        for one in groundings:
            expected = grounding_to_proto(one).SerializeToString(deterministic=True)
            assert pack_grounding(one, cache) == expected
        message = groundings_to_proto(groundings)
        packed = pack_groundings(groundings, cache)
        assert packed == message.SerializeToString(deterministic=True)
        streamed = pb.GroundStreamResponse(ids=[0, 7, 2**64 - 1], answers=message)
        assert pack_streamed(streamed.ids, packed) == streamed.SerializeToString(deterministic=True)
    assert bytes_max or not cache.packed


def clip(**changes: Any) -> StoredClip:
    fields: dict[str, Any] = {
        "seq": 1,
        "start_ns": 5,
        "end_ns": 6,
        "global_memory": NO_GLOBAL_MEMORY,
        "sealed": True,
        "id": "0" * 32,
        "user": "alice",
        "stream": "door",
        "space": "cam",
        "revision": 3,
    }
    return StoredClip(**fields | changes)


def test_only_clips_that_are_kept_leave_their_bytes() -> None:
    held, large, other = (
        clip(),
        clip(keyframes=(Keyframe(1, bytes(KEPT_BYTES_MAX)),)),
        clip(seq=2),
    )
    cache = ClipCache(1 << 30)
    kept = cache.of_user()
    kept.put(1, 1, USUAL, held, clip_bytes(held))
    kept.put(2, 1, USUAL, large, clip_bytes(large))
    answer = Grounding(tuple(Hit(one, 0.5, 0.25) for one in (held, large, other)), 7)

    first = pack_grounding(answer, cache)

    assert set(cache.packed) == {held}
    # Of a clip, and not of what is like it.
    assert pack_grounding(replace(answer, hits=answer.hits[2:]), cache) != first
    assert pack_grounding(answer, cache) == first
    kept.retire()
    assert not cache.packed
    assert cache.bytes == 0
    assert pack_grounding(answer, cache) == first
    assert not cache.packed
