"""How many fields a request has, counted before it is parsed.

The parser makes an object of every field, holding the interpreter from the first to the last: 16 MB of empty
strings are eight million, and everything else stands still for a quarter of a second.  No request that is
answered has so many, so one that has is refused; the count goes on in Python, which lets others in, and ends
at the first field too many.

Not of messages with clips, whose lists `memdb.wire.lists` counts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from memdb.errors import InvalidArgument
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.wire.fields import LENGTH, BadFields, fields, tag_of
from memdb.wire.lists import SMALL_BYTES

FIELDS_MAX: Final = 16_384
"""Of a request, with those of the messages in it and the items of its lists; the most that is answered has two
thirds: 256 facts that are remembered together, with 8,192 things and clips in all."""

_WITH_CLIPS: Final = {clip_pb.WriteClipsRequest, clip_pb.IngestClipsRequest}
_WIDTHS: Final = {
    FieldDescriptor.CPPTYPE_DOUBLE: 8,
    FieldDescriptor.CPPTYPE_FLOAT: 4,
}
"""Bytes of an item of a packed list; of any other at least one."""

_Known = dict[int, tuple[str, Descriptor | None, int]]
"""By tag: name, the message that it is, bytes of an item where it is a packed list (else 0)."""


def check_field_count(kind: type[Message], data: bytes) -> None:
    """Refuse a message of that kind with more fields than a request has.

    Raises `InvalidArgument` (``TOO_LARGE`` naming the list; ``BAD_MESSAGE`` for what is no run of fields).
    """
    if len(data) <= SMALL_BYTES or kind in _WITH_CLIPS:
        return
    descriptor: Descriptor = kind.DESCRIPTOR  # type: ignore[assignment]  # upb has a class of its own for it
    try:
        _count(descriptor, data, 0, len(data), 0)
    except BadFields as error:
        raise InvalidArgument(
            f"not a {descriptor.full_name} message", reason="BAD_MESSAGE", field="message"
        ) from error


def _count(descriptor: Descriptor, data: bytes, begin: int, end: int, count: int) -> int:
    """``count`` and the fields between ``begin`` and ``end``."""
    known = _known(descriptor)
    for tag, _, first, last in fields(data, begin, end):
        name, message, width = known.get(tag, ("message", None, 0))
        count += (last - first) // width if width else 1
        if count > FIELDS_MAX:
            raise InvalidArgument(
                f"more than {FIELDS_MAX} fields and items",
                reason="TOO_LARGE",
                field=name,
                value=count,
            )
        if message is not None:
            count = _count(message, data, first, last, count)
    return count


@lru_cache
def _known(descriptor: Descriptor) -> _Known:
    known: _Known = {}
    for field in descriptor.fields:
        is_message = field.message_type is not None
        is_bytes = field.cpp_type == FieldDescriptor.CPPTYPE_STRING
        packed = field.is_repeated and not is_message and not is_bytes
        known[tag_of(field.number, LENGTH)] = (
            field.name,
            field.message_type,
            _WIDTHS.get(field.cpp_type, 1) if packed else 0,
        )
        if packed:  # or one by one
            for wire_type in (0, 1, 5):
                known[tag_of(field.number, wire_type)] = (field.name, None, 0)
    return known
