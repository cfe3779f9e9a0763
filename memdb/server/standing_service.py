"""StandingService: questions that are asked once and answered whenever a clip answers them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from memdb.engine.standing import EmbeddedStanding
from memdb.server.methods import Send, commits
from memdb.server.resources import Resources
from memdb.server.standing_watch import watch_standing
from memdb.v1 import standing_service_pb2 as pb
from memdb.wire.standing import (
    backtest_arguments,
    backtest_to_proto,
    question_to_proto,
    spec_arguments,
)

CHUNK_BYTES_MAX: Final = 3 * 1024 * 1024
"""Questions of one message, below the 4 MiB that a client accepts by default."""


class StandingService:
    """Standing questions of the users of a database."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @commits
    def create_standing(self, request: pb.CreateStandingRequest) -> pb.CreateStandingResponse:
        """Store a question."""
        feature, arguments = spec_arguments(request.spec)
        question = self._standing(request.user).create(
            feature, **arguments, text=request.spec.text, name=request.name or None
        )
        return pb.CreateStandingResponse(question=question_to_proto(question))

    def list_standing(self, request: pb.ListStandingRequest) -> Iterator[pb.ListStandingResponse]:
        """Every question, in messages of a bounded size."""
        chunk, size = pb.ListStandingResponse(), 0
        for question in self._standing(request.user).list():
            message = question_to_proto(question)
            bytes_of_question = message.ByteSize()
            if chunk.questions and size + bytes_of_question > CHUNK_BYTES_MAX:
                yield chunk
                chunk, size = pb.ListStandingResponse(), 0
            chunk.questions.append(message)
            size += bytes_of_question
        yield chunk

    def get_standing(self, request: pb.GetStandingRequest) -> pb.GetStandingResponse:
        """One question."""
        question = self._standing(request.user).get(request.question_id)
        return pb.GetStandingResponse(question=question_to_proto(question))

    @commits
    def remove_standing(self, request: pb.RemoveStandingRequest) -> pb.RemoveStandingResponse:
        """Remove a question."""
        self._standing(request.user).remove(request.question_id)
        return pb.RemoveStandingResponse()

    def backtest_standing(self, request: pb.BacktestStandingRequest) -> pb.BacktestStandingResponse:
        """What a question would have told."""
        feature, arguments = spec_arguments(request.spec)
        backtest = self._standing(request.user).backtest(
            feature, **arguments, **backtest_arguments(request)
        )
        return backtest_to_proto(backtest)

    async def watch_standing(self, request: pb.WatchStandingRequest, send: Send) -> None:
        """What the questions tell; see `memdb.server.standing_watch`."""
        await watch_standing(self._resources, request, send)

    def _standing(self, user_id: str) -> EmbeddedStanding:
        return self._resources.database.user(user_id).standing
