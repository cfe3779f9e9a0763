"""Whether an ingest message is cheap enough to be parsed and checked on the event loop.

A hop to a thread and back costs about as much as checking a plain clip, and the thread would hold the interpreter
for most of that too; but size alone does not say what a message costs: a few bytes of zstd inflate to megabytes, and
half a megabyte of empty sub-messages takes tens of milliseconds to parse.  So the fields are counted on the wire,
before anything is parsed::

    IngestClipsRequest  2 clips ─▶ Clip  5 vector, 6 tensor, 9 matrix, 11 keyframe   entered, counted
                                         8 utterance, 10 event, 12 label             counted, their bytes summed
                                         anything else                               counted

At most `FIELDS_MAX` fields are looked at, so the look itself is bounded too.  It finds where the tensors are as well,
so that a light message is walked once.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message

from memdb.v1 import clip_service_pb2, types_pb2
from memdb.wire.fields import (
    FIXED32,
    FIXED64,
    LENGTH,
    VARINT,
    BadFields,
    tag_of,
    varint,
    varint_end,
)
from memdb.wire.ingest import ClipPieces, TensorPieces

INLINE_BYTES_MAX: Final = 1100 * 1024
"""A message of plain clips as our client fills it: 0.4 ms.  Of others that are light the worst take 0.8 (features
with many texts that are not ASCII)."""
FIELDS_MAX: Final = 128
"""Of all levels together: 16 bare clips, or 3 of them with 64 utterances and sounds."""
TEXT_BYTES_MAX: Final = 64 * 1024
"""Bytes of utterances, sounds and labels, which are made into Python values one by one."""
SHAPE_BYTES_MAX: Final = 16


def _tags(message: type[Message], *names: str) -> frozenset[int]:
    by_name = message.DESCRIPTOR.fields_by_name
    return frozenset(tag_of(by_name[name].number) for name in names)


(_CLIPS,) = _tags(clip_service_pb2.IngestClipsRequest, "clips")
(_SHORT_MEMORY,) = _tags(types_pb2.Clip, "short_memory")
_ENTERED: Final = _tags(types_pb2.Clip, "global_memory", "transcript_features", "keyframes")
_TEXTS: Final = _tags(types_pb2.Clip, "transcript", "events", "labels")
_CODEC: Final = tag_of(types_pb2.Tensor.CODEC_FIELD_NUMBER, VARINT)
_SHAPE: Final = tag_of(types_pb2.Tensor.SHAPE_FIELD_NUMBER)
_PAYLOAD: Final = tag_of(types_pb2.Tensor.PAYLOAD_FIELD_NUMBER)
_F16: Final = types_pb2.TENSOR_CODEC_F16


_IN_MESSAGE, _IN_CLIP, _IN_TENSOR, _IN_PART = range(4)
"""What the walk is in: each but the first in the one before, a part of a clip beside its tensor."""


class _Heavy(Exception):
    """Not to be parsed on the loop; a message that is damaged is refused elsewhere."""


def light_pieces(data: bytes) -> list[ClipPieces] | None:
    """Where the clips of a message are, and their tensors, where parsing and checking it takes a fraction of a
    millisecond; None where it may take longer, or is no run of clips.
    """
    if len(data) > INLINE_BYTES_MAX:
        return None
    try:
        return _clips(data)
    except (_Heavy, BadFields, IndexError):
        return None


def _clips(data: bytes) -> list[ClipPieces]:
    """One walk over a message, from field to field and into the fields that are entered.

    One loop for all levels, and nothing called for a field: it goes over every clip that there is.
    """
    texts_left = TEXT_BYTES_MAX
    found: list[ClipPieces] = []
    clip_begin = clip_end = tensor_field = tensor_begin = 0
    tensor: TensorPieces | None = None
    payload: tuple[int, int, int] | None = None
    inside, at, end = _IN_MESSAGE, 0, len(data)
    for _ in range(FIELDS_MAX + 1):
        while at == end:
            if inside == _IN_MESSAGE:
                return found
            if inside == _IN_CLIP:
                found.append(ClipPieces(clip_begin, clip_end, tensor))
                inside, end = _IN_MESSAGE, len(data)
                continue
            if inside == _IN_TENSOR:
                if payload is None:
                    raise _Heavy
                tensor = TensorPieces(tensor_field, tensor_begin, *payload, end)
            inside, end = _IN_CLIP, clip_end
        tag = data[at]
        if tag >= 0x80:
            raise _Heavy  # no field that we know
        begin = at + 1
        kind = tag & 7
        if kind == LENGTH:
            size = data[begin]
            if size < 0x80:
                begin += 1
            else:
                size, begin = varint(data, begin)
            stop = begin + size
        elif kind == VARINT:
            stop = begin + 1 if data[begin] < 0x80 else varint_end(data, begin)
        elif kind == FIXED64:
            stop = begin + 8
        elif kind == FIXED32:
            stop = begin + 4
        else:
            raise _Heavy
        if stop > end:
            raise _Heavy
        if inside == _IN_CLIP:
            if tag == _SHORT_MEMORY:
                if tensor is not None:
                    raise _Heavy
                tensor_field, tensor_begin, payload = at, begin, None
                inside, at, end = _IN_TENSOR, begin, stop
                continue
            if tag in _ENTERED:
                inside, at, end = _IN_PART, begin, stop
                continue
            if tag in _TEXTS:
                texts_left -= size
                if texts_left < 0:
                    raise _Heavy
        elif inside == _IN_TENSOR:
            # Only what is looked at as it came is light: float16, not anything that must be inflated.
            if tag == _PAYLOAD:
                if payload is not None:
                    raise _Heavy
                payload = at, begin, stop
            elif tag == _CODEC:
                if stop - begin != 1 or data[begin] != _F16:
                    raise _Heavy
            elif tag == _SHAPE and stop - begin > SHAPE_BYTES_MAX:
                raise _Heavy
        elif inside == _IN_MESSAGE:
            if tag != _CLIPS:
                raise _Heavy
            clip_begin, clip_end, tensor = begin, stop, None
            inside, at, end = _IN_CLIP, begin, stop
            continue
        at = stop
    raise _Heavy
