"""The questions of one stream: sent as they come, and told apart by their place.

gRPC takes requests where nobody hears an error, so what the questions raise, or what is wrong with one of them,
ends the requests and is kept until the answers to the questions before it have come.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from memdb.errors import DataLoss, Unavailable
from memdb.types.arrays import VectorLike
from memdb.types.grounding import Grounding
from memdb.types.limits import QUESTIONS_MAX
from memdb.types.questions import checked_feature, group_size
from memdb.v1 import grounding_service_pb2 as pb
from memdb.wire.arrays import fill_vector
from memdb.wire.grounding import is_light
from memdb.wire.groundings import groundings_from_proto
from memdb.wire.status import error_from_status
from memdb_client import _acompat as compat


class AsyncQuestions:
    """What one call of GroundStream asks, and what of it is answered."""

    def __init__(
        self, start: pb.GroundStreamRequest, question_features: compat.Values[VectorLike]
    ) -> None:
        self._start = start
        self._is_light = is_light(start.start.options)
        self._features = question_features
        self._asked = 0
        self._answered = 0
        self._changed = compat.Condition()
        self._is_over = False
        self._error: Exception | None = None

    async def requests(self) -> compat.Answers[pb.GroundStreamRequest]:
        """The start, then the questions: those that are there already some at a time."""
        yield self._start
        size = group_size(self._features)
        message = pb.GroundStreamRequest()
        try:
            async for feature in compat.each(self._features):
                if self._is_over:
                    return
                vector = checked_feature(feature, self._asked)
                question = message.questions.add(id=self._asked)
                fill_vector(question.question_feature, vector)
                self._asked += 1
                if len(message.questions) == size:
                    yield message
                    message = pb.GroundStreamRequest()
                    # HTTP/2 counts bytes alone, and small questions by the ten thousand are few bytes.
                    async with self._changed:
                        while self._asked - self._answered >= QUESTIONS_MAX and not self._is_over:
                            await self._changed.wait()
        except Exception as error:
            # Of the caller's iterable: raised to the caller, after the answers to what it gave.
            self._error = error
        if message.questions:
            yield message

    async def answered(self, message: pb.GroundStreamResponse) -> list[Grounding]:
        """The answers of a message.

        Raises the error that it tells of, `DataLoss` (``BAD_MESSAGE``) when they are not those to the next
        questions.
        """
        if message.error:
            raise _told(message.error)
        groundings = groundings_from_proto(message.answers, tells=False, light=self._is_light)
        expected = range(self._answered, self._answered + len(groundings))
        if list(message.ids) != list(expected) or expected.stop > self._asked:
            raise DataLoss("the answers are not those to the next questions", reason="BAD_MESSAGE")
        async with self._changed:
            self._answered = expected.stop
            self._changed.notify_all()
        return groundings

    async def close(self) -> None:
        """No more answers come: let the requests go, which may be waiting for them."""
        async with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def ended(self) -> None:
        """The server has ended the stream: raises what is not told yet."""
        if self._answered < self._asked:
            raise Unavailable("the server ended the stream")
        if self._error is not None:
            raise self._error


def _told(packed: bytes) -> Exception:
    try:
        error = error_from_status(status_pb2.Status.FromString(packed))
    except DecodeError:
        return DataLoss("an error that cannot be read", reason="BAD_MESSAGE")
    error.request_id = error.request_id or None
    return error
