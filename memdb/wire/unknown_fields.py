"""Fields of a request that this release does not know, since a newer client sent them.

Protobuf passes over them: a filter that nobody applies would give wrong answers without a word.  Its parser keeps them,
though, so whoever is asked can see that it was asked something that it does not understand, and say so.  That holds for
every field that is ever added to whatever message, without a word between client and server about versions.

What it takes for granted: a client sends a field only where its caller asks for what the field says, so a newer client
that is asked for nothing new is understood.
"""

from __future__ import annotations

from functools import cache

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from memdb.errors import FailedPrecondition


def check_known(message: Message) -> None:
    """Refuse a request with a field, at any depth, that its contract does not have.

    Raises `FailedPrecondition` (``UNKNOWN_FIELD``), the field as message and number: ``memdb.v1.RecallRequest.14``.
    """
    unknown = UnknownFieldSet(message)
    if len(unknown):
        number = unknown[0].field_number
        raise FailedPrecondition(
            "the server is of an earlier release than its client and does not know this field",
            reason="UNKNOWN_FIELD",
            field=f"{message.DESCRIPTOR.full_name}.{number}",
        )
    single, lists = _parts(message.DESCRIPTOR)
    for name in single:
        if message.HasField(name):
            check_known(getattr(message, name))
    for name in lists:
        if parts := getattr(message, name):
            # A slice: to walk a repeated field itself costs more than to make a list of it.
            for part in parts[:]:
                check_known(part)


def name_of(field: str) -> str:
    """What this release, which may know it, calls the field of an error of `check_known`."""
    container, _, number = field.rpartition(".")
    try:
        message = Default().FindMessageTypeByName(container)
        return message.fields_by_number[int(number)].name
    except (KeyError, ValueError):
        return field


@cache
def _parts(descriptor: Descriptor) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The fields of a message that are messages, and those that are lists of them; without maps, whose values are all
    scalars.
    """
    parts = [
        field
        for field in descriptor.fields
        if field.message_type is not None and not field.message_type.GetOptions().map_entry
    ]
    return (
        tuple(field.name for field in parts if not field.is_repeated),
        tuple(field.name for field in parts if field.is_repeated),
    )
