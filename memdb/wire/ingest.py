"""Messages of an ingest without copies of short-term memory, which is nearly all there is in them.

::

    IngestClipsRequest  2 clips ─▶ Clip  what protobuf makes of the other fields
                                         6 short_memory ─▶ Tensor  its other fields
                                                                   3 payload

The bytes are those of the same message made by protobuf, up to the order of fields.  Measured on clips of
200 kB: protobuf, with a copy at each level and another for the message, takes 10 times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from memdb.codecs.tensors import encoded
from memdb.errors import InvalidArgument
from memdb.types.clip import Clip
from memdb.types.tensor import Codec
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import types_pb2 as pb
from memdb.wire.arrays import tensor_from_parts
from memdb.wire.clips import clip_from_proto, fill_clip
from memdb.wire.fields import FIXED64, BadFields, fields, head, tag_of
from memdb.wire.lists import (
    CLIP_FIELDS_MAX,
    SMALL_BYTES,
    check_clip_count,
    check_clip_lists,
    check_lists,
)
from memdb.wire.unknown_fields import check_known

_CLIPS: Final = tag_of(clip_pb.IngestClipsRequest.CLIPS_FIELD_NUMBER)
_SHORT_MEMORY: Final = tag_of(pb.Clip.SHORT_MEMORY_FIELD_NUMBER)
_PAYLOAD: Final = tag_of(pb.Tensor.PAYLOAD_FIELD_NUMBER)
_CHECKSUM: Final = bytes((tag_of(pb.Tensor.CHECKSUM_FIELD_NUMBER, FIXED64),))

Part = bytes | memoryview

_M = TypeVar("_M", bound=Message)


def ingest_parts(clip: Clip, codec: Codec = Codec.F16) -> tuple[Part, ...]:
    """An `IngestClipsRequest` with one checked clip, as pieces to be joined; pieces of several put
    together are one request with all of them.  codec: of short-term memory that is an array.

    Raises `InvalidArgument` (``NOT_FINITE``) where an element does not fit float16.
    """
    message = pb.Clip()
    fill_clip(message, clip, short_memory=False)
    rest = message.SerializeToString()
    tensor = encoded(clip, codec)
    if tensor is None:
        return head(_CLIPS, len(rest)), rest
    checksum = _CHECKSUM + tensor.checksum.to_bytes(8, "little")
    description = _codec_and_shape(tensor.codec, tensor.shape) + checksum
    payload_head = head(_PAYLOAD, len(tensor.payload))
    inner = len(description) + len(payload_head) + len(tensor.payload)
    tensor_head = head(_SHORT_MEMORY, inner)
    clip_head = head(_CLIPS, len(rest) + len(tensor_head) + inner)
    return (
        b"".join((clip_head, rest, tensor_head, description, payload_head)),
        memoryview(tensor.payload),
    )


@lru_cache(256)
def _codec_and_shape(codec: Codec, shape: tuple[int, ...]) -> bytes:
    """The same for nearly all clips of a stream."""
    # The same numbers by contract.
    return pb.Tensor(codec=int(codec), shape=shape).SerializeToString()  # type: ignore[arg-type]


class TensorPieces(NamedTuple):
    """Where in a message the pieces of a clip's tensor are."""

    field: int
    begin: int
    payload_field: int
    payload: int
    payload_end: int
    end: int


class ClipPieces(NamedTuple):
    """Where in a message a clip is, and its tensor if it has one."""

    begin: int
    end: int
    tensor: TensorPieces | None


