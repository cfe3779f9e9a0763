"""An ingest stream served over a real engine, whose commits a test may hold back."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from memdb.config import ServerConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.server.ingest import Ingest
from memdb.server.resources import Resources
from memdb.types.clip import Clip
from memdb.v1 import clip_service_pb2 as pb
from memdb.wire.clips import clip_to_proto

DIM = 4


def clip_of(seq: int, *, keyframes: tuple[Any, ...] = (), dim: int = DIM) -> Clip:
    vector = np.ones(dim, np.float32)
    return Clip(seq=seq, start_ns=seq, end_ns=seq + 1, global_memory=vector, keyframes=keyframes)


class Tells:
    """`memdb.server.edge.SendsAhead`."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.send = send

    def __call__(self, message: bytes) -> None:
        self.send(message)

    def together(self, messages: Sequence[tuple[Tells, bytes]]) -> None:
        for tells, message in messages:
            tells(message)


class Line:
    """Both directions of a stream, and how far the server has read."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.answers: list[pb.IngestClipsResponse] = []
        self.told: list[tuple[str, bytes]] = []
        """By whom, and what."""
        self.read = 0

    async def receive(self) -> bytes | None:
        data = await self.incoming.get()
        self.read += 1
        return data

    async def send(self, data: bytes) -> None:
        self.told.append(("loop", data))
        self.answers.append(pb.IngestClipsResponse.FromString(data))

    def ahead(self) -> Tells:
        """An edge whose messages threads may send; the loop then says them once more."""

        return Tells(lambda data: self.told.append((threading.current_thread().name, data)))

    def start(self, stream: str = "s") -> None:
        message = pb.IngestClipsRequest(start=pb.IngestStart(user="u", stream=stream, space="p"))
        self.incoming.put_nowait(message.SerializeToString())

    def clip(self, seq: int, *, keyframes: tuple[Any, ...] = (), dim: int = DIM) -> None:
        self.clips(clip_of(seq, keyframes=keyframes, dim=dim))

    def clips(self, *clips: Clip) -> None:
        """In one message."""
        message = pb.IngestClipsRequest(clips=[clip_to_proto(clip) for clip in clips])
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
        self.resources = Resources.make(
            database, ServerConfig(read_threads=2, write_threads=1, queue_max=1)
        )
        self.pools = self.resources.pools
        self.drain = self.resources.drain
        self.budget = self.resources.budget
        self.line = Line()
        self.gate = threading.Event()

    def hold(self) -> asyncio.Task[bool]:
        return asyncio.create_task(self.pools.write.run(self.gate.wait))

    def run(self) -> asyncio.Task[None]:
        return self.serve(self.line)

    def serve(self, line: Line) -> asyncio.Task[None]:
        return asyncio.create_task(Ingest(self.resources).run(line.receive, line.send))


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
