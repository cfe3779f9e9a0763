"""What the native edge reads of an ingest's messages gives the clips that Python reads, field by field."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

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
from memdb.wire.ingest import ingested_clips
from tests.unit.server.clip_bytes import DIM, PLAIN, ROWS, Field, clip, message, rich
from tests.unit.server.drawn_clips import clip_fields, messages, mutated

pytest.importorskip("memdb_edge", reason="the native edge is not installed")

import memdb_edge

from memdb.server.plain_clips import clips_of


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


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_ordinary_messages_are_plain(data: bytes) -> None:
    assert agrees(data)
    whole = memdb_edge.read_clips(data)
    assert whole is not None
    assert len(whole) == len(data)
    assert bytes(whole) == data


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
