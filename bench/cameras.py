"""Cameras of one user that write as fast as they can: the three ways of `bench.workloads.streams`.

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
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass

import numpy as np

import memdb_client
from bench import data
from bench.server import Server
from memdb import Clip
from memdb.types.database import Database, Stream, User

WAITING_MAX = 32
"""Threads, where each waits for its clip."""
ON_THEIR_WAY = 512
"""Clips that several cameras have together on their way over gRPC, each at least `WINDOW_MIN`: with half as many who
sends waits for commits.  What each writer has by itself makes messages large and few, which come in the order of their
streams."""
WINDOW_MIN = 16
"""With 8 they are committed fewer at a time."""
FEEDERS_MAX = 16
"""Threads, where none waits: of as many cameras as there may be, since two processors do the work."""


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
    """Ingest writers with the window that they have where nobody says, fed by a thread for each camera, of many by
    `FEEDERS_MAX` which go from camera to camera: so an application that makes its clips itself has them.
    """
    streams = _streams(user, cameras, made)

    def work(round_: _Round, number: int, before: Clip, clips: list[Clip]) -> None:
        with ExitStack() as stack:
            writers = [
                stack.enter_context(stream.ingest()) for stream in streams[number::FEEDERS_MAX]
            ]
            for writer in writers:
                writer.send(before)
            for writer in writers:
                writer.flush()
            with round_:
                for clip in clips:
                    for writer in writers:
                        writer.send(clip)
                for writer in writers:
                    writer.flush()

    return _in_threads(user, cameras, made, FEEDERS_MAX, work)


def waiting(user: User, cameras: int, made: list[Clip]) -> Round:
    """Threads that write clip after clip of their cameras, and wait for each."""
    streams = _streams(user, cameras, made)

    def work(round_: _Round, number: int, before: Clip, clips: list[Clip]) -> None:
        for stream in streams[number::WAITING_MAX]:
            stream.write(before)
        with round_:
            for clip in clips:
                for stream in streams[number::WAITING_MAX]:
                    stream.write(clip)

    return _in_threads(user, cameras, made, WAITING_MAX, work)


def _streams(user: User, cameras: int, made: list[Clip]) -> list[Stream]:
    return [user.stream(f"camera-{n}", space=_space(made)) for n in range(cameras)]


class _Round:
    """What threads do between its beginning and its end is timed."""

    def __init__(self, threads: int) -> None:
        self.ready = threading.Barrier(threads + 1)
        self.begun = threading.Barrier(threads + 1)
        self.ended = threading.Barrier(threads + 1)

    def __enter__(self) -> None:
        self.ready.wait()
        self.begun.wait()

    def __exit__(self, *exc_info: object) -> None:
        self.ended.wait()


def _in_threads(
    user: User,
    cameras: int,
    made: list[Clip],
    threads_max: int,
    work: Callable[[_Round, int, Clip, list[Clip]], None],
) -> Round:
    """work: called by each thread with its number, the clip that is not timed and those that are."""

    def written(first: int, count: int) -> Written:
        before, *clips = _clips(made, first, count)
        workers = min(cameras, threads_max)
        round_ = _Round(workers)
        begin = time.perf_counter()
        threads = [
            threading.Thread(target=work, args=(round_, n, before, clips)) for n in range(workers)
        ]
        for thread in threads:
            thread.start()
        round_.ready.wait()
        clock = _Clock(user, begin)
        round_.begun.wait()
        round_.ended.wait()
        written = clock.stop(count * cameras)
        for thread in threads:
            thread.join()
        return written

    return written


def remote(server: Server, user: User, cameras: int, made: list[Clip]) -> Round:
    """Asyncio ingest streams, with at most `ON_THEIR_WAY` clips; a single camera with as many as it may."""
    window = None if cameras == 1 else max(WINDOW_MIN, ON_THEIR_WAY // cameras)

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
