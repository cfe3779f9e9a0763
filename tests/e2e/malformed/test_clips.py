"""Bad clips and tensors: the same typed error from a write and from an ingest, and nothing changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xxhash
import zstandard
from google.protobuf.message import Message

from memdb.types import limits
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import types_pb2 as pb
from memdb.wire.clips import clip_to_proto
from tests.e2e.malformed.calls import method_named, refusal
from tests.e2e.serving import DIM, Served, clip

pytestmark = pytest.mark.e2e


def tensor(payload: bytes, shape: list[int], codec: Any = 1) -> pb.Tensor:
    """A tensor whose checksum is right, whatever else is not."""
    return pb.Tensor(
        codec=codec,  # also numbers that nobody declared
        shape=shape,
        payload=payload,
        checksum=xxhash.xxh3_64_intdigest(payload),
    )


def zstd(data: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(data)


GOOD = np.ones((2, DIM), "<f2").tobytes()
SILENT = zstd(GOOD, write_content_size=False)
HALF_NAN = np.array([1] * (2 * DIM - 1) + [np.nan], "<f2").tobytes()
F32_INF = np.array([1] * (DIM - 1) + [np.inf], "<f4").tobytes()

VECTOR, TOKENS, FEATURES = "clip.global_memory", "clip.short_memory", "clip.transcript_features"
F16 = pb.TENSOR_CODEC_F16
LARGE = b"x" * (limits.KEYFRAME_BYTES_MAX + 1)

BAD_CLIPS: list[tuple[str, dict[str, Any], str, str]] = [
    ("no vector", {"global_memory": pb.Vector()}, "EMPTY", VECTOR),
    ("wrong dim", {"global_memory": pb.Vector(f32=b"\0\0\x80\x3f" * 3), "short_memory": None}, "DIM_MISMATCH", VECTOR),
    ("dim over the maximum", {"global_memory": pb.Vector(f32=b"\0" * 4 * 8193)}, "BAD_SHAPE", VECTOR),
    ("zero vector", {"global_memory": pb.Vector(f32=b"\0" * 4 * DIM)}, "ZERO_VECTOR", VECTOR),
    ("infinite vector", {"global_memory": pb.Vector(f32=F32_INF)}, "NOT_FINITE", VECTOR),
    ("torn vector", {"global_memory": pb.Vector(f32=b"\0" * 5)}, "BAD_SHAPE", VECTOR),
    ("zero tokens", {"short_memory": tensor(b"", [0, DIM])}, "EMPTY", TOKENS),
    ("tokens of another dim", {"short_memory": tensor(GOOD, [4, DIM // 2])}, "DIM_MISMATCH", TOKENS),
    ("one axis", {"short_memory": tensor(GOOD, [2 * DIM])}, "BAD_SHAPE", TOKENS),
    ("overflowing shape", {"short_memory": tensor(b"", [2**32 - 1, 2**32 - 1])}, "BAD_SHAPE", TOKENS),
    ("shape over the maximum", {"short_memory": tensor(b"", [65_536, 8192])}, "TOO_LARGE", TOKENS),
    ("short payload", {"short_memory": tensor(GOOD[:-1], [2, DIM])}, "LENGTH_MISMATCH", TOKENS),
    ("no codec", {"short_memory": tensor(GOOD, [2, DIM], 0)}, "BAD_CODEC", TOKENS),
    ("codec of the future", {"short_memory": tensor(GOOD, [2, DIM], 99)}, "BAD_CODEC", TOKENS),
    ("flipped bit", {"short_memory": pb.Tensor(codec=F16, shape=[2, DIM], payload=GOOD)}, "CHECKSUM", TOKENS),
    ("NaN token", {"short_memory": tensor(HALF_NAN, [2, DIM])}, "NOT_FINITE", TOKENS),
    ("NaN token in zstd", {"short_memory": tensor(zstd(HALF_NAN), [2, DIM], 2)}, "NOT_FINITE", TOKENS),
    ("no zstd frame", {"short_memory": tensor(GOOD, [2, DIM], 2)}, "BAD_FRAME", TOKENS),
    ("zstd of another size", {"short_memory": tensor(zstd(GOOD * 2), [2, DIM], 2)}, "BAD_FRAME", TOKENS),
    ("zstd bomb", {"short_memory": tensor(zstd(b"\0" * 2**26), [2, DIM], 2)}, "BAD_FRAME", TOKENS),
    ("zstd that does not say", {"short_memory": tensor(SILENT, [2, DIM], 2)}, "BAD_FRAME", TOKENS),
    ("end before start", {"start_ns": 10, "end_ns": 9}, "TIME_RANGE", "clip.end_ns"),
    ("time out of range", {"start_ns": -(2**63)}, "TIME_RANGE", "clip.start_ns"),
    ("seq out of range", {"seq": 2**64 - 1}, "OUT_OF_RANGE", "clip.seq"),
    ("seq reused", {"seq": 0}, "SEQ_REUSED", "clip.seq"),
    ("negative ratio", {"frames_per_token_row": -1.0}, "OUT_OF_RANGE", "clip.frames_per_token_row"),
    ("NaN ratio", {"frames_per_token_row": float("nan")}, "OUT_OF_RANGE", "clip.frames_per_token_row"),
    ("empty utterance", {"transcript": [pb.Utterance()]}, "EMPTY", "utterance.text"),
    ("utterance backwards", {"transcript": [pb.Utterance(start_ns=1, text="x")]}, "TIME_RANGE", "utterance.end_ns"),
    ("too many utterances", {"transcript": [pb.Utterance(text="x")] * 1025}, "TOO_LARGE", "clip.transcript"),
    ("features of nothing", {"transcript_features": pb.Matrix(rows=1, dim=1, f32=b"\0" * 4)}, "BAD_SHAPE", FEATURES),
    ("torn features", {"transcript_features": pb.Matrix(rows=2**31, dim=2**31, f32=b"\0" * 4)}, "BAD_SHAPE", FEATURES),
    ("event without label", {"events": [pb.SoundEvent(score=1)]}, "EMPTY", "event.label"),
    ("event score", {"events": [pb.SoundEvent(label="x", score=1.5)]}, "OUT_OF_RANGE", "event.score"),
    ("event NaN score", {"events": [pb.SoundEvent(label="x", score=float("nan"))]}, "OUT_OF_RANGE", "event.score"),
    ("empty keyframe", {"keyframes": [pb.Keyframe()]}, "EMPTY", "keyframe.jpeg"),
    ("too many keyframes", {"keyframes": [pb.Keyframe(jpeg=b"x")] * 65}, "TOO_LARGE", "clip.keyframes"),
    ("keyframe too large", {"keyframes": [pb.Keyframe(jpeg=LARGE)]}, "TOO_LARGE", "keyframe.jpeg"),
    ("label without key", {"labels": {"": "x"}}, "EMPTY", "clip.labels"),
    ("too many labels", {"labels": {str(n): "" for n in range(65)}}, "TOO_LARGE", "clip.labels"),
    ("label too long", {"labels": {"k": "x" * 1025}}, "TOO_LARGE", "clip.labels[k]"),
]  # fmt: skip


def bad_clip(changes: dict[str, Any]) -> pb.Clip:
    message: Any = clip_to_proto(clip(1))
    for key, changed in changes.items():
        message.ClearField(key)
        if isinstance(changed, list):
            getattr(message, key).extend(changed)
        elif isinstance(changed, dict):
            getattr(message, key).update(changed)
        elif isinstance(changed, Message):
            getattr(message, key).CopyFrom(changed)
        elif changed is not None:
            setattr(message, key, changed)
    parsed: pb.Clip = message
    return parsed


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [entry[1:] for entry in BAD_CLIPS],
    ids=[entry[0] for entry in BAD_CLIPS],
)
def test_bad_clips(served: Served, changes: dict[str, Any], reason: str, field: str) -> None:
    message = bad_clip(changes)
    write = clip_pb.WriteClipsRequest(user="u", stream="cam", clips=[message])
    start = clip_pb.IngestClipsRequest(start=clip_pb.IngestStart(user="u", stream="cam"))
    sent = clip_pb.IngestClipsRequest(clips=[message])
    unary = refusal(served, method_named("WriteClips"), write.SerializeToString())
    streamed = refusal(
        served, method_named("IngestClips"), start.SerializeToString(), sent.SerializeToString()
    )
    for error in (unary, streamed):
        assert (error.reason, error.field) == (reason, field)
    assert unary.value == streamed.value
