"""Many questions to one user of a hundred clips (1536-d, with transcripts), 4 hits each, by 1, 8 and 32 clients.

Clients are tasks of one process (for which gRPC shares a connection), the server is another.  A client asks as fast as
it is answered: one question a call (``unary``), 64 a call (``ground_many``), or by a stream that never ends
(``ground_stream``).  ``echo`` is a unary call of grpc.aio that carries the bytes of one question and its answer to
another process and back, and does nothing else.  Every way has its turn in each round, in random order; a figure is
the median over rounds, a ratio the median of the rounds' ratios.  ``server_ms`` is processor time of the server for a
question, which what else a machine does changes least.  ``lone_p50_ms`` is what a question takes while nobody else
asks.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import cycle
from pathlib import Path

import memdb
import memdb_client
from bench import data
from bench.limits import Echo
from bench.report import Result, Setup, median, result
from bench.server import Server, processor_s
from memdb.wire.grounding import ground_request, grounding_to_proto
from memdb_client import AsyncUser

SPACE = "bench-1536"
USER = "bench"
LIMIT = 4
CLIPS = 100
CLIENTS = (1, 8, 32)
AT_ONCE = 64
LONE_QUESTIONS = 50

Client = Callable[[float], Awaitable[int]]
"""Asks until a time (of `time.perf_counter`); how many questions were answered."""


def run(setup: Setup) -> Result:
    """Measure."""
    served = setup.folder / "served"
    request_bytes, answer_bytes = _fill(setup, served)
    questions = data.vectors(setup.seed, 8 * AT_ONCE, stream=1)
    rounds, seconds = (1, 0.3) if setup.quick else (7, 1.5)
    with Server(served) as server, Echo(request_bytes, answer_bytes) as echo:
        figures, ratios = asyncio.run(
            _Measured(server, echo, questions, rounds, seconds).all_ways(random.Random(setup.seed))
        )
    config: dict[str, object] = {
        "clips": CLIPS,
        "dim": data.DIM,
        "limit": LIMIT,
        "questions_a_call": AT_ONCE,
        "rounds": rounds,
        "round_s": seconds,
        "request_bytes": request_bytes,
        "answer_bytes": answer_bytes,
    }
    return result("many", setup, config, figures, ratios)


def _fill(setup: Setup, folder: Path) -> tuple[int, int]:
    """Make the user; bytes of a question and of its answer."""
    with memdb.open(folder) as database:
        database.create_space(SPACE, dim=data.DIM, model="bench")
        user = database.user(USER)
        vectors = data.vectors(setup.seed, CLIPS)
        user.stream("camera", space=SPACE).write_many(data.clips(setup.seed, vectors))
        question = data.vectors(setup.seed, 1, stream=1)[0]
        answer = grounding_to_proto(user.ground(question, limit=LIMIT))
    return ground_request(USER, question, limit=LIMIT).ByteSize(), answer.ByteSize()


class _Measured:
    """The ways to ask, each by any number of clients."""

    def __init__(
        self, server: Server, echo: Echo, questions: data.Vectors, rounds: int, seconds: float
    ) -> None:
        self._server = server
        self._echo = echo
        self._questions = questions
        self._rounds = rounds
        self._seconds = seconds

    async def all_ways(self, rng: random.Random) -> tuple[dict[str, float], dict[str, float]]:
        """Figures and ratios."""
        figures: dict[str, float] = {"lone_p50_ms": await self._lone()}
        ratios: dict[str, float] = {}
        for count in CLIENTS:
            rates: dict[str, list[float]] = {}
            spent: dict[str, list[float]] = {}
            async with AsyncExitStack() as opened:
                ways = list((await self._ways(count, opened)).items())
                for _ in range(self._rounds):
                    rng.shuffle(ways)
                    for name, clients in ways:
                        rate, server_ms = await self._turn(name, clients)
                        rates.setdefault(name, []).append(rate)
                        spent.setdefault(name, []).append(server_ms)
            for name, values in rates.items():
                figures[f"{name}_{count}_qps"] = median(values)
                figures[f"{name}_{count}_server_ms"] = median(spent[name])
                if name != "echo":
                    pairs = zip(values, rates["echo"], strict=True)
                    ratios[f"{name}_vs_echo_{count}"] = median([a / b for a, b in pairs])
        return figures, ratios

    async def _lone(self) -> float:
        async with memdb_client.connect_async(self._server.address) as db:
            user = db.user(USER)
            spent: list[float] = []
            for question in self._questions[: 2 * LONE_QUESTIONS]:
                begin = time.perf_counter()
                await user.ground(question, limit=LIMIT)
                spent.append((time.perf_counter() - begin) * 1e3)
        return median(spent[LONE_QUESTIONS:])

    async def _turn(self, name: str, clients: list[Client]) -> tuple[float, float]:
        """(questions a second, ms of the server's processor for each) of a way."""
        pid = self._echo.pid if name == "echo" else self._server.pid
        cpu = processor_s(pid)
        begin = time.perf_counter()
        answered = sum(await asyncio.gather(*(client(begin + self._seconds) for client in clients)))
        took = time.perf_counter() - begin
        return answered / took, (processor_s(pid) - cpu) * 1e3 / answered

    async def _ways(self, count: int, opened: AsyncExitStack) -> dict[str, list[Client]]:
        ways: dict[str, list[Client]] = {}
        for number in range(count):
            echo = await opened.enter_async_context(self._echo.asking())
            db = await opened.enter_async_context(memdb_client.connect_async(self._server.address))
            user = db.user(USER)
            ways.setdefault("echo", []).append(_repeated(echo, 1))
            ways.setdefault("unary", []).append(self._unary(user, number))
            ways.setdefault("ground_many", []).append(self._many(user, number))
            ways.setdefault("ground_stream", []).append(self._stream(user, number))
        return ways

    def _unary(self, user: AsyncUser, number: int) -> Client:
        questions = cycle([*self._questions[number:], *self._questions[:number]])
        return _repeated(lambda: user.ground(next(questions), limit=LIMIT), 1)

    def _many(self, user: AsyncUser, number: int) -> Client:
        groups = self._questions.reshape(-1, AT_ONCE, data.DIM)
        turns = cycle([*groups[number % len(groups) :], *groups[: number % len(groups)]])
        return _repeated(lambda: user.ground_many(next(turns), limit=LIMIT), AT_ONCE)

    def _stream(self, user: AsyncUser, number: int) -> Client:
        async def client(until: float) -> int:
            async def questions() -> AsyncIterator[data.Vectors]:
                for question in cycle([*self._questions[number:], *self._questions[:number]]):
                    yield question
                    if time.perf_counter() >= until:
                        return

            answered = 0
            async for _ in user.ground_stream(questions(), limit=LIMIT):
                answered += 1
            return answered

        return client


def _repeated(ask: Callable[[], Awaitable[object]], questions: int) -> Client:
    async def client(until: float) -> int:
        answered = 0
        while not answered or time.perf_counter() < until:
            await ask()
            answered += questions
        return answered

    return client
