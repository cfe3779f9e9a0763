"""What is parsed on the event loop is quick there, and what is not quick is found out cheaply."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memdb.codecs.tensors import encode_tensor
from memdb.server.weigh import INLINE_BYTES_MAX, is_light
from memdb.types.clip import Clip, Keyframe, SoundEvent, Utterance
from memdb.types.tensor import Codec
from memdb.v1 import clip_service_pb2 as pb
from memdb.v1 import types_pb2
from memdb.wire.clips import clip_to_proto

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
    "large": message(clip(keyframes=(Keyframe(0, b"x" * 600_000),))),
    "a start": pb.IngestClipsRequest(start=pb.IngestStart(user="u")).SerializeToString(),
    "group": b"\x13\x14",
    "cut short": message(clip())[:-1],
}


@pytest.mark.parametrize("data", LIGHT.values(), ids=LIGHT)
def test_ordinary_messages_are_light(data: bytes) -> None:
    assert is_light(data)


@pytest.mark.parametrize("data", HEAVY.values(), ids=HEAVY)
def test_what_takes_long_is_not(data: bytes) -> None:
    begun = time.thread_time()
    assert not is_light(data)
    # Far less than parsing it takes.
    assert time.thread_time() - begun < 0.01


@given(st.binary(max_size=300))
def test_any_bytes_are_weighed(data: bytes) -> None:
    if is_light(data):
        assert data == b"" or data[0] >> 3 == 2


def test_varints_without_end() -> None:
    assert not is_light(b"\xff" * 30)
    assert not is_light(b"\xff")
