"""What streams of a user have ready, and the threads that commit it, which a test may hold."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np

from memdb.config import ServerConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.errors import MemdbError
from memdb.server.gathered import Gathered
from memdb.server.lot import Lot
from memdb.server.ready_clips import Ready, Told
from memdb.server.resources import Resources
from memdb.types.clip import Clip
from memdb.v1 import clip_service_pb2 as pb

DIM = 4


class Tells:
    """Says who sent how many acknowledgements, in the place of sending them."""

    def __init__(self, told: Callable[[tuple[str, int]], None]) -> None:
        self.told = told

    def __call__(self, message: bytes) -> None:
        acks = pb.IngestClipsResponse.FromString(message).acks.acks
        self.told((threading.current_thread().name, len(acks)))

    def together(self, messages: Sequence[tuple[Tells, bytes]]) -> None:
        for tells, message in messages:
            tells(message)


class Bench:
    """A user who is there and open, and threads that the test may hold."""

    def __init__(self, database: EmbeddedDatabase) -> None:
        self.database = database
        self.user = database.user("u")
        self.user.put("made", 1)
        self.resources = Resources.make(database, ServerConfig(write_threads=8))
        self.told: list[tuple[str, int]] = []
        """By whom, and how many acknowledgements."""

    @property
    def gathered(self) -> Gathered:
        return self.resources.gatherings.of("u")

    def ready(
        self, stream: str, *seqs: int, space: str = "p", dim: int = DIM, size: int = 100
    ) -> Ready:
        vector = np.ones(dim, np.float32)
        clips = [Clip(seq=seq, start_ns=seq, end_ns=seq + 1, global_memory=vector) for seq in seqs]
        lot = Lot()
        lot.add(clips, size)
        return Ready(partial(self.user.stream, stream, space=space), lot, Tells(self.told.append))

    @contextmanager
    def held_back(self) -> Iterator[Callable[[], int]]:
        """No commit is made meanwhile; how many callers wait for one."""
        with self.user.memory() as memory, memory._writer.held_back():
            yield lambda: len(memory._writer._queue)


def acks(told: tuple[bytes, MemdbError | None]) -> int:
    return len(pb.IngestClipsResponse.FromString(told[0]).acks.acks)


async def committed(crowd: Gathered, ready: Ready) -> Told:
    """What became of it; who gives up waiting takes it back."""
    crowd.put(ready)
    try:
        return await ready.outcome
    except asyncio.CancelledError:
        crowd.take_back(ready)
        raise


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_true():
            await asyncio.sleep(0.001)
