"""The next commit of a stream is made ready while one is made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memdb.config import EngineConfig, ServerConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.errors import InvalidArgument, ResourceExhausted
from memdb.server import ingest
from memdb.server.resources import Resources
from tests.unit.server.ingest.bench import DIM, Bench, Line, clip_of, settled


@contextmanager
def commits_held_back(bench: Bench) -> Iterator[Callable[[], int]]:
    """None is made meanwhile; how many wait to be."""
    user = bench.database.user("u")
    user.put("made", 1)
    with user.memory() as memory, memory._writer.held_back():
        yield lambda: len(memory._writer._queue)


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_true():
            await asyncio.sleep(0.001)


def several_threads(bench: Bench) -> Bench:
    """A user may have three quarters of them."""
    made = Bench(bench.database)
    made.resources = Resources.make(bench.database, ServerConfig(write_threads=8))
    return made


async def test_a_stream_has_its_next_commit_ready_while_one_is_made(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no third; what comes meanwhile waits for all of it."""
    monkeypatch.setattr(ingest, "SECOND_CLIPS", 1)
    bench = several_threads(bench)
    with commits_held_back(bench) as waiting:
        bench.line.start()
        bench.line.clip(0)
        running = bench.run()
        await until(lambda: waiting() == 1)
        bench.line.clip(1)
        await until(lambda: waiting() == 2)
        for seq in range(2, 30):
            bench.line.clip(seq)
        bench.line.end()
        await settled(bench.line, 32)
        assert waiting() == 2
    await asyncio.wait_for(running, 30)
    await asyncio.to_thread(bench.resources.pools.shutdown)
    told = [ack for answer in bench.line.answers for ack in answer.acks.acks]
    user = bench.database.user("u")
    assert [user.clip(ack.clip_id).seq for ack in told] == list(range(30))
    assert [ack.revision for ack in told[2:]] == [told[1].revision + 1] * 28


async def test_what_is_on_its_way_skips_no_numbers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it open gaps, though who looks sees none of it yet."""
    bench = several_threads(bench)
    monkeypatch.setattr(ingest, "SECOND_CLIPS", 1)
    monkeypatch.setattr("memdb.engine.user.EmbeddedUser.seq_ahead_max", 0)
    monkeypatch.setattr("memdb.engine.lateness.GAPS_MAX", 0)
    with commits_held_back(bench) as waiting:
        bench.line.start()
        bench.line.clip(0)
        running = bench.run()
        await until(lambda: waiting() == 1)
        bench.line.clip(1)
        await until(lambda: waiting() == 2)
        bench.line.clip(2)
        bench.line.end()
    await asyncio.wait_for(running, 30)
    await asyncio.to_thread(bench.resources.pools.shutdown)
    assert bench.line.acks == 3


async def test_what_is_behind_a_refused_clip_and_has_no_thread_is_not_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "SECOND_CLIPS", 1)
    bench = several_threads(bench)
    with commits_held_back(bench) as waiting:
        bench.line.start()
        bench.line.clips(clip_of(0), clip_of(1, dim=DIM + 1), clip_of(2))
        running = bench.run()
        await until(lambda: waiting() == 1)
        bench.line.clip(3)
        bench.line.clip(4)
        await settled(bench.line, 4)
        assert waiting() == 1
    with pytest.raises(InvalidArgument) as caught:
        await asyncio.wait_for(running, 30)
    await asyncio.to_thread(bench.resources.pools.shutdown)
    assert caught.value.reason == "DIM_MISMATCH"
    assert bench.line.acks == 1
    assert bench.database.user("u").stream("s").ledger().next_seq == 3
    assert bench.budget.used == 0


async def test_who_was_refused_with_who_sends_much_is_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next commit was behind one that had no room for both; alone there is room."""
    monkeypatch.setattr(ingest, "SECOND_CLIPS", 1)
    frames = tuple(b"x" * 200_000 for _ in range(5))
    with EmbeddedDatabase(tmp_path / "db", config=EngineConfig(map_bytes_max=1 << 20)) as database:
        database.create_space("p", dim=DIM)
        bench = several_threads(Bench(database))
        little, much = bench.line, Line()
        with commits_held_back(bench) as waiting:
            threads = [bench.resources.pools.write.run(bench.gate.wait) for _ in range(8)]
            held = asyncio.gather(*threads)
            little.start("little")
            much.start("much")
            little.clip(0)
            running = bench.run()
            await settled(little, 2)
            much.clip(0, keyframes=frames)
            refused = bench.serve(much)
            await settled(much, 2)
            bench.gate.set()
            await until(lambda: waiting() == 1)
            for seq in (1, 2, 3):
                little.clip(seq)
            little.end()
            await until(lambda: waiting() == 2)
        await held
        with pytest.raises(ResourceExhausted, match="QUOTA"):
            await asyncio.wait_for(refused, 30)
        await asyncio.wait_for(running, 30)
        assert little.acks == 4
        assert bench.resources.budget.used == 0
        await asyncio.to_thread(bench.resources.pools.shutdown)
