"""Streams of questions of the asyncio client against a real server: live questions, and how they end."""

from __future__ import annotations

import asyncio
import collections
import gc
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from memdb.engine.database import EmbeddedDatabase
from memdb.errors import InvalidArgument, Unavailable
from memdb.types.arrays import Array
from memdb.types.limits import QUESTIONS_MAX
from memdb.types.questions import GROUP_MAX
from memdb_client import connect, connect_async
from tests.congruence.server import ServerProcess
from tests.e2e.serving import DIM, Served, clip, serving, vector

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("questions")
    with serving(folder / "db") as running:
        running.database.create_space("p", dim=DIM)
        stream = running.database.user("u").stream("cam", space="p")
        stream.write_many([clip(seq) for seq in range(20)])
        yield running


async def test_an_async_iterable_may_wait_for_answers(served: Served) -> None:
    answered = asyncio.Semaphore(1)

    async def questions() -> AsyncIterator[Array]:
        for seed in range(10):
            await answered.acquire()
            yield vector(seed)

    seen: list[int] = []
    async with connect_async(served.address) as db:
        async for answer in db.user("u").ground_stream(questions(), limit=1):
            seen.append(answer.hits[0].clip.seq)
            answered.release()
    assert seen == list(range(10))


async def test_no_deadline_ends_a_stream(served: Served) -> None:
    timeout_s = 0.2

    async def questions() -> AsyncIterator[Array]:
        yield vector(1)
        await asyncio.sleep(3 * timeout_s)
        yield vector(2)

    async with connect_async(served.address, timeout_s=timeout_s) as db:
        answers = [answer async for answer in db.user("u").ground_stream(questions(), limit=1)]
    assert [answer.hits[0].clip.seq for answer in answers] == [1, 2]


async def test_what_an_async_iterable_raises_comes_after_the_answers(served: Served) -> None:
    async def questions() -> AsyncIterator[Array]:
        yield vector(1)
        yield vector(2)
        await asyncio.sleep(0.01)
        raise OSError("the microphone")

    async with connect_async(served.address) as db:
        answers = db.user("u").ground_stream(questions(), limit=1)
        assert [(await anext(answers)).hits[0].clip.seq for _ in range(2)] == [1, 2]
        with pytest.raises(OSError, match="microphone"):
            await anext(answers)


async def test_a_refusal_comes_through_while_questions_are_sent(served: Served) -> None:
    # gRPC may lose the status of a call whose client is sending; the last message tells it too.
    async def questions() -> AsyncIterator[Array]:
        while True:
            yield np.zeros(DIM, np.float32)

    async with connect_async(served.address) as db:
        for _ in range(20):
            with pytest.raises(InvalidArgument) as caught:
                await anext(db.user("u").ground_stream(questions()))
            assert (caught.value.reason, caught.value.field) == (
                "ZERO_VECTOR",
                "question_features[0]",
            )


async def test_who_does_not_read_is_not_read(served: Served) -> None:
    taken = 0

    async def questions() -> AsyncIterator[Array]:
        nonlocal taken
        while True:
            taken += 1
            yield vector(taken % 20)

    async with connect_async(served.address) as db:
        answers = db.user("u").ground_stream(questions(), limit=20)
        await anext(answers)
        deadline_s = time.monotonic() + 30
        while taken < QUESTIONS_MAX:
            assert time.monotonic() < deadline_s, taken
            await asyncio.sleep(0.01)
        before = -1
        while before != taken:
            before = taken
            await asyncio.sleep(0.3)
        assert taken <= 2 * QUESTIONS_MAX + GROUP_MAX
        assert len((await anext(answers)).hits) == 20
        await answers.aclose()


async def test_closing_the_client_ends_a_stream(served: Served) -> None:
    async def never() -> AsyncIterator[Array]:
        await asyncio.Event().wait()
        yield vector(0)

    db = await connect_async(served.address)
    waiting = asyncio.ensure_future(anext(db.user("u").ground_stream(never())))
    await asyncio.sleep(0.1)
    await db.close()
    with pytest.raises(Unavailable) as caught:
        await waiting
    assert caught.value.reason == "CLOSED"


def test_a_server_that_is_killed_ends_a_stream_and_lets_its_questions_go(tmp_path: Path) -> None:
    with EmbeddedDatabase(tmp_path / "db") as database:
        database.create_space("p", dim=DIM)
        database.user("u").stream("cam", space="p").write(clip(0))
    released = threading.Event()

    def questions() -> Iterator[Array]:
        try:
            while True:
                yield vector(1)
        finally:
            released.set()

    with ServerProcess(tmp_path / "db") as server, connect(server.address) as db:
        answers = db.user("u").ground_stream(questions())
        assert [len(next(answers).hits) for _ in range(300)] == [1] * 300
        server.kill()
        with pytest.raises(Unavailable):
            collections.deque(answers, maxlen=0)
    gc.collect()
    assert released.wait(30)


async def test_a_server_that_stops_says_so_to_a_stream(tmp_path: Path) -> None:
    answered = asyncio.Event()

    async def questions() -> AsyncIterator[Array]:
        yield vector(1)
        await asyncio.sleep(3600)

    with EmbeddedDatabase(tmp_path / "db") as database:
        database.create_space("p", dim=DIM)
        database.user("u").stream("cam", space="p").write(clip(0))
    with ServerProcess(tmp_path / "db") as server:
        async with connect_async(server.address) as db:

            async def follow() -> None:
                async for _ in db.user("u").ground_stream(questions()):
                    answered.set()

            following = asyncio.create_task(follow())
            await asyncio.wait_for(answered.wait(), 10)
            server._process.terminate()
            with pytest.raises(Unavailable) as caught:
                await asyncio.wait_for(following, 10)
    assert caught.value.reason == "SHUTTING_DOWN"
