"""Messages whose lists are too long are refused before they are parsed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from google.protobuf.message import Message

from memdb.codecs.tensors import encode_tensor
from memdb.errors import FailedPrecondition, InvalidArgument
from memdb.server.requests import parse
from memdb.types import limits
from memdb.types.clip import Clip, Keyframe, SoundEvent, Utterance
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import grounding_service_pb2 as grounding_pb
from memdb.v1 import types_pb2 as pb
from memdb.wire.clips import clip_to_proto
from memdb.wire.fields import head, tag_of
from memdb.wire.ingest import ingested_clips

VECTOR = np.ones(8, np.float16)
FULL = clip_to_proto(
    Clip(
        seq=0,
        start_ns=0,
        end_ns=1,
        global_memory=VECTOR,
        short_memory=np.ones((4, 8), np.float16),
        transcript=(Utterance(0, 1, "a"),) * limits.TRANSCRIPT_MAX,
        events=(SoundEvent(0, 1, "bell", 0.5),) * limits.EVENTS_MAX,
        keyframes=(Keyframe(0, b"x"),) * limits.KEYFRAMES_MAX,
        labels={str(number): "" for number in range(limits.LABELS_MAX)},
    )
)
BARE = clip_to_proto(Clip(seq=0, start_ns=0, end_ns=1, global_memory=VECTOR))
LISTS = {
    "transcript": (pb.Clip.TRANSCRIPT_FIELD_NUMBER, limits.TRANSCRIPT_MAX),
    "events": (pb.Clip.EVENTS_FIELD_NUMBER, limits.EVENTS_MAX),
    "keyframes": (pb.Clip.KEYFRAMES_FIELD_NUMBER, limits.KEYFRAMES_MAX),
    "labels": (pb.Clip.LABELS_FIELD_NUMBER, limits.LABELS_MAX),
}
MILLIONS = 5_000_000


def written(data: bytes) -> None:
    parse(clip_pb.WriteClipsRequest, data)


def ingested(data: bytes) -> None:
    list(ingested_clips(data))


WAYS: dict[str, tuple[Callable[[bytes], None], int]] = {
    "write": (written, clip_pb.WriteClipsRequest.CLIPS_FIELD_NUMBER),
    "ingest": (ingested, clip_pb.IngestClipsRequest.CLIPS_FIELD_NUMBER),
}


def message(number: int, *clips: bytes) -> bytes:
    return b"".join(head(tag_of(number), len(clip)) + clip for clip in clips)


@pytest.fixture
def unparsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No message with clips may be parsed."""

    def refused(_data: bytes) -> Message:
        raise AssertionError("the message was parsed")

    for kind in (clip_pb.WriteClipsRequest, clip_pb.IngestClipsRequest, pb.Clip):
        monkeypatch.setattr(kind, "FromString", refused)


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_millions(way: str, name: str) -> None:
    take, clips = WAYS[way]
    number, maximum = LISTS[name]
    data = message(clips, BARE.SerializeToString() + head(tag_of(number), 0) * MILLIONS)
    with pytest.raises(InvalidArgument) as refused:
        take(data)
    error = refused.value
    assert (error.reason, error.field) == ("TOO_LARGE", f"clip.{name}")
    assert error.value == str(maximum + 1)  # and looked no further


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("clip", [b"", BARE.SerializeToString()], ids=["empty", "bare"])
def test_more_clips_than_a_commit_takes(way: str, clip: bytes) -> None:
    take, clips = WAYS[way]
    with pytest.raises(InvalidArgument) as refused:
        take(message(clips, clip) * 100_000)
    error = refused.value
    assert (error.reason, error.field, error.value) == ("TOO_LARGE", "clips", "257")


@pytest.mark.usefixtures("unparsed")
@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_run_of_fields_is_no_way_around(way: str) -> None:
    take, clips = WAYS[way]
    group = b"\xfb\x3e\xfc\x3e"  # field 1007, as a group: parsers take it, we do not
    many = head(tag_of(pb.Clip.TRANSCRIPT_FIELD_NUMBER), 0) * MILLIONS
    with pytest.raises(InvalidArgument) as refused:
        take(group + message(clips, many))
    assert refused.value.reason == "BAD_MESSAGE"


@pytest.mark.parametrize("way", WAYS)
def test_full_lists_pass(way: str) -> None:
    take, clips = WAYS[way]
    take(message(clips, FULL.SerializeToString(), BARE.SerializeToString()))
    take(message(clips, *[BARE.SerializeToString()] * limits.BATCH_OPERATIONS_MAX))


def test_a_shape_of_millions_is_not_walked() -> None:
    tensor = encode_tensor(np.ones((4, 8), np.float16))
    clip = pb.Clip(seq=0, end_ns=1, sealed=True)
    clip.global_memory.f16 = VECTOR.tobytes()
    clip.short_memory.codec = int(tensor.codec)  # type: ignore[assignment]
    clip.short_memory.payload = bytes(tensor.payload)
    clip.short_memory.checksum = tensor.checksum
    clip.short_memory.shape.extend([1] * MILLIONS)
    with pytest.raises(InvalidArgument) as refused:
        ingested(message(WAYS["ingest"][1], clip.SerializeToString()))
    assert (refused.value.reason, refused.value.value) == ("BAD_SHAPE", "more than 64 axes")


@pytest.mark.parametrize(
    ("kind", "number", "name"),
    [
        (
            grounding_pb.GroundStreamRequest,
            grounding_pb.GroundStreamRequest.QUESTIONS_FIELD_NUMBER,
            "questions",
        ),
        (
            grounding_pb.GroundManyRequest,
            grounding_pb.GroundManyRequest.QUESTION_TOKENS_FIELD_NUMBER,
            "question_tokens",
        ),
    ],
)
def test_questions_by_the_million(
    kind: type[Message], number: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = message(number, *[b""] * limits.QUESTIONS_MAX) + head(tag_of(100), 4096) + bytes(4096)
    with pytest.raises(FailedPrecondition, match="UNKNOWN_FIELD"):
        parse(kind, full)  # so its lists have passed

    def refused(_data: bytes) -> Message:
        raise AssertionError("the message was parsed")

    monkeypatch.setattr(kind, "FromString", refused)
    with pytest.raises(InvalidArgument) as told:
        parse(kind, message(number, b"") * MILLIONS)
    assert (told.value.reason, told.value.field) == ("TOO_LARGE", name)
    assert told.value.value == str(limits.QUESTIONS_MAX + 1)
