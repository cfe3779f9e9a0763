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
from memdb.wire.fields import FIXED32, FIXED64, LENGTH, VARINT, BadFields, tag_of, varint
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


class _Heavy(Exception):
    """Not to be parsed on the loop; a message that is damaged is refused elsewhere."""


def light_pieces(data: bytes) -> list[ClipPieces] | None:
    """Where the clips of a message are, and their tensors, where parsing and checking it takes a fraction of a
    millisecond; None where it may take longer, or is no run of clips.
    """
    if len(data) > INLINE_BYTES_MAX:
        return None
    try:
        return _Look(data).clips()
    except (_Heavy, BadFields, IndexError):
        return None


class _Look:
    """One walk over a message."""

    __slots__ = ("_data", "_left", "_texts_left")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = FIELDS_MAX
        self._texts_left = TEXT_BYTES_MAX

    def clips(self) -> list[ClipPieces]:
        at, end = 0, len(self._data)
        found: list[ClipPieces] = []
        while at < end:
            tag, begin, stop = self._field(at, end)
            if tag != _CLIPS:
                raise _Heavy
            found.append(ClipPieces(begin, stop, self._clip(begin, stop)))
            at = stop
        return found

    def _clip(self, at: int, end: int) -> TensorPieces | None:
        tensor: TensorPieces | None = None
        while at < end:
            tag, begin, stop = self._field(at, end)
            if tag == _SHORT_MEMORY:
                if tensor is not None:
                    raise _Heavy
                tensor = self._tensor(at, begin, stop)
            elif tag in _TEXTS:
                self._texts_left -= stop - begin
                if self._texts_left < 0:
                    raise _Heavy
            elif tag in _ENTERED:
                while begin < stop:
                    begin = self._field(begin, stop)[2]
            at = stop
        return tensor

    def _tensor(self, field: int, begin: int, end: int) -> TensorPieces:
        """Only what is looked at as it came is light: float16, not anything that must be inflated."""
        at = begin
        payload: tuple[int, int, int] | None = None
        while at < end:
            tag, first, stop = self._field(at, end)
            if tag == _PAYLOAD:
                if payload is not None:
                    raise _Heavy
                payload = at, first, stop
            elif tag == _CODEC:
                if stop - first != 1 or self._data[first] != _F16:
                    raise _Heavy
            elif tag == _SHAPE and stop - first > SHAPE_BYTES_MAX:
                raise _Heavy
            at = stop
        if payload is None:
            raise _Heavy
        return TensorPieces(field, begin, *payload, end)

    def _field(self, at: int, end: int) -> tuple[int, int, int]:
        """(tag, first byte of its value, end) of the field at ``at``, counted."""
        self._left -= 1
        if self._left < 0:
            raise _Heavy
        data = self._data
        tag = data[at]
        at += 1
        if tag >= 0x80:
            raise _Heavy  # no field that we know
        kind = tag & 7
        if kind == LENGTH:
            size = data[at]
            if size < 0x80:
                at += 1
            else:
                size, at = varint(data, at)
            stop = at + size
        elif kind == VARINT:
            stop = at + 1 if data[at] < 0x80 else varint(data, at)[1]
        elif kind == FIXED64:
            stop = at + 8
        elif kind == FIXED32:
            stop = at + 4
        else:
            raise _Heavy
        if stop > end:
            raise _Heavy
        return tag, at, stop
