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

from collections.abc import Iterator
from typing import Final

from memdb.v1 import clip_service_pb2, types_pb2

INLINE_BYTES_MAX: Final = 512 * 1024
FIELDS_MAX: Final = 128
"""Of all levels together: 16 bare clips, or 3 of them with 64 utterances and sounds."""
TEXT_BYTES_MAX: Final = 64 * 1024
"""Bytes of utterances, sounds and labels, which are made into Python values one by one."""
SHAPE_BYTES_MAX: Final = 16


def _numbers(message: type, *names: str) -> frozenset[int]:
    fields = message.DESCRIPTOR.fields_by_name  # type: ignore[attr-defined]
    return frozenset(fields[name].number for name in names)


(_CLIPS,) = _numbers(clip_service_pb2.IngestClipsRequest, "clips")
(_SHORT_MEMORY,) = _numbers(types_pb2.Clip, "short_memory")
_ENTERED: Final = _numbers(
    types_pb2.Clip, "global_memory", "short_memory", "transcript_features", "keyframes"
)
_TEXTS: Final = _numbers(types_pb2.Clip, "transcript", "events", "labels")
(_CODEC,) = _numbers(types_pb2.Tensor, "codec")
(_SHAPE,) = _numbers(types_pb2.Tensor, "shape")

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Heavy(Exception):
    """Not to be parsed on the loop; a message that is damaged is refused elsewhere."""


def is_light(data: bytes) -> bool:
    """Whether parsing and checking the message takes a fraction of a millisecond."""
    if len(data) > INLINE_BYTES_MAX:
        return False
    try:
        _weigh(data)
    except (_Heavy, IndexError):
        return False
    return True


def _weigh(data: bytes) -> None:
    fields = texts = 0
    for number, begin, end in _fields(data, 0, len(data)):
        if number != _CLIPS:
            raise _Heavy
        for part, part_begin, part_end in _fields(data, begin, end):
            fields += 1
            if part in _TEXTS:
                texts += part_end - part_begin
            elif part in _ENTERED:
                for inner, inner_begin, inner_end in _fields(data, part_begin, part_end):
                    fields += 1
                    if fields > FIELDS_MAX:
                        raise _Heavy
                    if part == _SHORT_MEMORY:
                        _check_tensor(data, inner, inner_begin, inner_end)
            if fields > FIELDS_MAX or texts > TEXT_BYTES_MAX:
                raise _Heavy
        fields += 1
        if fields > FIELDS_MAX:
            raise _Heavy


def _check_tensor(data: bytes, number: int, begin: int, end: int) -> None:
    """Only what is looked at as it came is light: float16, not anything that must be inflated."""
    if number == _CODEC and data[begin:end] != bytes([types_pb2.TENSOR_CODEC_F16]):
        raise _Heavy
    if number == _SHAPE and end - begin > SHAPE_BYTES_MAX:
        raise _Heavy


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, begin, end) of each field's value between ``at`` and ``end``."""
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _BYTES:
            size, at = _varint(data, at)
            stop = at + size
        elif kind == _VARINT:
            _, stop = _varint(data, at)
        elif kind == _FIXED64:
            stop = at + 8
        elif kind == _FIXED32:
            stop = at + 4
        else:
            raise _Heavy
        if stop > end:
            raise _Heavy
        yield tag >> 3, at, stop
        at = stop


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    if value < 0x80:
        return value, at + 1
    value &= 0x7F
    for shift in range(7, 70, 7):
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
    raise _Heavy
