"""Ingest streams of cameras that send a clip at a time, over the native edge: threads await, commit and acknowledge."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from memdb.config import ServerConfig
from memdb.engine import writer
from memdb.engine.database import EmbeddedDatabase
from memdb.errors import MemdbError
from memdb.server.answers import Answers
from memdb.server.executors import LONE_THREADS, Turns
from memdb.server.ingest import ALONE_MIN, Ingest
from memdb.server.resources import Resources
from memdb.types.clip import Clip
from memdb.v1 import clip_service_pb2 as pb
from memdb.wire.ingest import ingest_parts
from tests.unit.server.native_edge.peers import Running, running

DIM = 32


class Notes:
    """`memdb.server.edge.SendsAhead`, and which thread sends."""

    def __init__(self, ahead: Any, by: list[str]) -> None:
        self.ahead = ahead
        self.by = by

    def __call__(self, message: bytes) -> None:
        self.by.append(threading.current_thread().name)
        self.ahead(message)

    def together(self, messages: Sequence[tuple[Notes, bytes]]) -> None:
        for notes, message in messages:
            notes(message)


class Served:
    """An engine behind an edge."""

    def __init__(self, database: EmbeddedDatabase) -> None:
        self.database = database
        self.resources = Resources.make(
            database, ServerConfig(read_threads=2, write_threads=1, queue_max=1)
        )
        self.by: list[str] = []
        """Threads that sent acknowledgements."""
        self.errors: list[str] = []
        """What streams ended with."""
        self.edge: Running

    async def ingest(self, _: Any, call: Any) -> None:
        sender = Answers(self.resources.budget, 1 << 20).sender(call, lambda: "u")

        def ahead() -> Notes | None:
            found = sender.ahead()
            return None if found is None else Notes(found, self.by)

        try:
            await Ingest(self.resources).run(call.read, sender, ahead, sender.lend)
        except MemdbError as error:
            self.errors.append(error.reason)

    @property
    def awaiting(self) -> int:
        """Threads that await a clip, or have one."""
        return self.resources.pools.lone._turns.taken

    def next_seq(self, stream: str = "s") -> int:
        return self.database.user("u").stream(stream).ledger().next_seq


class Camera:
    """A client of one stream."""

    def __init__(self, served: Served, stream: str = "s") -> None:
        self.call: Any = served.edge.channel.stream_stream("/s/Clips")(timeout=60)
        self.served = served
        self.stream = stream
        self.acks: list[Any] = []

    async def begin(self) -> None:
        start = pb.IngestStart(user="u", stream=self.stream, space="p")
        await self.call.write(pb.IngestClipsRequest(start=start).SerializeToString())
        assert pb.IngestClipsResponse.FromString(await self.call.read()).HasField("started")

    async def send(self, *seqs: int, epoch: int = 0) -> None:
        await self.call.write(b"".join(message_of(seq, epoch) for seq in seqs))

    async def acknowledged(self, count: int) -> None:
        while len(self.acks) < count:
            answer = await asyncio.wait_for(self.call.read(), 30)
            assert answer is not grpc.aio.EOF, len(self.acks)
            self.acks += pb.IngestClipsResponse.FromString(answer).acks.acks

    async def sends_one_by_one(self, seqs: Sequence[int]) -> None:
        for seq in seqs:
            await self.send(seq)
            await self.acknowledged(len(self.acks) + 1)

    async def is_awaited(self) -> None:
        """Send clips until a thread awaits the next one."""
        while not self.served.awaiting:
            await self.sends_one_by_one([len(self.acks)])
            await asyncio.sleep(0.05)


def message_of(seq: int, epoch: int = 0) -> bytes:
    clip = Clip(
        seq=seq, start_ns=seq, end_ns=seq + 1, epoch=epoch,
        global_memory=np.ones(DIM, np.float32), short_memory=np.ones((8, DIM), np.float16),
    )  # fmt: skip
    return b"".join(map(bytes, ingest_parts(clip)))


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[Served]:
    with EmbeddedDatabase(path) as database:
        database.create_space("p", dim=DIM)
        served = Served(database)
        async with running(clips=served.ingest) as served.edge:
            yield served
        # Nobody awaits anything any more.
        await asyncio.wait_for(asyncio.to_thread(served.resources.pools.shutdown), 30)
        assert served.resources.budget.used == 0


async def until(is_true: Callable[[], bool]) -> None:
    for _ in range(3000):
        if is_true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError


async def test_who_sends_a_clip_at_a_time_is_served_by_a_thread_that_awaits_it(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path / "db") as served:
        camera = Camera(served)
        await camera.begin()
        for seq in range(12):
            await camera.send(seq)
            await camera.acknowledged(seq + 1)
            await asyncio.sleep(0.05)  # until the next is awaited
        await camera.call.done_writing()
        assert await camera.call.read() is grpc.aio.EOF
    assert served.by[:ALONE_MIN] == ["memdb-write-0"] * ALONE_MIN
    assert set(served.by[ALONE_MIN:]) <= {f"memdb-lone-{n}" for n in range(LONE_THREADS)}
    assert len(served.by) == 12
    assert [ack.duplicate for ack in camera.acks] == [False] * 12
    assert len({ack.revision for ack in camera.acks}) == 12


async def test_what_comes_otherwise_comes_in_its_place(tmp_path: Path) -> None:
    """Behind a clip that a thread has: several at once, one again, and one that is refused."""
    async with serving(tmp_path / "db") as served:
        camera = Camera(served)
        await camera.begin()
        for round_ in range(6):
            seq = 13 * round_
            await camera.sends_one_by_one(range(seq, seq + 5))
            await asyncio.sleep(rng_pause(round_))
            await camera.send(seq + 5)
            await camera.send(seq + 6, seq + 7)
            for more in range(seq + 8, seq + 13):
                await camera.send(more)
            await camera.send(seq)  # once more
            await camera.acknowledged(14 * (round_ + 1))
        assert [ack.duplicate for ack in camera.acks] == ([False] * 13 + [True]) * 6
        assert "memdb-lone-0" in served.by
        await camera.sends_one_by_one(range(78, 83))
        await camera.send(83, epoch=1)
        with pytest.raises(AssertionError):
            await camera.acknowledged(10_000)
        assert served.next_seq() == 83
    assert served.errors == ["EPOCH_MISMATCH"]


def rng_pause(round_: int) -> float:
    """Long enough for a thread to await the next clip, or not."""
    return (0.0, 0.002, 0.05)[round_ % 3]


async def test_where_there_is_no_thread_the_loop_reads(tmp_path: Path) -> None:
    async with serving(tmp_path / "db") as served:
        served.resources.pools.lone.shutdown()
        camera = Camera(served)
        await camera.begin()
        for _ in range(8):
            await camera.sends_one_by_one([len(camera.acks)])
            await asyncio.sleep(0.02)
        assert set(served.by) == {"memdb-write-0"}
        assert served.awaiting == 0


async def test_more_cameras_than_threads(tmp_path: Path) -> None:
    count = LONE_THREADS + 3
    async with serving(tmp_path / "db") as served:
        cameras = [Camera(served, f"s{n}") for n in range(count)]
        for camera in cameras:
            await camera.begin()
        for turn in range(10):
            for camera in cameras[turn % 2 :]:
                await camera.sends_one_by_one([len(camera.acks)])
        await asyncio.gather(
            *(
                camera.sends_one_by_one(range(len(camera.acks), len(camera.acks) + 20))
                for camera in cameras
            )
        )
        assert [served.next_seq(f"s{n}") for n in range(count)] == [25] + [30] * (count - 1)


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_stream_whose_clip_is_awaited_ends(tmp_path: Path, leaves: bool) -> None:
    """When the server stops, and when its caller leaves."""
    async with serving(tmp_path / "db") as served:
        camera = Camera(served)
        await camera.begin()
        await camera.is_awaited()
        if leaves:
            camera.call.cancel()
        else:
            served.resources.drain.begin()
            assert await asyncio.wait_for(camera.call.read(), 20) is grpc.aio.EOF
        await served.edge.ends_all()
        await until(lambda: not served.awaiting)
    assert served.errors == ([] if leaves else ["SHUTTING_DOWN"])


async def test_a_clip_that_a_thread_has_is_acknowledged_though_the_server_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path / "db") as served:
        camera = Camera(served)
        await camera.begin()
        await camera.is_awaited()
        committing, go_on = threading.Event(), threading.Event()
        with served.database.user("u").memory() as memory:
            commit = memory._commits.commit

            def held_back(group: Any, waiting: Any) -> Any:
                committing.set()
                go_on.wait(30)
                return commit(group, waiting)

            monkeypatch.setattr(memory._commits, "commit", held_back)
            await camera.send(len(camera.acks))
            await asyncio.to_thread(committing.wait, 30)
            served.resources.drain.begin()
            await asyncio.sleep(0.1)
            go_on.set()
            await camera.acknowledged(len(camera.acks) + 1)
            assert await camera.call.read() is grpc.aio.EOF
    assert served.by[-1].startswith("memdb-lone-")
    assert served.errors == ["SHUTTING_DOWN"]


async def test_a_clip_that_its_user_is_too_busy_for_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path / "db") as served:
        camera = Camera(served)
        await camera.begin()
        await camera.is_awaited()
        monkeypatch.setattr(writer, "QUEUE_BYTES_MAX", 0)
        user = served.database.user("u")
        committing, go_on = threading.Event(), threading.Event()
        with user.memory() as memory:
            commit = memory._commits.commit

            def held_back(group: Any, waiting: Any) -> Any:
                committing.set()
                go_on.wait(30)
                return commit(group, waiting)

            monkeypatch.setattr(memory._commits, "commit", held_back)
            other = asyncio.create_task(asyncio.to_thread(user.put, "x", 2))
            await asyncio.to_thread(committing.wait, 30)
            sent = len(camera.acks) + 1
            await camera.send(sent - 1)
            await asyncio.sleep(0.2)
            go_on.set()
            await camera.acknowledged(sent)
            await other
        await camera.sends_one_by_one(range(sent, 20))
        assert served.next_seq() == 20


def sends_at_leisure(port: int, stream: str, count: int) -> int:
    """A camera with a thread of its own; how many of its clips were acknowledged."""
    acknowledged = threading.Semaphore(0)

    def messages() -> Iterator[bytes]:
        start = pb.IngestStart(user="u", stream=stream, space="p")
        yield pb.IngestClipsRequest(start=start).SerializeToString()
        for seq in range(count):
            acknowledged.acquire(timeout=20)
            time.sleep(0.1)
            yield message_of(seq)
        acknowledged.acquire(timeout=20)

    answers = 0
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.stream_stream("/s/Clips")
        for _ in call(messages(), timeout=20):
            answers += 1
            acknowledged.release()
    return answers - 1


async def test_a_clip_that_came_before_it_was_known_that_no_thread_is_free_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path / "db") as served:
        cameras = [Camera(served, f"s{n}") for n in range(LONE_THREADS)]
        for camera in cameras:
            await camera.begin()
            before = served.awaiting
            while served.awaiting == before:
                await camera.sends_one_by_one([len(camera.acks)])
                await asyncio.sleep(0.05)
        begin, were_none = Turns.begin, []

        def begin_late(turns: Turns, function: Any) -> Any:
            if function.__name__ == "_take":
                time.sleep(0.3)  # of the loop, while the next clip comes
                were_none.append(served.awaiting == LONE_THREADS)
            return begin(turns, function)

        monkeypatch.setattr(Turns, "begin", begin_late)
        sent = asyncio.to_thread(sends_at_leisure, served.edge.port, "late", 6)
        assert await asyncio.wait_for(sent, 60) == 6
        assert were_none
        assert all(were_none)
