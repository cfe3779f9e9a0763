"""One GroundStream: questions in, answers out, as fast as they are found.

::

    client ──▶ reader: parse, check ──▶ waiting ──▶ answerer: ground_many ──▶ answers ──▶ client
                       ▲                                      │
                       └── stops while QUESTIONS_MAX are in flight,
                           or the streams of the server hold all the bytes they may

While some questions are answered the reader goes on; the next answer takes what came meanwhile, up to
`GROUP_MAX`.  So groups grow with the load, and a lone question waits for nobody.  Whatever is full or busy makes
the stream wait, never fail: the client feels HTTP/2 flow control, because we stop reading.

A group that cannot be answered whole (one of its questions is at fault, or its answers together are too large) is
halved, down to one question, whose error ends the stream once those before it are answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import numpy as np

from memdb.deadline import Deadline
from memdb.engine.ground_stream import named
from memdb.engine.one_life import OneLife
from memdb.engine.user import EmbeddedUser
from memdb.errors import InvalidArgument, MemdbError
from memdb.server.budget import StreamBytes
from memdb.server.drain import shutting_down
from memdb.server.methods import Receive, Send
from memdb.server.requests import parse
from memdb.server.resources import Resources
from memdb.server.tasks import settle
from memdb.types.arrays import Array
from memdb.types.ground_options import GroundOptions
from memdb.types.limits import QUESTIONS_MAX
from memdb.types.questions import GROUP_MAX, checked_feature, field_of
from memdb.v1 import grounding_service_pb2 as pb
from memdb.wire.arrays import vector_elements
from memdb.wire.groundings import options_from_proto
from memdb.wire.packed_groundings import pack_groundings, pack_streamed
from memdb.wire.plain_questions import plain_streamed
from memdb.wire.status import error_to_status

INLINE_BYTES_MAX: Final = 512 * 1024
"""Messages up to this size are parsed on the loop: a vector is one field, however long."""
START_BYTES_MAX: Final = 256 * 1024
"""A thousand names of streams, with room; no budget counts them."""


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A question that waits."""

    id: int
    place: int
    """In the stream."""
    feature: Array
    size: int
    """Bytes it is counted with."""


