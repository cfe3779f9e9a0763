"""GroundingService: from a question to the moments that answer it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final, TypeVar

from google.protobuf.message import Message

from memdb.engine.hydrate import Parts
from memdb.engine.reading import WouldWait
from memdb.server.fitting_page import fitting_page
from memdb.server.ground_stream import GroundStream
from memdb.server.methods import Receive, Send, early, read_by
from memdb.server.requests import check_owner, parse
from memdb.server.resources import Resources
from memdb.v1 import grounding_service_pb2 as pb
from memdb.wire.grounding import LIMIT_DEFAULT, GroundArguments
from memdb.wire.groundings import GroundManyArguments
from memdb.wire.packed_groundings import pack_grounding, pack_groundings
from memdb.wire.plain_question import (
    AskedQuestion,
    asked_question,
    forget_options,
    plain_question,
)
from memdb.wire.plain_questions import (
    AskedQuestions,
    asked_questions,
    forget_options_of_many,
    plain_questions,
)

T = TypeVar("T")
M = TypeVar("M", bound=Message)
Asked = Callable[[str, Parts, int], None]

RERANK_WORK_MAX: Final = 1 << 40
"""Multiplications of one question's late interaction: a minute or some, 200 times what 32 tokens take
with a thousand clips of 64 rows of 1536.  A thread that has begun stops only when its caller leaves, and the
largest question that fits a message would hold one for half a day."""

USERS_MAX: Final = 1024
"""Whose handles are remembered."""


def _reader(
    plain: Callable[[bytes], T | None], kind: type[M], asked: Callable[[M], T]
) -> Callable[[bytes, str], T]:
    """What reads requests of that kind, by hand where that can be; raises as `parse`, `check_owner` and ``asked``."""

    def read(data: bytes, owner: str) -> T:
        found = plain(data)
        if found is not None:
            return found
        request = parse(kind, data)
        check_owner(request, owner)
        return asked(request)

    return read


read_question: Final = _reader(plain_question, pb.GroundRequest, asked_question)
read_questions: Final = _reader(plain_questions, pb.GroundManyRequest, asked_questions)


class GroundingService:
    """Questions to the users of a database."""

    def __init__(self, resources: Resources, asked: Asked | None = None) -> None:
        """asked: told who was asked for which parts of clips, and of which revision the answer is."""
        self._resources = resources
        self._asked = asked
        self._database = resources.database
        self._user = lru_cache(USERS_MAX)(resources.database.user)
        resources.database.when_erased(self._forget)
        self._kept = resources.database.kept_clips
        self._message_bytes_max = resources.message_bytes_max

    def _forget(self, _: str) -> None:
        self._user.cache_clear()
        forget_options()  # which name streams
        forget_options_of_many()

    @early
    @read_by(read_question)
    def ground(self, question: AskedQuestion) -> bytes:
        """The clips that answer a question."""
        options = question.options
        ask = partial(
            self._user(question.user).ground,
            question.feature,
            **options,
            raw_short_memory=True,
            # Or a thousand large clips would be collected before the message is found too large.
            answer_bytes_max=self._message_bytes_max,
            rerank_work_max=RERANK_WORK_MAX,
        )
        if options.get("cursor") is None:
            answer = ask()
            if self._asked is not None and question.is_plain:
                self._asked(question.user, _parts(options), answer.revision)
            return pack_grounding(answer, self._kept)
        return fitting_page(
            lambda limit: ask(limit=limit),
            options.get("limit", LIMIT_DEFAULT),
            self._message_bytes_max,
            self._kept,
        )

    def ground_at_once(self, question: AskedQuestion) -> bytes | None:
        """`ground` where the answer takes no waiting; None where it would."""
        # Looked at before anything is checked: the name of a time zone is looked for on the disk.
        if not (question.is_plain and self._database.tries_at_once(question.user)):
            return None
        options = question.options
        try:
            answer = self._user(question.user).ground(
                question.feature,
                **options,
                raw_short_memory=True,  # or its clips were not those that are kept
                answer_bytes_max=self._message_bytes_max,
                at_once=True,
            )
        except WouldWait:
            return None
        if self._asked is not None:
            self._asked(question.user, _parts(options), answer.revision)
        return pack_grounding(answer, self._kept)

    @early
    @read_by(read_questions)
    def ground_many(self, asked: AskedQuestions) -> bytes:
        """The answers to several questions, all of one commit."""
        groundings = self._user(asked.user).ground_many(
            asked.features,
            **asked.options,
            raw_short_memory=True,
            answer_bytes_max=self._message_bytes_max,
            rerank_work_max=RERANK_WORK_MAX,
        )
        if self._asked is not None and groundings and not asked.options.get("question_tokens"):
            self._asked(asked.user, _parts(asked.options), groundings[0].revision)
        return pack_groundings(groundings, self._kept)

    async def ground_stream(self, receive: Receive, send: Send) -> None:
        """Answers to questions as they come; see `memdb.server.ground_stream`."""
        await GroundStream(self._resources).run(receive, send)


def _parts(options: GroundArguments | GroundManyArguments) -> Parts:
    return Parts(
        global_memory=options.get("with_global_memory", True),
        keyframes=options.get("with_keyframes", True),
        raw=True,
    )
