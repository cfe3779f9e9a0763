"""Whether an ingest message is cheap enough to be parsed and checked on the event loop.

A hop to a thread and back costs about as much as checking a plain clip, but size alone does not say
what a message costs: a few bytes of zstd inflate to megabytes, and half a megabyte of empty
sub-messages takes tens of milliseconds to parse.  So the fields are counted on the wire, before
anything is parsed::

    IngestClipsRequest  2 clips ─▶ Clip  5 vector, 6 tensor, 9 matrix, 11 keyframe   entered, counted
                                         8 utterance, 10 event, 12 label             counted, their bytes summed
                                         anything else                               counted

At most `FIELDS_MAX` fields are looked at, so the look itself is bounded too.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message

from memdb.v1 import clip_service_pb2, types_pb2
from memdb.wire.fields import BadFields, fields

INLINE_BYTES_MAX: Final = 512 * 1024
FIELDS_MAX: Final = 128
"""Of all levels together: 16 bare clips, or 3 of them with 64 utterances and sounds."""
TEXT_BYTES_MAX: Final = 64 * 1024
"""Bytes of utterances, sounds and labels, which are made into Python values one by one."""
SHAPE_BYTES_MAX: Final = 16


def _numbers(message: type[Message], *names: str) -> frozenset[int]:
    by_name = message.DESCRIPTOR.fields_by_name
    return frozenset(by_name[name].number for name in names)


(_CLIPS,) = _numbers(clip_service_pb2.IngestClipsRequest, "clips")
(_SHORT_MEMORY,) = _numbers(types_pb2.Clip, "short_memory")
_ENTERED: Final = _numbers(
    types_pb2.Clip, "global_memory", "short_memory", "transcript_features", "keyframes"
)
_TEXTS: Final = _numbers(types_pb2.Clip, "transcript", "events", "labels")
(_CODEC,) = _numbers(types_pb2.Tensor, "codec")
(_SHAPE,) = _numbers(types_pb2.Tensor, "shape")


class _Heavy(Exception):
    """Not to be parsed on the loop; a message that is damaged is refused elsewhere."""


def is_light(data: bytes) -> bool:
    """Whether parsing and checking the message takes a fraction of a millisecond."""
    if len(data) > INLINE_BYTES_MAX:
        return False
    try:
        _weigh(data)
    except (_Heavy, BadFields):
        return False
    return True


def _weigh(data: bytes) -> None:
    count = texts = 0
    for tag, _, begin, end in fields(data, 0, len(data)):
        if tag >> 3 != _CLIPS:
            raise _Heavy
        for part_tag, _, part_begin, part_end in fields(data, begin, end):
            part = part_tag >> 3
            count += 1
            if part in _TEXTS:
                texts += part_end - part_begin
            elif part in _ENTERED:
                for inner, _, inner_begin, inner_end in fields(data, part_begin, part_end):
                    count += 1
                    if count > FIELDS_MAX:
                        raise _Heavy
                    if part == _SHORT_MEMORY:
                        _check_tensor(data, inner >> 3, inner_begin, inner_end)
            if count > FIELDS_MAX or texts > TEXT_BYTES_MAX:
                raise _Heavy
        count += 1
        if count > FIELDS_MAX:
            raise _Heavy


def _check_tensor(data: bytes, number: int, begin: int, end: int) -> None:
    """Only what is looked at as it came is light: float16, not anything that must be inflated."""
    if number == _CODEC and data[begin:end] != bytes([types_pb2.TENSOR_CODEC_F16]):
        raise _Heavy
    if number == _SHAPE and end - begin > SHAPE_BYTES_MAX:
        raise _Heavy