def ingested_clips(data: bytes, pieces: list[ClipPieces] | None = None) -> Iterator[Clip]:
    """The clips of a message, each checked, one by one; short-term memory is a view of ``data``.

    pieces: where they are, from one who has looked already.

    Raises `InvalidArgument`: ``BAD_MESSAGE``, ``TOO_LARGE`` for more clips, or more items of a clip,
    than there may be, ``CLIP_EXPECTED`` for a start or for nothing, and what is wrong with a clip when
    its turn comes; `FailedPrecondition` (``UNKNOWN_FIELD``).
    """
    try:
        if pieces is None:
            pieces = _clip_pieces(data)
        for begin, end, part in pieces:
            payload = 0 if part is None else part.payload_end - part.payload
            if end - begin - payload > SMALL_BYTES:
                check_clip_lists(data, begin, end)
    except BadFields:
        # Nothing that our client sends; the full parser knows what it is, or why it is none.
        check_lists(clip_pb.IngestClipsRequest, data)
        for message in _parsed(data).clips:
            yield clip_from_proto(message)
        return
    if not pieces:
        raise _clip_expected()
    # All are parsed before the first is given: a message is taken or refused as a whole.
    yield from map(_made, [_messages(data, *place) for place in pieces])


class _Message(NamedTuple):
    """A clip whose payload is still where it came."""

    clip: pb.Clip
    tensor: pb.Tensor | None
    payload: memoryview


def _clip_pieces(data: bytes) -> list[ClipPieces]:
    """Where the clips of a message are; raises `BadFields` where there is something else."""
    places: list[tuple[int, int]] = []
    for tag, _, begin, end in fields(data, 0, len(data)):
        if tag != _CLIPS:
            raise BadFields
        places.append((begin, end))
        check_clip_count(len(places))
    return [ClipPieces(begin, end, _tensor_pieces(data, begin, end)) for begin, end in places]


def _tensor_pieces(data: bytes, begin: int, end: int) -> TensorPieces | None:
    """The pieces of the tensor of the clip between ``begin`` and ``end``, None where it has none.

    Raises `BadFields` for a field that is there twice, which only a full parser merges rightly, and where there are
    more than any clip has.
    """
    tensor = _only(data, begin, end, _SHORT_MEMORY)
    if tensor is None:
        return None
    payload = _only(data, tensor[1], tensor[2], _PAYLOAD)
    if payload is None:
        raise BadFields
    return TensorPieces(tensor[0], tensor[1], *payload, tensor[2])


def _only(data: bytes, begin: int, end: int, wanted: int) -> tuple[int, int, int] | None:
    """(first byte, first byte of the value, end) of the only field with that tag, if there is any."""
    found = None
    for count, (tag, field, value, stop) in enumerate(fields(data, begin, end), 1):
        if count > CLIP_FIELDS_MAX:
            raise BadFields
        if tag == wanted:
            if found is not None:
                raise BadFields
            found = field, value, stop
    return found


def _messages(data: bytes, begin: int, end: int, parts: TensorPieces | None) -> _Message:
    """The clip, and its tensor without payload; raises `InvalidArgument` (``BAD_MESSAGE``)."""
    if parts is None:
        return _Message(_message(pb.Clip, data[begin:end]), None, memoryview(b""))
    field, first, payload_field, payload, payload_end, last = parts
    return _Message(
        _message(pb.Clip, data[begin:field] + data[last:end]),
        _message(pb.Tensor, data[first:payload_field] + data[payload_end:last]),
        memoryview(data)[payload:payload_end],
    )


def _made(message: _Message) -> Clip:
    if message.tensor is None:
        return clip_from_proto(message.clip)
    described = message.tensor
    tensor = tensor_from_parts(
        described.codec, described.shape, message.payload, described.checksum, "clip.short_memory"
    )
    return clip_from_proto(message.clip, tensor)


def _parsed(data: bytes) -> clip_pb.IngestClipsRequest:
    request = _message(clip_pb.IngestClipsRequest, data)
    if request.HasField("start") or not request.clips:
        raise _clip_expected()
    return request


def _message(kind: type[_M], data: bytes) -> _M:
    try:
        message = kind.FromString(data)
    except DecodeError as error:
        raise InvalidArgument(
            f"not a {clip_pb.IngestClipsRequest.DESCRIPTOR.full_name} message",
            reason="BAD_MESSAGE",
            field="message",
        ) from error
    check_known(message, len(data))
    return message


def _clip_expected() -> InvalidArgument:
    return InvalidArgument(
        "every message after the first has clips", reason="CLIP_EXPECTED", field="clips"
    )