class GroundStream:
    """The state of one stream."""

    def __init__(self, resources: Resources) -> None:
        self._database = resources.database
        self._pools = resources.pools
        self._openings = resources.openings
        self._budget = resources.budget
        self._open_calls = resources.open_calls
        self._drain = resources.drain
        self._message_bytes_max = resources.message_bytes_max
        self._waiting: deque[_Asked] = deque()
        self._asked = 0
        self._ended = False
        self._refusal: Exception | None = None
        self._work = asyncio.Event()
        """Set when there is something to answer, the client ended, or the server stops."""
        self._room = asyncio.Event()
        self._deadline = Deadline()

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve the stream to its end.

        Raises `InvalidArgument` (``BAD_MESSAGE``, ``START_EXPECTED``, ``QUESTIONS_EXPECTED``), `Unavailable`
        (``SHUTTING_DOWN``, ``OVERLOADED``), `NotFound` (also when the user is erased meanwhile, made anew or not),
        and what refuses a question.
        """
        with self._drain.waking(self._work), self._budget.stream() as held:
            try:
                await self._run(receive, held.sender(send), held)
            except MemdbError as error:
                if not held.is_cut_off:  # where an answer is under way for ever
                    told = error_to_status(error, "").SerializeToString()
                    await send(pb.GroundStreamResponse(error=told).SerializeToString())
                raise
            finally:
                self._deadline.leave()

    async def _run(self, receive: Receive, send: Send, held: StreamBytes) -> None:
        start = _start(await self._drain.first(receive, self._work))
        self._open_calls.name(start.user)
        held.owner = start.user
        options = options_from_proto(start.options)
        await self._openings.wait(start.user, early=True)
        reader = asyncio.create_task(self._read(receive, held))
        try:
            await self._answer_all(self._database.user(start.user), options, send, held)
        finally:
            await settle(reader)
            # Its traceback holds messages, and us.
            self._refusal = None
            self._waiting.clear()

    async def _answer_all(
        self, user: EmbeddedUser, options: GroundOptions, send: Send, held: StreamBytes
    ) -> None:
        size, life = GROUP_MAX, OneLife(user.id)
        turns = self._pools.read.of(user.id)
        while True:
            while not self._waiting:
                if self._refusal is not None:
                    raise self._refusal
                if self._drain.begun:
                    raise shutting_down()
                if self._ended:
                    return
                self._work.clear()
                await self._work.wait()
            group = list(islice(self._waiting, size))
            try:
                # It may have been closed since, for others.
                await self._openings.wait(user.id, early=True)
                answer = await turns.run_in_turn(
                    self._deadline.within, self._answer, user, life, group, options
                )
                await send(answer)
            except MemdbError as error:
                if not _may_be_of_one(error):
                    raise
                if len(group) == 1:
                    raise _of(error, group[0]) from None
                size = len(group) // 2
                continue
            for asked in group:
                self._waiting.popleft()
                held.release(asked.size)
            self._room.set()
            size = min(2 * size, GROUP_MAX)

    def _answer(
        self, user: EmbeddedUser, life: OneLife, group: list[_Asked], options: GroundOptions
    ) -> bytes:
        if len({len(asked.feature) for asked in group}) > 1:
            raise InvalidArgument("questions of several dimensions", reason="DIM_MISMATCH")
        features = np.stack([asked.feature for asked in group])
        groundings = user.ground_many(
            features,
            raw_short_memory=True,
            answer_bytes_max=self._message_bytes_max,
            life=life,
            **options,
        )
        answers = pack_groundings(groundings, self._database.kept_clips)
        return pack_streamed([asked.id for asked in group], answers)

    async def _read(self, receive: Receive, held: StreamBytes) -> None:
        try:
            while True:
                await held.expect()
                data = await receive()
                if data is None or self._drain.begun:
                    return
                held.hold(len(data))
                if len(data) <= INLINE_BYTES_MAX:
                    asked, error = self._questions(data)
                else:
                    asked, error = await self._pools.read.run_in_turn(self._questions, data)
                self._waiting.extend(asked)
                self._asked += len(asked)
                self._work.set()
                if error is not None:
                    self._refusal = error
                    return
                while len(self._waiting) >= QUESTIONS_MAX:
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:
            # Told after the answers to what came before, by whoever sends them.
            self._refusal = error
        finally:
            self._ended = True
            self._work.set()

    def _questions(self, data: bytes) -> tuple[list[_Asked], MemdbError | None]:
        """The questions of a message before the first bad one, and its error."""
        asked: list[_Asked] = []
        try:
            plain = plain_streamed(data)
            questions = self._parsed(data) if plain is None else iter(plain)
            left = len(data)
            for number, (question_id, elements) in enumerate(questions):
                place = self._asked + number
                size = min(left, elements.nbytes)
                left -= size
                asked.append(_Asked(question_id, place, checked_feature(elements, place), size))
            # What the message has beside its vectors is counted with the last.
            asked[-1] = replace(asked[-1], size=asked[-1].size + left)
        except MemdbError as error:
            return asked, error
        return asked, None

    def _parsed(self, data: bytes) -> Iterator[tuple[int, Array]]:
        """The ids and features of a message with questions; raises `InvalidArgument`, and as `parse`."""
        message = parse(pb.GroundStreamRequest, data)
        if message.HasField("start") or not message.questions:
            raise InvalidArgument(
                "what comes after the start are questions alone",
                reason="QUESTIONS_EXPECTED",
                field="questions",
            )
        if len(message.questions) > QUESTIONS_MAX:
            raise InvalidArgument(
                f"more than {QUESTIONS_MAX} questions in a message",
                reason="TOO_LARGE",
                field="questions",
                value=len(message.questions),
            )
        for number, question in enumerate(message.questions):
            field = field_of(self._asked + number)
            yield question.id, vector_elements(question.question_feature, field)


def _start(data: bytes | None) -> pb.GroundStreamStart:
    if data is None:
        raise InvalidArgument("no start", reason="START_EXPECTED", field="start")
    if len(data) > START_BYTES_MAX:
        raise InvalidArgument(
            f"a start has at most {START_BYTES_MAX} bytes",
            reason="START_EXPECTED",
            field="start",
            value=len(data),
        )
    request = parse(pb.GroundStreamRequest, data)
    if not request.HasField("start") or request.questions:
        raise InvalidArgument(
            "the first message is a start alone", reason="START_EXPECTED", field="start"
        )
    return request.start


def _may_be_of_one(error: MemdbError) -> bool:
    """Whether a smaller group might be answered."""
    return isinstance(error, InvalidArgument) or error.reason == "MESSAGE_TOO_LARGE"


def _of(error: MemdbError, asked: _Asked) -> MemdbError:
    """The error of a question that was asked alone."""
    return named(error, asked.place) if isinstance(error, InvalidArgument) else error.again()
