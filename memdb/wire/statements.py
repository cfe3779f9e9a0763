"""Facts that are remembered together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memdb.types.fact import Statement
from memdb.types.ids import check_id
from memdb.types.operation import PutFact
from memdb.types.statements import FIELD
from memdb.v1 import memory_service_pb2 as memory_pb
from memdb.wire.arrays import optional_vector, vector_to_proto


def remember_many_request(user: str, facts: Sequence[PutFact]) -> memory_pb.RememberManyRequest:
    """The request for `User.remember_many` of what `memdb.types.statements.checked_statements` gave."""
    return memory_pb.RememberManyRequest(
        user=check_id(user, "user"),
        statements=[
            memory_pb.Statement(
                text=one.text,
                about=one.about,
                valid_from_ns=one.valid_from_ns,
                valid_to_ns=one.valid_to_ns,
                evidence=one.evidence,
                key=one.key,
                feature=None if one.feature is None else vector_to_proto(one.feature),
            )
            for one in facts
        ],
    )


def statements_from_proto(messages: Iterable[memory_pb.Statement]) -> list[Statement]:
    """The statements of a request; raises `InvalidArgument` of a feature that is none."""
    return [
        Statement(
            one.text,
            about=list(one.about),
            valid_from=one.valid_from_ns if one.HasField("valid_from_ns") else None,
            valid_to=one.valid_to_ns if one.HasField("valid_to_ns") else None,
            evidence=list(one.evidence),
            key=one.key if one.HasField("key") else None,
            feature=optional_vector(
                one.feature, one.HasField("feature"), f"{FIELD}[{index}].feature"
            ),
        )
        for index, one in enumerate(messages)
    ]
