"""The ingest stream's window and its ends, over a real engine with its commits held back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb.config import ServerConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.errors import InvalidArgument, Unavailable
from memdb.server import ingest
from memdb.server.drain import Drain
from memdb.server.executors import Pools
from memdb.server.ingest import Ingest
from memdb.types.clip import Clip
from memdb.v1 import clip_service_pb2 as pb
from memdb.wire.clips import clip_to_proto

DIM = 4


class Line:
    """Both directions of a stream, and how far the server has read."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.answers: list[pb.IngestClipsResponse] = []
        self.read = 0

    async def receive(self) -> bytes | None:
        data = await self.incoming.get()
        self.read += 1
        return data

    async def send(self, data: bytes) -> None:
        self.answers.append(pb.IngestClipsResponse.FromString(data))

    def start(self) -> None:
        message = pb.IngestClipsRequest(start=pb.IngestStart(user="u", stream="s", space="p"))
        self.incoming.put_nowait(message.SerializeToString())

    def clip(self, seq: int, *, keyframes: tuple[Any, ...] = (), dim: int = DIM) -> None:
        vector = np.ones(dim, np.float32)
        clip = Clip(
            seq=seq, start_ns=seq, end_ns=seq + 1, global_memory=vector, keyframes=keyframes
        )
        message = pb.IngestClipsRequest(clips=[clip_to_proto(clip)])
        self.incoming.put_nowait(message.SerializeToString())

    def end(self) -> None:
        self.incoming.put_nowait(None)

    @property
    def acks(self) -> int:
        return sum(len(answer.acks.acks) for answer in self.answers)


class Bench:
    """An engine with one write thread, which the test may hold."""

    def __init__(self, database: EmbeddedDatabase) -> None:
        self.database = database
        self.pools = Pools(ServerConfig(read_threads=2, write_threads=1))
        self.drain = Drain()
        self.line = Line()
        self.gate = threading.Event()

    def hold(self) -> asyncio.Task[bool]:
        return asyncio.create_task(self.pools.write.run(self.gate.wait))

    def run(self) -> asyncio.Task[None]:
        session = Ingest(self.database, self.pools, self.drain)
        return asyncio.create_task(session.run(self.line.receive, self.line.send))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    with EmbeddedDatabase(tmp_path / "db") as database:
        database.create_space("p", dim=DIM)
        made = Bench(database)
        yield made
        made.gate.set()
        await asyncio.to_thread(made.pools.shutdown)


async def settled(line: Line) -> int:
    """Messages read once the server reads no further."""
    read = -1
    while read != line.read:
        read = line.read
        await asyncio.sleep(0.1)
    return read


async def test_reading_stops_at_the_window_and_goes_on_after_the_commit(bench: Bench) -> None:
    held = bench.hold()
    bench.line.start()
    for seq in range(200):
        bench.line.clip(seq)
    bench.line.end()
    running = bench.run()
    assert await settled(bench.line) == 1 + ingest.CLIPS_MAX
    assert bench.line.acks == 0
    bench.gate.set()
    await asyncio.wait_for(running, 30)
    await held
    assert bench.line.acks == 200
    # Everything that waited went into one commit.
    assert max(len(answer.acks.acks) for answer in bench.line.answers) >= ingest.CLIPS_MAX - 1


async def test_the_window_is_counted_in_bytes_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "BYTES_MAX", 1_000_000)
    bench.hold()
    bench.line.start()
    for seq in range(20):
        bench.line.clip(seq, keyframes=(b"x" * 300_000,))
    bench.line.end()
    running = bench.run()
    assert await settled(bench.line) == 1 + 4
    bench.gate.set()
    await asyncio.wait_for(running, 30)
    assert bench.line.acks == 20


async def test_large_messages_are_parsed_on_a_thread_and_stay_in_order(bench: Bench) -> None:
    bench.line.start()
    for seq in range(6):
        bench.line.clip(seq, keyframes=(b"x" * 900_000,) if seq % 2 else ())
    bench.line.end()
    await asyncio.wait_for(bench.run(), 30)
    seqs = [
        bench.database.user("u").clip(ack.clip_id).seq
        for answer in bench.line.answers
        for ack in answer.acks.acks
    ]
    assert seqs == list(range(6))


async def test_a_refused_clip_is_told_after_those_before_it(bench: Bench) -> None:
    bench.line.start()
    bench.line.clip(0)
    bench.line.clip(1, dim=DIM + 1)
    bench.line.clip(2)
    with pytest.raises(InvalidArgument) as caught:
        await asyncio.wait_for(bench.run(), 30)
    assert caught.value.reason == "DIM_MISMATCH"
    assert bench.line.acks == 1


async def test_what_cannot_be_parsed_is_told_after_the_clips_before_it(bench: Bench) -> None:
    held = bench.hold()
    bench.line.start()
    bench.line.clip(0)
    bench.line.incoming.put_nowait(b"\xff")
    running = bench.run()
    await settled(bench.line)
    bench.gate.set()
    with pytest.raises(InvalidArgument) as caught:
        await asyncio.wait_for(running, 30)
    await held
    assert caught.value.reason == "BAD_MESSAGE"
    assert bench.line.acks == 1


async def test_stopping_acknowledges_what_was_read_and_ends(bench: Bench) -> None:
    held = bench.hold()
    bench.line.start()
    for seq in range(10):
        bench.line.clip(seq)
    running = bench.run()
    await settled(bench.line)
    bench.drain.begin()
    bench.gate.set()
    with pytest.raises(Unavailable) as caught:
        await asyncio.wait_for(running, 30)
    await held
    assert caught.value.reason == "SHUTTING_DOWN"
    assert bench.line.acks == 10


async def test_a_client_that_leaves_takes_its_reader_along(bench: Bench) -> None:
    bench.line.start()
    running = bench.run()
    await settled(bench.line)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [task for task in asyncio.all_tasks() if "Ingest._read" in repr(task.get_coro())] == []
