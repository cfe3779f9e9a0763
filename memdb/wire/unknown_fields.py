"""Fields of a request that this release does not know, since a newer client sent them.

Protobuf passes over them: a filter that nobody applies would give wrong answers without a word.  Its parser keeps them,
though, so whoever is asked can see that it was asked something that it does not understand, and say so.  That holds for
every field that is ever added to whatever message, without a word between client and server about versions.

What it takes for granted: a client sends a field only where its caller asks for what the field says, so a newer client
that is asked for nothing new is understood.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from memdb.errors import FailedPrecondition

WRITTEN_BYTES_MAX: Final = 64 * 1024
"""Up to this size a message is written twice to see whether it has any, which takes half as long as to walk it."""


def check_known(message: Message, size: int) -> None:
    """Refuse a request with a field, at any depth, that its contract does not have.

    size: of its bytes, as it came.

    Raises `FailedPrecondition` (``UNKNOWN_FIELD``), the field as message and number: ``memdb.v1.RecallRequest.14``.
    """
    if size <= WRITTEN_BYTES_MAX:
        written = message.SerializeToString()
        message.DiscardUnknownFields()
        if message.ByteSize() == len(written):
            return
        message = type(message).FromString(written)
    _check_parts(message)


def name_of(field: str) -> str:
    """What this release, which may know it, calls the field of an error of `check_known`."""
    container, _, number = field.rpartition(".")
    try:
        message = Default().FindMessageTypeByName(container)
        return message.fields_by_number[int(number)].name
    except (KeyError, ValueError):
        return field


def _check_parts(message: Message) -> None:
    unknown = UnknownFieldSet(message)
    if len(unknown):
        number = unknown[0].field_number
        raise FailedPrecondition(
            "the server is of an earlier release than its client and does not know this field",
            reason="UNKNOWN_FIELD",
            field=f"{message.DESCRIPTOR.full_name}.{number}",
        )
    for name, is_list in _parts(message.DESCRIPTOR):
        if is_list:
            for part in getattr(message, name):
                _check_parts(part)
        elif message.HasField(name):
            _check_parts(getattr(message, name))


@lru_cache
def _parts(descriptor: Descriptor) -> tuple[tuple[str, bool], ...]:
    """The fields of a message that are messages, and whether they are lists; without maps, whose values are all
    scalars.
    """
    return tuple(
        (field.name, field.is_repeated)
        for field in descriptor.fields
        if field.message_type is not None and not field.message_type.GetOptions().map_entry
    )
