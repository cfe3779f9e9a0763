"""Requests as they come: bytes that are parsed here, and whose they are.

They are parsed here, and not by gRPC, so that a bad message is `InvalidArgument` (``BAD_MESSAGE``) and not
gRPC's own ``UNKNOWN``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message

from memdb.errors import InvalidArgument
from memdb.server.executors import Pools
from memdb.server.openings import Openings
from memdb.wire.field_count import check_field_count
from memdb.wire.fields import tag_of
from memdb.wire.lists import SMALL_BYTES, check_lists
from memdb.wire.unknown_fields import check_known

ID_CHARS_MAX: Final = 63
_TAG_NUMBER_MAX: Final = 15
"""Of fields whose tag is one byte."""

_M = TypeVar("_M", bound=Message)


def parse(kind: type[_M], data: bytes) -> _M:
    """The message of the bytes; raises `InvalidArgument` (``BAD_MESSAGE``, ``TOO_LARGE``),
    `FailedPrecondition` (``UNKNOWN_FIELD``).
    """
    check_lists(kind, data)
    check_field_count(kind, data)
    try:
        message = kind.FromString(data)
    except DecodeError as error:
        raise InvalidArgument(
            f"not a {kind.DESCRIPTOR.full_name} message", reason="BAD_MESSAGE", field="message"
        ) from error
    check_known(message, len(data))
    return message


def owner_tag(method: MethodDescriptor) -> int | None:
    """What begins the user's id in a request, None where there is none."""
    field = method.input_type.fields_by_name.get("user")
    return None if field is None or field.number > _TAG_NUMBER_MAX else tag_of(field.number)


def owner_of(data: bytes, tag: int | None) -> str:
    """Whose call it is, by a look at the first field: every library that we know writes the fields in order.
    Who does not has its turns with all that is nobody's.
    """
    if tag is None or len(data) < 2 or data[0] != tag or data[1] > ID_CHARS_MAX:
        return ""
    return data[2 : 2 + data[1]].decode("latin-1")


def check_owner(request: Any, owner: str) -> None:
    """Refuse a call of another user than its first field says; raises `InvalidArgument` (``BAD_MESSAGE``)."""
    if owner and request.user.encode() != owner.encode("latin-1"):
        # Or who names a user for each call, and then the one it asks, had a turn and a share for each.
        raise InvalidArgument("the message names several users", reason="BAD_MESSAGE", field="user")


def read_as(kind: type[Message]) -> Callable[[bytes, str], Any]:
    """What reads requests of that kind: given the bytes, and whose call it is by a look at them.

    Raises as `parse` and `check_owner`.
    """

    def read(data: bytes, owner: str) -> Any:
        request = parse(kind, data)
        check_owner(request, owner)
        return request

    return read


class Requests:
    """Parses requests: on the loop where that takes a fraction of a millisecond, else on a thread."""

    def __init__(self, pools: Pools, openings: Openings) -> None:
        self._pools = pools
        self._openings = openings

    async def parsed(self, kind: type[Message], data: bytes, *, opens: bool) -> Any:
        """The request; with ``opens``, once its user is open.  Raises as `parse` and `Openings.wait`."""
        small = len(data) <= SMALL_BYTES
        request: Any = parse(kind, data) if small else await self._pools.read.run(parse, kind, data)
        if opens:
            await self._openings.wait(request.user)
        return request
