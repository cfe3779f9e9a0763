"""What the native edge reads of an ingest's messages gives the clips that Python reads, field by field."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import pytest
import xxhash
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memdb.errors import MemdbError
from memdb.types.arrays import Array
from memdb.types.clip import Clip, Keyframe, SoundEvent, Utterance
from memdb.types.labels import Labels
from memdb.types.tensor import Codec, EncodedTensor
from memdb.v1 import clip_service_pb2 as pb
from memdb.wire.clips import clip_to_proto
from memdb.wire.ingest import ingest_parts, ingested_clips

pytest.importorskip("memdb_edge", reason="the native edge is not installed")

import memdb_edge

from memdb.server.plain_clips import clips_of

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


def plain(data: bytes) -> list[Clip] | None:
    found = memdb_edge.read_clips(data)
    return None if found is None else clips_of(found)


def by_python(data: bytes) -> list[Clip] | None:
    try:
        return list(ingested_clips(data))
    except MemdbError:
        return None


def shown(value: Any) -> Any:
    """A field as something that equals the same of another clip, and nothing else."""
    if isinstance(value, np.ndarray):
        assert not value.flags.writeable
        assert value.flags.c_contiguous
        return value.dtype, value.shape, value.tobytes()
    if isinstance(value, EncodedTensor):
        assert isinstance(value.payload, memoryview)
        assert value.payload.readonly
        assert value.payload.format == "B"
        return value.codec, type(value.codec), value.shape, bytes(value.payload), value.checksum
    if isinstance(value, dict):
        return type(value), list(value.items())
    if isinstance(value, tuple):
        return [(type(item), repr(item), item) for item in value]
    return type(value), repr(value)


def parts(clips: Iterable[Clip]) -> list[list[Any]]:
    return [[shown(getattr(one, field.name)) for field in fields(Clip)] for one in clips]


def agrees(data: bytes) -> bool:
    """Whether the message is plain; where it is, Python makes the same of it."""
    found = plain(data)
    if found is None:
        return False
    by_hand = by_python(data)
    assert by_hand is not None, "what Python refuses"
    assert parts(found) == parts(by_hand)
    return True


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


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_ordinary_messages_are_plain(data: bytes) -> None:
    assert agrees(data)
    whole = memdb_edge.read_clips(data)
    assert whole is not None
    assert len(whole) == len(data)
    assert bytes(whole) == data


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


def damaged(**changed: Any) -> bytes:
    """A message with a clip that cannot be made, but by its message."""
    made = clip_to_proto(clip())
    for name, value in changed.items():
        tensor = made.short_memory
        target: Any = tensor if name in ("codec", "checksum", "payload") else made
        setattr(target, name, value)
    return pb.IngestClipsRequest(clips=[made]).SerializeToString()


def of_payload(array: Array, shape: tuple[int, ...] | None = None) -> bytes:
    made = clip_to_proto(clip())
    made.short_memory.payload = data = array.tobytes()
    made.short_memory.checksum = xxhash.xxh3_64_intdigest(data)
    if shape is not None:
        made.short_memory.shape[:] = shape
    return pb.IngestClipsRequest(clips=[made]).SerializeToString()


def labelled(count: int) -> bytes:
    made = clip_to_proto(clip())
    for number in range(count):
        made.labels[str(number)] = "x"
    return pb.IngestClipsRequest(clips=[made]).SerializeToString()


def twice_labelled() -> bytes:
    """Of which the last counts."""
    label = b"\x62\x06\x0a\x01a\x12\x01"
    return Field(
        2, 2, clip_to_proto(clip()).SerializeToString() + label + b"b" + label + b"c"
    ).coded()


HALVES = np.arange(ROWS * DIM, dtype=np.float16).reshape(ROWS, DIM)
ODD = {
    "nothing": b"",
    "a start": pb.IngestClipsRequest(start=pb.IngestStart(user="u")).SerializeToString(),
    "an empty clip": b"\x12\x00",
    "cut short": message(clip())[:-1],
    "more behind it": message(clip()) + b"\x18\x01",
    "coded": message(clip(short_memory=np.zeros((ROWS, DIM), np.float16)), codec=Codec.F16_PLANES),
    "another checksum": damaged(checksum=1),
    "no codec": damaged(codec=0),
    "an unknown codec": damaged(codec=99),
    "a payload too short": damaged(payload=bytes(254)),
    "an infinite element": of_payload(np.where(HALVES == 100, np.float16(np.inf), HALVES)),
    "no number": of_payload(np.where(HALVES == 0, np.float16(np.nan), HALVES)),
    "another dim": of_payload(HALVES, (ROWS // 2, DIM * 2)),
    "three axes": of_payload(HALVES, (ROWS, DIM, 1)),
    "a number above the largest": damaged(seq=2**63),
    "an end before its start": damaged(end_ns=9),
    "a time too far away": damaged(end_ns=2**62 + 1),
    "no frames": damaged(frames_per_token_row=0.0),
    "too many frames": damaged(frames_per_token_row=1e6 + 1),
    "a label twice": twice_labelled(),
    "65 labels": labelled(65),
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_what_is_not_plain_is_left_to_python(data: bytes) -> None:
    assert plain(data) is None


CROWDS = {
    "clips": message(*[clip(short_memory=None)] * 65),
    "utterances": message(clip(transcript=(Utterance(0, 1, "x"),) * 257)),
    "text": message(clip(events=(SoundEvent(0, 1, "x" * 1024, 1),) * 65)),
    "pictures": message(*[clip(keyframes=(Keyframe(0, b"x" * 600_000),))] * 2),
}


@pytest.mark.parametrize("data", CROWDS.values(), ids=CROWDS)
def test_what_takes_the_loop_long_is_left_to_python(data: bytes) -> None:
    assert by_python(data) is not None
    assert plain(data) is None


# -- any bytes


def zigzag(value: int) -> int:
    return (value << 1) ^ (value >> 63) if value >= 0 else (-value << 1) - 1


NUMBERS = st.sampled_from(
    [0, 1, 2, 5, 127, 128, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
)
TIMES = st.sampled_from([0, 1, 10, -10, 2**61, 2**62, 2**62 + 1, -(2**62), -(2**62) - 1]).map(
    zigzag
)
DOUBLES = st.sampled_from(
    [0.0, -0.0, 0.25, 0.5, 1.0, 1.5, -1.0, 1e6, 1e7, float("nan"), float("inf")]
).map(lambda value: struct.pack("<d", value))
TEXTS = st.one_of(
    st.text(max_size=5).map(str.encode),
    st.binary(max_size=5),
    st.sampled_from(
        [
            *(
                b"\xed\xa0\x80",
                b"\xc0\x80",
                b"\xf4\x90\x80\x80",
                b"\xe0\x80\x80",
                b"\xff",
                b"\xf0\x9f\x98\x80",
            ),
            *(b"a" * 65, b"b" * 1025, b"c" * 16_385, "é".encode() * 1024, "é".encode() * 1025),
        ]
    ),
)
FLOATS = st.sampled_from(
    [1.0, -2.5, 0.0, 65504.0, 1e5, 3e38, float("inf"), float("-inf"), float("nan")]
)


@st.composite
def vectors(draw: st.DrawFn) -> list[Field]:
    dtype = draw(st.sampled_from([np.float32, np.float16]))
    array = np.ones(draw(st.sampled_from([DIM, DIM, DIM, DIM, 0, 1, 8193])), dtype)
    if array.size and draw(st.integers(0, 3)) == 0:
        with np.errstate(over="ignore"):
            array[draw(st.integers(0, array.size - 1))] = draw(FLOATS)
    data = array.tobytes() + draw(st.sampled_from([b"", b"", b"", b"\0"]))
    return [Field(1 if dtype is np.float32 else 2, 2, data)]


@st.composite
def tensors(draw: st.DrawFn) -> list[Field]:
    rows = draw(st.sampled_from([ROWS, ROWS, 11, 7, 0, 1]))
    array = np.arange(rows * DIM, dtype=np.float16)
    if array.size and draw(st.integers(0, 3)) == 0:
        with np.errstate(over="ignore"):
            array[draw(st.integers(0, array.size - 1))] = draw(FLOATS)
    data = array.tobytes()
    checksum = xxhash.xxh3_64_intdigest(data).to_bytes(8, "little")
    return [
        Field(1, 0, draw(st.sampled_from([1, 1, 1, 1, 0, 2, 8, 2**64 - 1]))),
        Field(2, 2, varint(rows) + varint(DIM)),
        Field(3, 2, data),
        Field(4, 1, checksum),
    ]


@st.composite
def matrices(draw: st.DrawFn, rows: int) -> list[Field]:
    array = np.ones((max(0, rows + draw(st.sampled_from([0, 0, 0, 1, -1]))), 3), np.float32)
    if array.size and draw(st.integers(0, 3)) == 0:
        array[0, 1] = draw(FLOATS)
    return [Field(1, 0, array.shape[0]), Field(2, 0, 3), Field(3, 2, array.tobytes())]


UTTERANCES = st.tuples(TIMES, TIMES, TEXTS, TEXTS, TEXTS).map(
    lambda of: [
        Field(1, 0, of[0]),
        Field(2, 0, of[1]),
        *(Field(3 + n, 2, of[2 + n]) for n in (0, 1, 2)),
    ]
)
SOUNDS = st.tuples(TIMES, TIMES, TEXTS, DOUBLES).map(
    lambda of: [Field(1, 0, of[0]), Field(2, 0, of[1]), Field(3, 2, of[2]), Field(4, 1, of[3])]
)
KEYFRAMES = st.tuples(TIMES, TEXTS).map(lambda of: [Field(1, 0, of[0]), Field(2, 2, of[1])])
LABELS = st.tuples(TEXTS, TEXTS).map(lambda of: [Field(1, 2, of[0]), Field(2, 2, of[1])])


@st.composite
def clip_fields(draw: st.DrawFn) -> list[Field]:
    """A clip that is right in most of its fields."""
    ordinary = draw(st.integers(0, 2)) > 0
    start, end = (zigzag(10), zigzag(20)) if ordinary else draw(st.tuples(TIMES, TIMES))
    said = draw(st.lists(UTTERANCES, max_size=2))
    found = [
        Field(1, 0, draw(st.integers(0, 9)) if ordinary else draw(NUMBERS)),
        Field(2, 0, 0 if ordinary else draw(NUMBERS)),
        Field(3, 0, start),
        Field(4, 0, end),
        Field(5, 2, draw(vectors())),
        Field(13, 0, draw(st.sampled_from([0, 1, 1, 2]))),
    ]
    if draw(st.booleans()):
        found.append(Field(6, 2, draw(tensors())))
    if draw(st.booleans()):
        found.append(Field(7, 1, draw(DOUBLES)))
    found += [Field(8, 2, one) for one in said]
    if draw(st.booleans()):
        found.append(Field(9, 2, draw(matrices(len(said)))))
    for number, kind in ((10, SOUNDS), (11, KEYFRAMES), (12, LABELS)):
        found += [Field(number, 2, one) for one in draw(st.lists(kind, max_size=2))]
    return found


def disordered(draw: st.DrawFn, written: list[Field]) -> bytes:
    """Fields as bytes: out of their order, twice, left out, unknown, or longer than they need be."""
    inner = [
        field._replace(value=disordered(draw, field.value))
        if isinstance(field.value, list)
        else field
        for field in written
    ]
    how = draw(st.integers(0, 11))
    if how == 0:
        inner = draw(st.permutations(inner))
    elif how == 1:
        inner.append(draw(st.sampled_from(inner)))
    elif how == 2:
        inner.remove(draw(st.sampled_from(inner)))
    elif how == 3:
        kind, value = draw(st.sampled_from([(0, 1), (1, bytes(8)), (2, b""), (2, b"xy")]))
        inner.append(Field(draw(st.integers(1, 80)), kind, value))
    elif how == 4:
        stretch = draw(st.integers(1, 9))
        return b"".join(field.coded(stretch) for field in inner)
    return b"".join(field.coded() for field in inner)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    return disordered(
        draw, [Field(2, 2, one) for one in draw(st.lists(clip_fields(), min_size=1, max_size=3))]
    )


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A message with some of its bytes changed, left out, put in, or there twice."""
    data = bytearray(draw(st.sampled_from([one for one in PLAIN.values() if len(one) < 4096])))
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


