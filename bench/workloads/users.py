"""Many users on one server: cameras at their real pace, as fast as they can, and users that come from the cold.

1. ``paced``: 1,000 users with one camera each, 62 clips a second in all (a 16-frame clip of each camera every 16 s),
   one unary write a clip, sent when it is due whatever became of the others; times from due to acknowledgement.
2. ``sustained``: the same cameras as fast as the acknowledgements come, 64 at a time.
3. ``crowd``: 10,000 users of one clip, each asked once in turn, four at a time: what opening and evicting costs, and
   the memory of the server afterwards.
4. ``cold``: after a restart, users with 1,000 clips (1536-d, no short-term memory) are asked one after the other: time
   to the first answer of each.  Their files are in the page cache.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

import memdb
import memdb_client
from bench import data
from bench.report import Result, Setup, median, percentile, result
from bench.server import Server
from memdb import Clip
from memdb_client import AsyncDatabase

SPACE = "bench-1536"
PACE_CLIPS_PER_S = 62
AT_ONCE = 64


def run(setup: Setup) -> Result:
    """Measure."""
    return asyncio.run(_run(setup))


async def _run(setup: Setup) -> Result:
    cameras, seconds, crowd, cold = (20, 2, 40, 5) if setup.quick else (1000, 32, 10_000, 60)
    vectors = data.vectors(setup.seed, 64)
    clips = list(data.clips(setup.seed, vectors, short_memory=data.short_memories(setup.seed, 64)))
    served = setup.folder / "cameras"
    figures: dict[str, float] = {}
    with Server(served) as server:
        async with memdb_client.connect_async(server.address) as db:
            await db.create_space(SPACE, dim=data.DIM, model="bench")
            fleet = _Fleet(db, cameras, clips)
            await fleet.all_once()
            process = psutil.Process(server.pid)
            figures |= await _paced(fleet, process, seconds)
            figures |= await _sustained(fleet, process, seconds / 2)
            figures["cameras_rss_mb"], figures["cameras_anonymous_mb"] = server.memory_mb()
    figures |= await _crowd(setup, crowd, cold)
    config: dict[str, object] = {
        "cameras": cameras,
        "paced_clips_per_s": PACE_CLIPS_PER_S,
        "paced_s": seconds,
        "at_once": AT_ONCE,
        "crowd_users": crowd,
        "cold_users": cold,
        "cold_clips": 100 if setup.quick else 1000,
    }
    return result("users", setup, config, figures)


class _Fleet:
    """A camera of each user, which writes its next clip when it is told to."""

    def __init__(self, db: AsyncDatabase, count: int, clips: list[Clip]) -> None:
        self._streams = [db.user(f"user-{n}").stream("camera", space=SPACE) for n in range(count)]
        self._next = [0] * count
        self._clips = clips

    def __len__(self) -> int:
        return len(self._streams)

    async def write(self, number: int) -> None:
        seq = self._next[number]
        self._next[number] += 1
        like = self._clips[seq % len(self._clips)]
        begin = data.start_of(seq)
        clip = Clip(
            seq=seq,
            start_ns=begin,
            end_ns=begin + data.CLIP_NS,
            global_memory=like.global_memory,
            short_memory=like.short_memory,
        )
        await self._streams[number].write(clip)

    async def all_once(self) -> None:
        await _at_once(self.write, list(range(len(self))), AT_ONCE)


async def _paced(fleet: _Fleet, process: psutil.Process, seconds: int) -> dict[str, float]:
    spent: list[float] = []
    begin, cpu = time.perf_counter(), _cpu_s(process)

    async def when_due(turn: int) -> None:
        due = begin + turn / PACE_CLIPS_PER_S
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await fleet.write(turn % len(fleet))
        spent.append((time.perf_counter() - due) * 1e3)

    await asyncio.gather(*(when_due(turn) for turn in range(seconds * PACE_CLIPS_PER_S)))
    took = time.perf_counter() - begin
    return {
        "paced_clips_s": len(spent) / took,
        "paced_ack_p50_ms": median(spent),
        "paced_ack_p99_ms": percentile(spent, 99),
        "paced_server_cpu_share": (_cpu_s(process) - cpu) / took,
    }


async def _sustained(fleet: _Fleet, process: psutil.Process, seconds: float) -> dict[str, float]:
    spent: list[float] = []
    begin, cpu = time.perf_counter(), _cpu_s(process)
    turns = iter(range(10**9))

    async def writer() -> None:
        while time.perf_counter() - begin < seconds:
            start = time.perf_counter()
            await fleet.write(next(turns) % len(fleet))
            spent.append((time.perf_counter() - start) * 1e3)

    await asyncio.gather(*(writer() for _ in range(min(AT_ONCE, len(fleet)))))
    took = time.perf_counter() - begin
    return {
        "sustained_clips_s": len(spent) / took,
        "sustained_ack_p99_ms": percentile(spent, 99),
        "sustained_server_cpu_share": (_cpu_s(process) - cpu) / took,
    }


async def _crowd(setup: Setup, crowd: int, cold: int) -> dict[str, float]:
    folder = setup.folder / "crowd"
    begin = time.perf_counter()
    _make_crowd(folder, setup, crowd, cold)
    figures = {"crowd_create_ms": (time.perf_counter() - begin) / crowd * 1e3}
    questions = data.vectors(setup.seed, 64, stream=1)
    with Server(folder) as server:
        async with memdb_client.connect_async(server.address) as db:
            first: list[float] = []

            async def ask(number: int) -> None:
                start = time.perf_counter()
                await db.user(f"crowd-{number}").ground(questions[number % 64], limit=1)
                first.append((time.perf_counter() - start) * 1e3)

            idle = server.memory_mb()[0]
            order = list(range(crowd))
            random.Random(setup.seed).shuffle(order)
            begin = time.perf_counter()
            await _at_once(ask, order, 4)
            figures["crowd_open_users_s"] = crowd / (time.perf_counter() - begin)
            figures["crowd_first_answer_p99_ms"] = percentile(first, 99)
            figures["crowd_rss_mb"], figures["crowd_anonymous_mb"] = server.memory_mb()
            figures["crowd_idle_rss_mb"] = idle
    with Server(folder) as server:
        async with memdb_client.connect_async(server.address) as db:
            spent = []
            await db.users()
            for number in range(cold):
                start = time.perf_counter()
                await db.user(f"cold-{number}").ground(questions[number % 64], limit=4)
                spent.append((time.perf_counter() - start) * 1e3)
    figures["cold_user_p50_ms"] = median(spent)
    figures["cold_user_p99_ms"] = percentile(spent, 99)
    return figures


def _make_crowd(folder: Path, setup: Setup, crowd: int, cold: int) -> None:
    per_user = 100 if setup.quick else 1000
    vectors = data.vectors(setup.seed, per_user)
    clips = list(data.clips(setup.seed, vectors))
    with memdb.open(folder) as db:
        db.create_space(SPACE, dim=data.DIM, model="bench")
        for number in range(crowd):
            db.user(f"crowd-{number}").stream("camera", space=SPACE).write(clips[number % 64])
        for number in range(cold):
            db.user(f"cold-{number}").stream("camera", space=SPACE).write_many(clips)


async def _at_once(work: Callable[[int], Awaitable[None]], numbers: list[int], count: int) -> None:
    waiting = iter(numbers)

    async def worker() -> None:
        for number in waiting:
            await work(number)

    await asyncio.gather(*(worker() for _ in range(count)))


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
