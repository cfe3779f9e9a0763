"""The window of a stream of questions, how they go together, and its ends, over a real engine whose threads of
reads may be held."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.rpc.status_pb2 import Status

from memdb.config import ServerConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.errors import InvalidArgument, MemdbError, ResourceExhausted, Unavailable
from memdb.server.ground_stream import GroundStream
from memdb.server.resources import Resources
from memdb.types.clip import Clip, Keyframe
from memdb.types.limits import QUESTIONS_MAX
from memdb.types.questions import GROUP_MAX
from memdb.v1 import grounding_service_pb2 as pb
from memdb.v1 import types_pb2
from memdb.wire.status import error_from_status

DIM = 4
FRAME_BYTES = 10_000


class Line:
    """Both directions of a stream."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.answers: list[pb.GroundStreamResponse] = []
        self.asked = 0
        self.read = 0

    async def receive(self) -> bytes | None:
        data = await self.incoming.get()
        self.read += 1
        return data

    async def send(self, data: bytes) -> None:
        self.answers.append(pb.GroundStreamResponse.FromString(data))

    def start(self, user: str = "u", **options: Any) -> None:
        start = pb.GroundStreamStart(user=user, options=pb.GroundRequest(**options))
        self.put(pb.GroundStreamRequest(start=start))

    def ask(self, *vectors: Any) -> None:
        message = pb.GroundStreamRequest()
        for vector in vectors or (np.ones(DIM, np.float32),):
            feature = types_pb2.Vector(f32=np.asarray(vector, np.float32).tobytes())
            message.questions.add(id=1000 + self.asked, question_feature=feature)
            self.asked += 1
        self.put(message)

    def put(self, message: pb.GroundStreamRequest) -> None:
        self.incoming.put_nowait(message.SerializeToString())

    def end(self) -> None:
        self.incoming.put_nowait(None)

    @property
    def groups(self) -> list[int]:
        return [len(answer.ids) for answer in self.answers if answer.ids]

    @property
    def ids(self) -> list[int]:
        return [number for answer in self.answers for number in answer.ids]


class Bench:
    """A user with ten clips behind two threads of reads, which the test may hold."""

    def __init__(self, database: EmbeddedDatabase, **changes: Any) -> None:
        database.create_space("p", dim=DIM)
        rng = np.random.default_rng(2)
        frames = (Keyframe(0, b"x" * FRAME_BYTES),)
        database.user("u").stream("s", space="p").write_many(
            [
                Clip(
                    seq=seq,
                    start_ns=seq,
                    end_ns=seq + 1,
                    global_memory=rng.standard_normal(DIM, np.float32),
                    keyframes=frames,
                )
                for seq in range(10)
            ]
        )
        config = ServerConfig(read_threads=2, write_threads=1, queue_max=1)
        self.resources = replace(Resources.make(database, config), **changes)
        self.line = Line()
        self.gate = threading.Event()

    def hold(self) -> list[asyncio.Task[bool]]:
        read = self.resources.pools.read
        return [asyncio.create_task(read.run(self.gate.wait)) for _ in range(2)]

    def run(self) -> asyncio.Task[None]:
        return asyncio.create_task(
            GroundStream(self.resources).run(self.line.receive, self.line.send)
        )


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[EmbeddedDatabase]:
    with EmbeddedDatabase(tmp_path / "db") as opened:
        yield opened


@pytest.fixture
async def bench(database: EmbeddedDatabase) -> AsyncIterator[Bench]:
    made = Bench(database)
    yield made
    made.gate.set()
    await asyncio.to_thread(made.resources.pools.shutdown)


async def settled(line: Line, least: int) -> int:
    """Messages read once the server has read ``least`` of them and reads no further."""
    deadline_s = time.monotonic() + 30
    while line.read < least:
        assert time.monotonic() < deadline_s, line.read
        await asyncio.sleep(0.01)
    read = -1
    while read != line.read:
        read = line.read
        await asyncio.sleep(0.1)
    return read


async def refused(bench: Bench) -> MemdbError:
    """The error that the stream ends with, which is told in its last message as well."""
    with pytest.raises(MemdbError) as caught:
        await asyncio.wait_for(bench.run(), 10)
    last = bench.line.answers[-1]
    told = error_from_status(Status.FromString(last.error))
    assert isinstance(caught.value, type(told))
    assert (told.reason, told.field) == (caught.value.reason, caught.value.field)
    return caught.value


async def test_what_comes_while_others_are_answered_goes_together(bench: Bench) -> None:
    held = bench.hold()
    running = bench.run()
    bench.line.start()
    bench.line.ask()
    await settled(bench.line, 2)
    for _ in range(GROUP_MAX + 10):
        bench.line.ask()
    await settled(bench.line, 2 + GROUP_MAX + 10)
    assert bench.line.answers == []

    bench.gate.set()
    bench.line.end()
    await running
    await asyncio.gather(*held)

    # The first had waited for nobody; the others came while it was on its way.
    assert bench.line.groups == [1, GROUP_MAX, 10]
    assert bench.line.ids == list(range(1000, 1000 + GROUP_MAX + 11))
    assert bench.resources.budget.used == 0


