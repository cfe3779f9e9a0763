"""Cameras of one user that write as fast as they can: the two ways of `bench.workloads.streams`.

A camera's stream stays open for months, so it is open before the clock runs: a round opens the streams, has a clip of
each acknowledged, and is timed from the first clip that follows to the last acknowledgement.  Embedded, threads are
started and wait at a barrier likewise.  The clips are made before, as raw LMDB has its bytes; every camera sends the
same.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import numpy as np

import memdb_client
from bench import data
from bench.server import Server
from memdb import Clip
from memdb.types.database import Database, User
from memdb.types.ingest import INGEST_WINDOW

WINDOW = 8
"""Clips that one of several cameras has on their way over gRPC."""
THREADS_MAX = 32


@dataclass(frozen=True, slots=True)
class Written:
    """What a round took."""

    clips: int
    wall_s: float
    client_s: float
    """Of the processor, in the process that sends; embedded that is all."""
    server_s: float
    """Of the server's processor."""
    open_s: float
    """From nothing until a clip of each stream is acknowledged."""
    commits: int


Round = Callable[[int, int], Written]
"""Writes so many clips of each camera from a number on, behind one that is not timed."""


def embedded(user: User, cameras: int, made: list[Clip]) -> Round:
    """Threads that write clip after clip of their cameras; a single camera uses `ingest`."""
    streams = [user.stream(f"camera-{n}", space=_space(made)) for n in range(cameras)]

    def one(first: int, count: int) -> Written:
        before, *clips = _clips(made, first, count)
        begin = time.perf_counter()
        with streams[0].ingest() as writer:
            writer.send(before)
            writer.flush()
            clock = _Clock(user, begin)
            for clip in clips:
                writer.send(clip)
            writer.flush()
            return clock.stop(count)

    def many(first: int, count: int) -> Written:
        before, *clips = _clips(made, first, count)
        workers = min(cameras, THREADS_MAX)
        ready, ended = threading.Barrier(workers + 1), threading.Barrier(workers + 1)

        def work(number: int) -> None:
            for stream in streams[number::workers]:
                stream.write(before)
            ready.wait()
            ready.wait()
            for clip in clips:
                for stream in streams[number::workers]:
                    stream.write(clip)
            ended.wait()

        begin = time.perf_counter()
        threads = [threading.Thread(target=work, args=(n,)) for n in range(workers)]
        for thread in threads:
            thread.start()
        ready.wait()
        clock = _Clock(user, begin)
        ready.wait()
        ended.wait()
        written = clock.stop(count * cameras)
        for thread in threads:
            thread.join()
        return written

    return one if cameras == 1 else many


def remote(server: Server, user: User, cameras: int, made: list[Clip]) -> Round:
    """Asyncio ingest streams, each with at most `WINDOW` clips on their way; a single camera with as many as it may."""
    window = INGEST_WINDOW if cameras == 1 else WINDOW

    async def all_of_them(first: int, count: int) -> Written:
        before, *clips = _clips(made, first, count)

        async def camera(writer: memdb_client.AsyncIngestWriter) -> None:
            for clip in clips:
                await writer.send(clip)
            await writer.flush()

        begin = time.perf_counter()
        async with memdb_client.connect_async(server.address) as db, AsyncExitStack() as stack:
            its = db.user("bench")
            streams = [its.stream(f"camera-{n}", space=_space(made)) for n in range(cameras)]
            writers = [stream.ingest(window=window) for stream in streams]

            async def opened(writer: memdb_client.AsyncIngestWriter) -> None:
                await stack.enter_async_context(writer)
                await writer.send(before)
                await writer.flush()

            await asyncio.gather(*map(opened, writers))
            clock = _Clock(user, begin, server)
            await asyncio.gather(*map(camera, writers))
            return clock.stop(count * cameras)

    return lambda first, count: asyncio.run(all_of_them(first, count))


class _Clock:
    """Of a round; it runs from where it is made."""

    def __init__(self, user: User, begin: float, server: Server | None = None) -> None:
        """begin: when opening began."""
        self._user = user
        self._server = server
        self._revision = user.revision()
        self._opened = time.perf_counter() - begin
        self._server_s = server.processor_s() if server else 0.0
        self._client_s = time.process_time()
        self._begin = time.perf_counter()

    def stop(self, clips: int) -> Written:
        """The clips are all acknowledged."""
        wall_s = time.perf_counter() - self._begin
        client_s = time.process_time() - self._client_s
        server_s = self._server.processor_s() - self._server_s if self._server else 0.0
        commits = self._user.revision() - self._revision
        return Written(clips, wall_s, client_s, server_s, self._opened, commits)


def _clips(made: list[Clip], first: int, count: int) -> list[Clip]:
    """The clip that is not timed, and those that are."""
    return [clip_of(made, seq) for seq in range(first, first + 1 + count)]


def _space(made: list[Clip]) -> str:
    return f"bench-{made[0].global_memory.shape[0]}"


def clip_of(made: list[Clip], seq: int) -> Clip:
    """A clip like one of those made, with a number."""
    clip, begin = made[seq % len(made)], data.start_of(seq)
    return Clip(
        seq=seq,
        start_ns=begin,
        end_ns=begin + data.CLIP_NS,
        global_memory=clip.global_memory,
        short_memory=clip.short_memory,
    )


def values_of(clip: Clip) -> tuple[bytes, ...]:
    """What raw LMDB stores of it."""
    assert isinstance(clip.short_memory, np.ndarray)
    return clip.short_memory.tobytes(), clip.global_memory.tobytes(), b"x" * 120


def user_of(database: Database, dim: int) -> User:
    """A user that is there, with a space."""
    database.create_space(f"bench-{dim}", dim=dim, model="bench")
    user = database.user("bench")
    user.put("made", 1)
    return user
