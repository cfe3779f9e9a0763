"""Labels that a question asks for."""

from __future__ import annotations

from collections.abc import Iterable

from memdb.errors import InvalidArgument
from memdb.types.label_filter import LabelFilter
from memdb.v1 import types_pb2 as pb


def labels_to_proto(labels: LabelFilter) -> list[pb.LabelFilter]:
    """A filter as messages."""
    return [pb.LabelFilter(key=key, values=values) for key, values in labels]


def labels_from_proto(messages: Iterable[pb.LabelFilter]) -> dict[str, list[str]] | None:
    """The option of `User.ground` that messages carry, None where there are none; `User.ground` checks it.

    Raises `InvalidArgument` (``AMBIGUOUS``) for a key that is there twice, which one mapping cannot say.
    """
    labels: dict[str, list[str]] = {}
    for message in messages:
        if message.key in labels:
            raise InvalidArgument(
                "a key with several values is one filter",
                reason="AMBIGUOUS",
                field="labels",
                value=message.key[:80],
            )
        labels[message.key] = list(message.values)
    return labels or None