async def test_reading_stops_while_many_wait(bench: Bench) -> None:
    held = bench.hold()
    running = bench.run()
    bench.line.start()
    for _ in range(QUESTIONS_MAX + 50):
        bench.line.ask()
    assert await settled(bench.line, 1 + QUESTIONS_MAX) == 1 + QUESTIONS_MAX

    bench.gate.set()
    bench.line.end()
    await running
    await asyncio.gather(*held)
    assert len(bench.line.ids) == QUESTIONS_MAX + 50


async def test_answers_too_large_together_go_in_smaller_groups(database: EmbeddedDatabase) -> None:
    # Any two clips are more than a message holds.
    bench = Bench(database, message_bytes_max=FRAME_BYTES + FRAME_BYTES // 2)
    bench.line.start(limit=1)
    rng = np.random.default_rng(4)
    bench.line.ask(*rng.standard_normal((40, DIM), np.float32))
    bench.line.end()

    await asyncio.wait_for(bench.run(), 10)

    assert bench.line.ids == list(range(1000, 1040))
    assert max(len(answer.answers.clips) for answer in bench.line.answers) == 1
    await asyncio.to_thread(bench.resources.pools.shutdown)


async def test_one_answer_too_large_is_its_questions_error(database: EmbeddedDatabase) -> None:
    bench = Bench(database, message_bytes_max=FRAME_BYTES + FRAME_BYTES // 2)
    bench.line.start(limit=2)
    bench.line.ask()
    error = await refused(bench)
    assert isinstance(error, ResourceExhausted)
    assert error.reason == "MESSAGE_TOO_LARGE"
    await asyncio.to_thread(bench.resources.pools.shutdown)


@pytest.mark.parametrize("together", [True, False])
async def test_those_before_a_bad_one_are_answered(bench: Bench, together: bool) -> None:
    good, zero = np.ones(DIM), np.zeros(DIM)
    bench.line.start()
    if together:
        bench.line.ask(*[good] * 9, zero, good)
    else:
        for vector in (*[good] * 9, zero, good):
            bench.line.ask(vector)
    error = await refused(bench)
    assert (error.reason, error.field) == ("ZERO_VECTOR", "question_features[9]")
    assert bench.line.ids == list(range(1000, 1009))


async def test_what_is_no_question(bench: Bench) -> None:
    start = pb.GroundStreamStart(user="u")
    many = pb.GroundStreamRequest()
    for _ in range(QUESTIONS_MAX + 1):
        many.questions.add()
    both = pb.GroundStreamRequest(start=start)
    both.questions.add()
    wrong_options = pb.GroundStreamStart(user="u", options=pb.GroundRequest(rerank=1))
    for messages, reason, field in (
        ([both], "START_EXPECTED", "start"),
        ([pb.GroundStreamRequest()], "START_EXPECTED", "start"),
        ([pb.GroundStreamRequest(start=wrong_options)], "NOT_SHARED", "options.rerank"),
        ([pb.GroundStreamRequest(start=start), both], "QUESTIONS_EXPECTED", "questions"),
        ([pb.GroundStreamRequest(start=start), many], "TOO_LARGE", "questions"),
        (
            [pb.GroundStreamRequest(start=start), pb.GroundStreamRequest()],
            "QUESTIONS_EXPECTED",
            "questions",
        ),
    ):
        bench.line = Line()
        for message in messages:
            bench.line.put(message)
        error = await refused(bench)
        assert isinstance(error, InvalidArgument)
        assert (error.reason, error.field) == (reason, field)
    bench.line = Line()
    bench.line.end()
    assert (await refused(bench)).reason == "START_EXPECTED"


async def test_a_server_that_stops_answers_what_it_has_read(bench: Bench) -> None:
    held = bench.hold()
    running = bench.run()
    bench.line.start()
    for _ in range(3):
        bench.line.ask()
    await settled(bench.line, 1 + 3)
    bench.resources.drain.begin()
    bench.gate.set()

    with pytest.raises(Unavailable) as caught:
        await running
    await asyncio.gather(*held)
    assert caught.value.reason == "SHUTTING_DOWN"
    assert len(bench.line.ids) == 3


async def test_who_leaves_leaves_nothing(bench: Bench) -> None:
    held = bench.hold()
    running = bench.run()
    bench.line.start()
    for _ in range(20):
        bench.line.ask()
    await settled(bench.line, 1 + 20)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert bench.resources.budget.used == 0
    bench.gate.set()
    await asyncio.gather(*held)
