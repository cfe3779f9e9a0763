"""When facts are asked to hold: how ``valid_at`` crosses the wire."""

from __future__ import annotations

from typing import TypedDict

from memdb.types.validity import ValidAt, checked_valid_at
from memdb.v1 import memory_service_pb2 as memory_pb


class ValidAtFields(TypedDict, total=False):
    """The fields of a request; at most one is set."""

    valid_at_ns: int
    valid_at_word: str


def valid_at_to_proto(valid_at: int | str | None) -> ValidAtFields:
    """The fields for what `memdb.types.validity.checked_valid_at` gave."""
    if valid_at is None:
        return {}
    if isinstance(valid_at, str):
        return {"valid_at_word": valid_at}
    return {"valid_at_ns": valid_at}


def valid_at_from_proto(
    request: memory_pb.RecallRequest | memory_pb.ListFactsRequest,
) -> ValidAt | None:
    """The option of `User.recall` that a request carries; raises `InvalidArgument` as `checked_valid_at`."""
    which = request.WhichOneof("valid_at")
    if which is None:
        return None
    given = request.valid_at_ns if which == "valid_at_ns" else request.valid_at_word
    return checked_valid_at(given)  # type: ignore[return-value]  # a time or one of the words
