"""What is parsed on the event loop is quick there, what is not quick is found out cheaply, and either is read as
protobuf reads it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from memdb.codecs.tensors import encode_tensor
from memdb.errors import InvalidArgument, MemdbError
from memdb.server.weigh import INLINE_BYTES_MAX, light_pieces
from memdb.types.clip import Clip, Keyframe, SoundEvent, Utterance
from memdb.types.tensor import Codec
from memdb.v1 import clip_service_pb2 as pb
from memdb.v1 import types_pb2
from memdb.wire.clips import clip_from_proto, clip_to_proto
from memdb.wire.ingest import ingest_parts, ingested_clips
from memdb.wire.unknown_fields import check_known

VECTOR = np.ones(1536, np.float32)
PLAIN = np.ones((64, 1536), np.float16)


def message(*clips: types_pb2.Clip) -> bytes:
    return pb.IngestClipsRequest(clips=clips).SerializeToString()


def clip(**fields: object) -> types_pb2.Clip:
    return clip_to_proto(
        Clip(seq=0, start_ns=0, end_ns=10, global_memory=VECTOR, **fields)  # type: ignore[arg-type]
    )


def said(count: int) -> tuple[Utterance, ...]:
    return tuple(Utterance(0, 1, "a word or two") for _ in range(count))


LIGHT = {
    "plain": message(clip(short_memory=PLAIN)),
    "two plain": message(clip(short_memory=PLAIN), clip(short_memory=PLAIN)),
    "with speech": message(
        clip(
            short_memory=PLAIN,
            transcript=said(16),
            transcript_features=np.ones((16, 384), np.float32),
            events=(SoundEvent(0, 1, "bell", 0.5),),
            keyframes=(Keyframe(0, b"x" * 50_000),),
            labels={"zone": "porch"},
        )
    ),
    "bare": message(*[clip() for _ in range(8)]),
}

HEAVY = {
    "zstd": message(
        clip(short_memory=encode_tensor(np.ones((4000, 1536), np.float16), Codec.F16_ZSTD))
    ),
    "crowd of utterances": message(clip(transcript=said(1024))),
    "long texts": message(clip(transcript=(Utterance(0, 1, "é" * 16_000),) * 8)),
    "crowd of clips": message(*[clip() for _ in range(64)]),
    "empty clips": b"\x12\x00" * (INLINE_BYTES_MAX // 2),
    "empty utterances": message(types_pb2.Clip(transcript=[types_pb2.Utterance()] * 200_000)),
    "long shape": message(
        types_pb2.Clip(
            short_memory=types_pb2.Tensor(codec=types_pb2.TENSOR_CODEC_F16, shape=[1] * 400_000)
        )
    ),
    "codec twice": message(types_pb2.Clip())
    + b"\x12\x06\x32\x04\x08\x01\x08\x02",  # merged: the last one counts
    "junk in a vector": b"\x12\x83\x80\x08\x2a\xff\xff\x07" + b"\x78\x00" * 65_535 + b"\x78",
    "large": message(clip(keyframes=(Keyframe(0, b"x" * 600_000),) * 2)),
    "a start": pb.IngestClipsRequest(start=pb.IngestStart(user="u")).SerializeToString(),
    "number without end": b"\x12\x80\x80\x40\x08" + b"\xff" * ((1 << 20) - 1),
    "group": b"\x13\x14",
    "cut short": message(clip())[:-1],
}


@pytest.mark.parametrize("data", LIGHT.values(), ids=LIGHT)
def test_ordinary_messages_are_light(data: bytes) -> None:
    assert light_pieces(data) is not None


@pytest.mark.parametrize("data", HEAVY.values(), ids=HEAVY)
def test_what_takes_long_is_not(data: bytes) -> None:
    took = []
    for _ in range(3):
        begun = time.thread_time()
        assert light_pieces(data) is None
        took.append(time.thread_time() - begun)
    # Far less than parsing it takes; the least, for Python's collector may come by.
    assert min(took) < 0.01


@given(st.binary(max_size=300))
def test_any_bytes_are_weighed(data: bytes) -> None:
    if light_pieces(data) is not None:
        assert data == b"" or data[0] >> 3 == 2


def test_varints_without_end() -> None:
    assert light_pieces(b"\xff" * 30) is None
    assert light_pieces(b"\xff") is None


def small(seq: int, *, tensor: bool, rich: bool) -> types_pb2.Clip:
    """A clip whose every byte a mutation may hit."""
    plain = np.arange(8, dtype=np.float16).reshape(2, 4)
    return clip_to_proto(
        Clip(
            seq=seq,
            start_ns=seq * 10,
            end_ns=seq * 10 + 10,
            global_memory=np.arange(1, 5, dtype=np.float16),
            short_memory=plain if tensor else None,
            frames_per_token_row=0.5 if tensor else None,
            transcript=(Utterance(0, 1, "a word", "ann", "en"),) if rich else (),
            events=(SoundEvent(0, 1, "bell", 0.5),) if rich else (),
            keyframes=(Keyframe(3, b"jpeg"),) if rich else (),
            labels={"zone": "porch"} if rich else {},
        )
    )


SMALL = [
    message(small(0, tensor=True, rich=False)),
    message(small(0, tensor=True, rich=True), small(1, tensor=False, rich=False)),
    message(small(0, tensor=False, rich=True), small(1, tensor=True, rich=True)),
    # One after the other is one message with both, and fields in another order are the same clip.
    message(small(0, tensor=True, rich=False)) * 2,
    b"".join(map(bytes, ingest_parts(clip_from_proto(small(2, tensor=True, rich=True))))),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A message with some of its bytes changed, left out, put in, or there twice."""
    data = bytearray(draw(st.sampled_from(SMALL)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 40)))
        how = draw(st.sampled_from(("change", "cut", "insert", "repeat")))
        if how == "change" and at < len(data):
            data[at] = draw(st.integers(0, 255))
        elif how == "cut":
            del data[at:end]
        elif how == "insert":
            data[at:at] = draw(st.binary(max_size=6))
        elif how == "repeat":
            data[at:at] = data[at:end]
    return bytes(data)


def outcome(clips: Callable[[], Iterable[Clip]]) -> tuple[list[bytes], str]:
    """The clips before the first bad one, as bytes, and why it is bad."""
    found: list[bytes] = []
    try:
        found.extend(clip_to_proto(one).SerializeToString(deterministic=True) for one in clips())
    except MemdbError as error:
        return found, error.reason
    return found, ""


def by_protobuf(data: bytes) -> Iterator[Clip]:
    """The clips of a message as the full parser alone makes them."""
    try:
        request = pb.IngestClipsRequest.FromString(data)
    except DecodeError as error:
        raise InvalidArgument("no message", reason="BAD_MESSAGE") from error
    check_known(request, len(data))
    if request.HasField("start") or not request.clips:
        raise InvalidArgument("no clips", reason="CLIP_EXPECTED")
    yield from map(clip_from_proto, request.clips)


@settings(max_examples=500)
@given(mutated())
def test_a_message_is_the_same_whichever_way_it_is_read(data: bytes) -> None:
    pieces = light_pieces(data)
    by_itself = outcome(lambda: ingested_clips(data))
    if pieces is not None:
        assert outcome(lambda: ingested_clips(data, pieces)) == by_itself
    parsed = outcome(lambda: by_protobuf(data))
    assert by_itself[0] == parsed[0]
    # Of several things that are wrong one way may see another first.
    assert bool(by_itself[1]) == bool(parsed[1])


def test_most_small_messages_are_light() -> None:
    assert all(light_pieces(data) for data in SMALL)
