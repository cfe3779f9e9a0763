"""GroundingService: from a question to the moments that answer it."""

from __future__ import annotations

from typing import Final

from memdb.server.resources import Resources
from memdb.v1 import grounding_service_pb2 as pb
from memdb.wire.grounding import ground_arguments, grounding_to_proto

RERANK_WORK_MAX: Final = 1 << 40
"""Multiplications of one question's late interaction: a minute or some, 200 times what 32 tokens take
with a thousand clips of 64 rows of 1536.  A thread that has begun stops only when its caller leaves, and the
largest question that fits a message would hold one for half a day."""


class GroundingService:
    """Questions to the users of a database."""

    def __init__(self, resources: Resources) -> None:
        self._database = resources.database
        self._message_bytes_max = resources.message_bytes_max

    def ground(self, request: pb.GroundRequest) -> pb.GroundResponse:
        """The clips that answer a question."""
        feature, arguments = ground_arguments(request)
        user = self._database.user(request.user)
        grounding = user.ground(
            feature,
            **arguments,
            raw_short_memory=True,
            # Or a thousand large clips would be collected before the message is found too large.
            answer_bytes_max=self._message_bytes_max,
            rerank_work_max=RERANK_WORK_MAX,
        )
        return grounding_to_proto(grounding)