@settings(max_examples=600)
@given(messages())
@example(b"\x92\x00\x00")
def test_fields_of_any_kind(data: bytes) -> None:
    agrees(data)


@settings(max_examples=600)
@given(mutated())
def test_damaged_messages(data: bytes) -> None:
    agrees(data)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    agrees(data)


@settings(max_examples=200)
@given(clip_fields())
def test_a_right_clip_is_plain(written: list[Field]) -> None:
    """Or slow would hide behind equal: a short payload and a label there twice are all that is left to Python."""
    largest = {2: 2**32 - 1, 13: 1}  # what is above, protobuf cuts off
    written = [
        field._replace(value=min(field.value, largest[field.number]))
        if field.number in largest
        else field
        for field in written
    ]
    data = Field(2, 2, written).coded()
    if by_python(data) is None:
        return
    payloads = [field.value[2].value for field in written if field.number == 6]
    keys = [field.value[0].value for field in written if field.number == 12]
    assert agrees(data) or any(len(one) < 241 for one in payloads) or len({*keys}) < len(keys)


# -- what it is made of


def test_texts_outlive_the_message_and_payloads_keep_it() -> None:
    data = message(rich())
    (found,) = plain(data) or [clip()]
    assert parts([found]) == parts(by_python(data) or [])
    short = found.short_memory
    assert isinstance(short, EncodedTensor)
    assert isinstance(short.payload, memoryview)
    assert len(memoryview(short.payload.obj)) == len(data)
    assert type(found.labels) is Labels


@pytest.mark.parametrize("plain_instructions", [False, True])
def test_a_payload_is_looked_at_as_xxhash_and_numpy_do(plain_instructions: bool) -> None:
    rng = np.random.default_rng(7)
    for size in (*range(241, 1500), 4096, 65_537, 196_608):
        data = rng.bytes(size)
        checksum, _ = memdb_edge.look_at(data, plain_instructions)
        assert checksum == xxhash.xxh3_64_intdigest(data)
    for place in range(0, 2000, 7):
        array = rng.standard_normal(2000).astype(np.float16)
        array[place] = rng.choice([np.inf, -np.inf, np.nan, 65504, -65504, -0.0])
        _, finite = memdb_edge.look_at(array.tobytes(), plain_instructions)
        assert finite == np.isfinite(array).all()
