"""A field that the contract does not have is found at any depth, whichever way a message is looked through."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from memdb.errors import FailedPrecondition
from memdb.v1 import clip_service_pb2 as pb
from memdb.v1 import types_pb2
from memdb.wire.fields import head, tag_of
from memdb.wire.unknown_fields import WRITTEN_BYTES_MAX, check_known

UNKNOWN = head(tag_of(2047), 1) + b"x"
SIZES = (0, WRITTEN_BYTES_MAX + 1)
"""As if a message had come in so many bytes: written twice, and walked."""


def full() -> pb.WriteClipsRequest:
    request = pb.WriteClipsRequest(user="u", stream="s")
    clip = request.clips.add(seq=1, sealed=True, frames_per_token_row=0.25)
    clip.global_memory.f32 = b"1234"
    clip.short_memory.payload = b"1234"
    clip.transcript_features.f32 = b"1234"
    clip.transcript.add(text="a word", speaker="ann")
    clip.transcript.add(text="and one more")
    clip.events.add(label="bell", score=0.5)
    clip.keyframes.add(jpeg=b"jpeg")
    clip.labels["zone"] = "porch"
    return request


PARTS: dict[str, tuple[str, Callable[[pb.WriteClipsRequest], object]]] = {
    "request": ("WriteClipsRequest", lambda request: request),
    "clip": ("Clip", lambda request: request.clips[0]),
    "vector": ("Vector", lambda request: request.clips[0].global_memory),
    "tensor": ("Tensor", lambda request: request.clips[0].short_memory),
    "matrix": ("Matrix", lambda request: request.clips[0].transcript_features),
    "second utterance": ("Utterance", lambda request: request.clips[0].transcript[1]),
    "event": ("SoundEvent", lambda request: request.clips[0].events[0]),
    "keyframe": ("Keyframe", lambda request: request.clips[0].keyframes[0]),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("part", PARTS)
def test_a_field_that_nobody_knows_is_named(part: str, size: int) -> None:
    name, of = PARTS[part]
    request = full()
    of(request).MergeFromString(UNKNOWN)  # type: ignore[attr-defined]
    with pytest.raises(FailedPrecondition, match="UNKNOWN_FIELD") as refused:
        check_known(request, size)
    assert refused.value.field == f"memdb.v1.{name}.2047"


@pytest.mark.parametrize("size", SIZES)
def test_one_in_an_entry_of_a_map_is_refused(size: int) -> None:
    entry = head(tag_of(1), 1) + b"k" + head(tag_of(2), 1) + b"v" + UNKNOWN
    labels = tag_of(types_pb2.Clip.LABELS_FIELD_NUMBER)
    clip = types_pb2.Clip.FromString(head(labels, len(entry)) + entry)
    with pytest.raises(FailedPrecondition, match="UNKNOWN_FIELD"):
        check_known(clip, size)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_known_passes_as_it_is(size: int) -> None:
    request = full()
    check_known(request, size)
    assert request == full()
    # Written in another way than protobuf would: a field twice, a number in more bytes than it takes.
    twice = full().SerializeToString() + head(tag_of(1), 1) + b"v"
    check_known(pb.WriteClipsRequest.FromString(twice), size)
    check_known(types_pb2.Clip.FromString(b"\x08\x81\x00"), size)
