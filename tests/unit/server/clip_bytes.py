"""Messages of an ingest as bytes: as Python writes them, and field by field as anybody may."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from memdb.types.clip import Clip, Keyframe, SoundEvent, Utterance
from memdb.types.tensor import Codec
from memdb.v1 import clip_service_pb2 as pb
from memdb.wire.clips import clip_to_proto
from memdb.wire.ingest import ingest_parts

DIM = 16
ROWS = 8  # a payload of 256 bytes: shorter ones are left to Python


def message(*clips: Clip, codec: Codec = Codec.F16) -> bytes:
    return b"".join(bytes(part) for clip in clips for part in ingest_parts(clip, codec))


def clip(seq: int = 0, **more: Any) -> Clip:
    given: dict[str, Any] = {
        "start_ns": 10,
        "end_ns": 20,
        "global_memory": np.arange(1, DIM + 1, dtype=np.float32),
        "short_memory": np.arange(ROWS * DIM, dtype=np.float16).reshape(ROWS, DIM),
    }
    return Clip(seq=seq, **(given | more))


def rich(seq: int = 0, **more: Any) -> Clip:
    given: dict[str, Any] = {
        "epoch": 3,
        "global_memory": np.arange(1, DIM + 1, dtype=np.float16),
        "frames_per_token_row": 0.25,
        "transcript": (Utterance(11, 12, "a wörd", "ann", "en"), Utterance(12, 12, "𝄞")),
        "transcript_features": np.arange(2 * 5, dtype=np.float32).reshape(2, 5),
        "events": (SoundEvent(-5, 7, "bell", 0.5), SoundEvent(0, 0, "door", 1.0)),
        "keyframes": (Keyframe(13, b"jpeg"),),
        "labels": {"zone": "porch", "äh": "", "a": "b"},
        "sealed": False,
    }
    return clip(seq, **(given | more))


PLAIN = {
    "bare": message(clip(short_memory=None)),
    "with short-term memory": message(clip()),
    "with everything": message(rich()),
    "several": message(clip(0), rich(1), clip(2, short_memory=None)),
    "as protobuf writes it": pb.IngestClipsRequest(
        clips=[clip_to_proto(rich()), clip_to_proto(clip(2**63 - 1))]
    ).SerializeToString(),
    "at the limits": message(
        clip(
            epoch=2**32 - 1,
            start_ns=-(2**62),
            end_ns=2**62,
            frames_per_token_row=1e6,
            events=(SoundEvent(0, 0, "x" * 1024, 0.0), SoundEvent(0, 0, "ß" * 1024, -0.0)),
            labels={str(number).rjust(64): "y" * 64 for number in range(64)},
            transcript=(Utterance(0, 0, "z" * 16_384), Utterance(0, 0, "é" * 16_000)),
        )
    ),
    "a clip as agents send it": message(
        clip(
            global_memory=np.ones(1536, np.float32),
            short_memory=np.full((64, 1536), -65504, np.float16),
            keyframes=(Keyframe(0, b"x" * 60_000),) * 4,
        )
    ),
}


class Field(NamedTuple):
    """A field of a message, as it may be written."""

    number: int
    kind: int
    value: Any  # of a message, its fields

    def coded(self, stretch: int = 0) -> bytes:
        tag = varint(self.number << 3 | self.kind)
        if self.kind == 0:
            return tag + varint(self.value, stretch)
        if self.kind == 1:
            return tag + bytes(self.value)
        data = coded(self.value) if isinstance(self.value, list) else bytes(self.value)
        return tag + varint(len(data), stretch) + data


def coded(written: list[Field]) -> bytes:
    return b"".join(field.coded() for field in written)


def varint(value: int, stretch: int = 0) -> bytes:
    """A number, with so many bytes more than it takes."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    if stretch:
        out[-1] |= 0x80
        out += b"\x80" * (stretch - 1) + b"\0"
    return bytes(out)
