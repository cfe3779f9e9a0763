"""Spaces, and the result of a verification."""

from __future__ import annotations

from memdb.types.change import Discrepancy, Verification
from memdb.types.space import Space
from memdb.v1 import database_service_pb2 as db_pb
from memdb.v1 import types_pb2 as pb


def space_to_proto(space: Space) -> pb.Space:
    """A space as a message."""
    return pb.Space(name=space.name, dim=space.dim, metric=space.metric, model=space.model)


def space_from_proto(message: pb.Space) -> Space:
    """The space of a message; raises `InvalidArgument` as `Space` does. An empty metric means
    cosine.
    """
    return Space(message.name, message.dim, message.metric or "cosine", message.model)


def verification_to_proto(verification: Verification) -> db_pb.VerifyResponse:
    """The result of a verification as a message."""
    return db_pb.VerifyResponse(
        users=verification.users,
        clips=verification.clips,
        values_checked=verification.values_checked,
        discrepancies=[
            db_pb.Discrepancy(user=item.user, where=item.where, what=item.what)
            for item in verification.discrepancies
        ],
    )


def verification_from_proto(message: db_pb.VerifyResponse) -> Verification:
    """The result of a verification."""
    return Verification(
        message.users,
        message.clips,
        message.values_checked,
        tuple(Discrepancy(item.user, item.where, item.what) for item in message.discrepancies),
    )
