"""GroundingService: from a question to the moments that answer it."""

from __future__ import annotations

from memdb.engine.database import EmbeddedDatabase
from memdb.v1 import grounding_service_pb2 as pb
from memdb.wire.grounding import ground_arguments, grounding_to_proto


class GroundingService:
    """Questions to the users of a database."""

    def __init__(self, database: EmbeddedDatabase) -> None:
        self._database = database

    def ground(self, request: pb.GroundRequest) -> pb.GroundResponse:
        """The clips that answer a question."""
        feature, arguments = ground_arguments(request)
        user = self._database.user(request.user)
        return grounding_to_proto(user.ground(feature, **arguments, raw_short_memory=True))
