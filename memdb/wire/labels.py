"""Labels that a question asks for."""

from __future__ import annotations

from collections.abc import Iterable

from memdb.errors import InvalidArgument
from memdb.types.label_filter import LabelFilter, Not
from memdb.v1 import types_pb2 as pb


def labels_to_proto(labels: LabelFilter) -> list[pb.LabelFilter]:
    """A filter as messages."""
    return [
        pb.LabelFilter(key=key, other_than=values.values)
        if isinstance(values, Not)
        else pb.LabelFilter(key=key, values=values)
        for key, values in labels
    ]


def labels_from_proto(messages: Iterable[pb.LabelFilter]) -> dict[str, list[str] | Not] | None:
    """The option of `User.ground` that messages carry, None where there are none; `User.ground` checks it.

    Raises `InvalidArgument` (``AMBIGUOUS``) for what one mapping cannot say: a key that is there twice, or with values
    and others than some.
    """
    labels: dict[str, list[str] | Not] = {}
    for message in messages:
        if message.key in labels:
            raise InvalidArgument(
                "a key with several values is one filter",
                reason="AMBIGUOUS",
                field="labels",
                value=message.key[:80],
            )
        if message.values and message.other_than:
            raise InvalidArgument(
                "values that will do, or such that will not",
                reason="AMBIGUOUS",
                field="labels",
                value=message.key[:80],
            )
        labels[message.key] = (
            Not(*message.other_than) if message.other_than else list(message.values)
        )
    return labels or None
