"""Users that are laid ready at once, and what Python answers to the bytes of a question."""

from __future__ import annotations

from memdb.config import ServerConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.hydrate import Parts
from memdb.engine.prepared import Preparation
from memdb.server.answers import Answers
from memdb.server.grounding_service import GroundingService, read_question
from memdb.server.requests import check_owner, owner_of, parse
from memdb.server.resources import Resources
from memdb.server.shelf import Shelf, shelf_of
from memdb.types.limits import MESSAGE_BYTES_MAX
from memdb.v1 import grounding_service_pb2 as pb
from memdb.wire.plain_question import asked_question
from memdb.wire.plain_questions import asked_questions

USER_TAG = 0x0A


def made_shelf(database: EmbeddedDatabase) -> Shelf:
    shelf = shelf_of(database, MESSAGE_BYTES_MAX)
    assert shelf is not None
    return shelf


def parts_of(*, global_memory: bool = True, keyframes: bool = True) -> Parts:
    return Parts(global_memory=global_memory, keyframes=keyframes, raw=True)


def lay_ready(database: EmbeddedDatabase, shelf: Shelf, user: str, parts: Parts) -> None:
    """What the background does once the user was asked often enough."""
    Preparation(database._users, user, parts, shelf).maintain(lambda: False)


class Python:
    """The way of a question that the shelf leaves."""

    def __init__(self, database: EmbeddedDatabase) -> None:
        resources = Resources.make(database, ServerConfig())
        self._service = GroundingService(resources)
        self._answers = Answers(resources.budget, resources.message_bytes_max)
        self._pools = resources.pools

    def answer(self, data: bytes) -> bytes:
        """By protobuf's own reading of it; raises `MemdbError` as the call would."""
        request = parse(pb.GroundRequest, data)
        check_owner(request, owner_of(data, USER_TAG))
        return self._answers.packed(self._service.ground(asked_question(request)))

    def answer_many(self, data: bytes) -> bytes:
        """`answer` of several questions."""
        request = parse(pb.GroundManyRequest, data)
        check_owner(request, owner_of(data, USER_TAG))
        return self._answers.packed(self._service.ground_many(asked_questions(request)))

    def answer_read(self, data: bytes) -> bytes:
        """As the server reads it; raises as `answer`."""
        question = read_question(data, owner_of(data, USER_TAG))
        return self._answers.packed(self._service.ground(question))

    def close(self) -> None:
        self._pools.shutdown()
