"""What is behind something that was refused is not written."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.errors import MemdbError, ResourceExhausted
from memdb.types.clip import Clip, Keyframe
from tests.unit.server.gathered.bench import DIM, Bench, acks, committed, until


async def test_what_is_behind_the_first_of_a_commit_is_not_in_it(bench: Bench) -> None:
    """Or a number that skips too many would be let in by those behind it."""
    crowd = bench.gathered
    first, second = bench.ready("a", 1 << 40), bench.ready("a", (1 << 40) + 1)
    second.behind = first.fate
    crowd.put(first)
    crowd.put(second)  # before the loop goes on, and mostly before the thread begins
    told, refusal = await asyncio.wait_for(first.outcome, 30)
    assert (told, refusal and refusal.reason) == (b"", "TOO_FAR_AHEAD")
    with suppress(MemdbError):
        _, refusal = await asyncio.wait_for(second.outcome, 30)
        assert refusal is not None
    assert bench.user.streams() == []


async def test_a_number_that_skips_too_many_lets_none_behind_it_in(bench: Bench) -> None:
    """Nor in the next commit, that is made ready while the one with it has its place."""
    crowd = bench.gathered
    first = bench.ready("a", 0, 1 << 40)
    second = bench.ready("a", (1 << 40) + 1, (1 << 40) + 2, 1)
    second.behind = first.fate
    with bench.held_back() as waiting:
        crowd.put(first)
        await until(lambda: waiting() == 1)
        crowd.put(second)
        await until(lambda: waiting() == 2)
    for ready in (first, second):
        _, refusal = await asyncio.wait_for(ready.outcome, 30)
        assert refusal is not None
        assert refusal.reason == "TOO_FAR_AHEAD"
    assert bench.user.stream("a").ledger().next_seq == 2


class NoHash(int):
    """An epoch of which there is no memory to find it once more."""

    def __hash__(self) -> int:
        raise MemoryError


async def test_nothing_passes_a_shared_commit_that_ended_in_what_is_no_refusal(
    bench: Bench,
) -> None:
    """Before it had its place: no memory, say."""
    crowd = bench.gathered
    with bench.held_back() as waiting:
        tasks = [asyncio.create_task(committed(crowd, bench.ready("first", 0)))]
        await until(lambda: waiting() == 1)
        first, bad, second = bench.ready("a", 0), bench.ready("b", 0), bench.ready("a", 1)
        object.__setattr__(bad.lot.items[0], "epoch", NoHash(0))
        second.behind = first.fate
        tasks += [asyncio.create_task(committed(crowd, one)) for one in (first, bad)]
        await until(lambda: first.is_taken)
        crowd.put(second)
    for ready in (first, bad, second):
        with pytest.raises(MemoryError):
            await asyncio.wait_for(ready.outcome, 30)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert {stream.name for stream in bench.user.streams()} == {"first"}


async def test_what_is_behind_something_refused_is_refused_with_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would be stored before what came before it, which is tried again."""
    crowd = bench.gathered
    with bench.held_back() as waiting:
        other = asyncio.create_task(committed(crowd, bench.ready("other", 0)))
        await until(lambda: waiting() == 1)
        monkeypatch.setattr("memdb.engine.writer.QUEUE_BYTES_MAX", 0)
        first = bench.ready("a", 0)
        crowd.put(first)
        with pytest.raises(ResourceExhausted):
            await asyncio.wait_for(first.outcome, 30)
        monkeypatch.undo()
        second, third = bench.ready("a", 1), bench.ready("a", 2)
        second.behind, third.behind = first.fate, second.fate
        crowd.put(second)
        with pytest.raises(ResourceExhausted):
            await asyncio.wait_for(second.outcome, 30)
        crowd.put(third)
        beside = asyncio.create_task(committed(crowd, bench.ready("b", 0)))
        await asyncio.sleep(0)
    assert acks(await asyncio.wait_for(other, 30)) == 1
    assert acks(await asyncio.wait_for(beside, 30)) == 1
    with pytest.raises(ResourceExhausted):
        await asyncio.wait_for(third.outcome, 30)
    assert {stream.name for stream in bench.user.streams()} == {"other", "b"}


async def test_what_is_smaller_does_not_pass_where_what_is_before_it_has_no_room(
    tmp_path: Path,
) -> None:
    """Though both have their place in the queue: the ledger would say to go on behind the hole."""
    large = tuple(Keyframe(n, b"\xff" * 200_000) for n in range(5))
    with EmbeddedDatabase(tmp_path / "db", config=EngineConfig(map_bytes_max=1 << 20)) as database:
        database.create_space("p", dim=DIM)
        bench = Bench(database)
        first, second = bench.ready("a", 0), bench.ready("a", 1)
        (clip,) = first.lot.items
        assert isinstance(clip, Clip)
        first.lot.items = [replace(clip, keyframes=large)]
        second.behind = first.fate
        with bench.held_back() as waiting:
            for queued, ready in enumerate((first, second), 1):
                bench.gathered.put(ready)
                await until(lambda queued=queued: waiting() == queued)  # type: ignore[misc]
        for ready in (first, second):
            with pytest.raises(ResourceExhausted, match="QUOTA"):
                await asyncio.wait_for(ready.outcome, 30)
        assert bench.user.stream("a").ledger().next_seq == 0
        await asyncio.to_thread(bench.resources.pools.shutdown)
