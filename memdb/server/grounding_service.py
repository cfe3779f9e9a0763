"""GroundingService: from a question to the moments that answer it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from memdb.engine.reading import WouldWait
from memdb.server.fitting_page import fitting_page
from memdb.server.ground_stream import GroundStream
from memdb.server.methods import Receive, Send
from memdb.server.resources import Resources
from memdb.v1 import grounding_service_pb2 as pb
from memdb.wire.grounding import ground_arguments, grounding_to_proto
from memdb.wire.groundings import ground_many_arguments, groundings_to_proto

Asked = Callable[[str, pb.GroundRequest, int], None]

RERANK_WORK_MAX: Final = 1 << 40
"""Multiplications of one question's late interaction: a minute or some, 200 times what 32 tokens take
with a thousand clips of 64 rows of 1536.  A thread that has begun stops only when its caller leaves, and the
largest question that fits a message would hold one for half a day."""


class GroundingService:
    """Questions to the users of a database."""

    def __init__(self, resources: Resources, asked: Asked | None = None) -> None:
        """asked: told who was asked with which options, and of which revision the answer is."""
        self._resources = resources
        self._asked = asked
        self._database = resources.database
        self._message_bytes_max = resources.message_bytes_max

    def ground(self, request: pb.GroundRequest) -> pb.GroundResponse:
        """The clips that answer a question."""
        feature, arguments = ground_arguments(request)
        ask = partial(
            self._database.user(request.user).ground,
            feature,
            **arguments,
            raw_short_memory=True,
            # Or a thousand large clips would be collected before the message is found too large.
            answer_bytes_max=self._message_bytes_max,
            rerank_work_max=RERANK_WORK_MAX,
        )
        if arguments["cursor"] is None:
            return grounding_to_proto(ask())
        return fitting_page(
            lambda limit: ask(limit=limit), arguments["limit"], self._message_bytes_max
        )

    def ground_at_once(self, request: pb.GroundRequest) -> pb.GroundResponse | None:
        """`ground` where the answer takes no waiting; None where it would."""
        if _is_for_a_thread(request) or not self._database.tries_at_once(request.user):
            return None
        feature, arguments = ground_arguments(request)
        try:
            answer = self._database.user(request.user).ground(
                feature,
                **arguments,
                raw_short_memory=True,  # or its clips were not those that are kept
                answer_bytes_max=self._message_bytes_max,
                at_once=True,
            )
        except WouldWait:
            return None
        if self._asked is not None:
            self._asked(request.user, request, answer.revision)
        return grounding_to_proto(answer)

    def ground_many(self, request: pb.GroundManyRequest) -> pb.GroundManyResponse:
        """The answers to several questions, all of one commit."""
        features, options = ground_many_arguments(request)
        groundings = self._database.user(request.user).ground_many(
            features,
            **options,
            raw_short_memory=True,
            answer_bytes_max=self._message_bytes_max,
            rerank_work_max=RERANK_WORK_MAX,
        )
        if self._asked is not None and groundings and not request.question_tokens:
            self._asked(request.user, request.options, groundings[0].revision)
        return groundings_to_proto(groundings)

    async def ground_stream(self, receive: Receive, send: Send) -> None:
        """Answers to questions as they come; see `memdb.server.ground_stream`."""
        await GroundStream(self._resources).run(receive, send)


def _is_for_a_thread(request: pb.GroundRequest) -> bool:
    """Whether no such question is answered at once, whoever asks.

    Looked at before anything is checked: the name of a time zone is looked for on the disk.
    """
    return (
        request.HasField("text")
        or request.HasField("question_tokens")
        or request.HasField("calendar")
        or request.HasField("as_of")
        or request.HasField("cursor")
        or request.HasField("min_revision")
    )
