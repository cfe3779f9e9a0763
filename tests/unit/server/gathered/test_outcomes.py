"""Each stream that shares a commit hears of its own: what befalls one is not another's, and nothing of it stays."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref

import pytest

from memdb.errors import InvalidArgument, MemdbError, NotFound, ResourceExhausted
from memdb.server.lot import Lot
from tests.unit.server.gathered.bench import DIM, Bench, Tells, acks, committed, until


async def test_each_hears_of_its_own(bench: Bench) -> None:
    crowd = bench.gathered
    with bench.held_back() as waiting:
        first = asyncio.create_task(committed(crowd, bench.ready("first", 0)))
        await until(lambda: waiting() == 1)
        good = asyncio.create_task(committed(crowd, bench.ready("good", 0)))
        bad = asyncio.create_task(committed(crowd, bench.ready("bad", 0, dim=DIM + 1)))
        no_space = asyncio.create_task(committed(crowd, bench.ready("none", 0, space="nowhere")))
        no_name = asyncio.create_task(committed(crowd, bench.ready("no name", 0)))
    assert acks(await asyncio.wait_for(first, 30)) == 1
    assert acks(await asyncio.wait_for(good, 30)) == 1
    told, refusal = await asyncio.wait_for(bad, 30)
    assert (told, refusal and refusal.reason) == (b"", "DIM_MISMATCH")
    with pytest.raises(NotFound):
        await no_space
    with pytest.raises(InvalidArgument):
        await no_name


async def test_what_befalls_one_is_not_told_to_others(bench: Bench) -> None:
    """Also what is no refusal: a fault of ours, or no memory."""
    crowd = bench.gathered

    with bench.held_back() as waiting:
        tasks = [asyncio.create_task(committed(crowd, bench.ready("first", 0)))]
        await until(lambda: waiting() == 1)
        good, bad = bench.ready("good", 0), bench.ready("bad", 0)
        bad.lot.items = [object()]  # type: ignore[list-item]
        tasks += [asyncio.create_task(committed(crowd, one)) for one in (bad, good)]
        await asyncio.sleep(0)
    first, befell, told = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
    assert isinstance(befell, TypeError)
    for one in (first, told):
        assert isinstance(one, tuple)
        assert acks(one) == 1


@pytest.mark.parametrize("streams", [1, 3])
async def test_what_cannot_be_sent_ahead_is_left_to_the_loop(bench: Bench, streams: int) -> None:
    def no_memory(_: tuple[str, int]) -> None:
        raise MemoryError

    crowd = bench.gathered
    with bench.held_back() as waiting:
        tasks = [asyncio.create_task(committed(crowd, bench.ready("first", 0)))]
        await until(lambda: waiting() == 1)
        ready = [bench.ready(f"s{number}", 0) for number in range(streams)]
        ready[0].tell = Tells(no_memory)
        tasks += [asyncio.create_task(committed(crowd, one)) for one in ready]
        await asyncio.sleep(0)
    told = await asyncio.wait_for(asyncio.gather(*tasks), 30)
    assert [acks(one) for one in told] == [1] * (1 + streams)
    assert len(bench.told) == 1


class NoMemory(Lot):
    """One that the thread which takes it finds no memory to count."""

    def __init__(self, lot: Lot) -> None:
        self.asked = 0
        self.items, self.size = lot.items, lot.size

    @property
    def clips(self) -> int:  # type: ignore[override]  # it fails where the other cannot
        self.asked += 1
        if self.asked == 2:
            raise MemoryError
        return len(self.items)


async def test_who_was_taken_by_a_thread_that_fails_is_told(bench: Bench) -> None:
    crowd = bench.gathered
    with bench.held_back() as waiting:
        first = asyncio.create_task(committed(crowd, bench.ready("first", 0, 1)))
        await until(lambda: waiting() == 1)
        a, b = bench.ready("a", 0), bench.ready("b", 0)
        b.lot = NoMemory(b.lot)
        tasks = [asyncio.create_task(committed(crowd, one)) for one in (a, b)]
        for task in tasks:
            with pytest.raises(MemoryError):
                await asyncio.wait_for(task, 30)
    assert acks(await asyncio.wait_for(first, 30)) == 2
    assert acks(await asyncio.wait_for(committed(crowd, bench.ready("a", 0)), 30)) == 1


@pytest.mark.parametrize("wrong", ["space", "name"])
@pytest.mark.parametrize("streams", [1, 3])
async def test_nothing_is_left_of_what_is_refused(bench: Bench, wrong: str, streams: int) -> None:
    """Its messages are counted no more, so no error may hold them until somebody looks for cycles."""
    crowd = bench.gathered
    name, space = ("a", "nowhere") if wrong == "space" else ("no name", "p")
    refused = bench.ready(name, 0, space=space)
    (clip,) = refused.lot.items
    gc.collect()
    gc.disable()
    try:
        with bench.held_back() as waiting:
            first = asyncio.create_task(committed(crowd, bench.ready("first", 0)))
            await until(lambda: waiting() == 1)
            others = [bench.ready(f"s{number}", 0) for number in range(streams - 1)]
            tasks = [asyncio.create_task(committed(crowd, one)) for one in (*others, refused)]
            await asyncio.sleep(0)
        await asyncio.wait_for(first, 30)
        error = (await asyncio.gather(*tasks, return_exceptions=True))[-1]
        assert isinstance(error, MemdbError)
        error.__traceback__ = None  # as who ends the call does
        del refused, tasks, others, error
        await until(lambda: sys.getrefcount(clip) == 2)  # ours, and the call's
    finally:
        gc.enable()


async def test_a_user_who_is_busy_is_told_to_each(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = bench.gathered
    with bench.held_back() as waiting:
        first = asyncio.create_task(committed(crowd, bench.ready("first", 0)))
        await until(lambda: waiting() == 1)
        monkeypatch.setattr("memdb.engine.writer.QUEUE_BYTES_MAX", 0)
        busy = [asyncio.create_task(committed(crowd, bench.ready(name, 0))) for name in "ab"]
        for task in busy:
            with pytest.raises(ResourceExhausted) as caught:
                await asyncio.wait_for(task, 30)
            assert caught.value.reason == "OVERLOADED"
    assert acks(await asyncio.wait_for(first, 30)) == 1


async def test_who_leaves_takes_back_what_no_thread_has(bench: Bench) -> None:
    crowd = bench.gathered
    with bench.held_back() as waiting:
        first = asyncio.create_task(committed(crowd, bench.ready("first", 0, 1, 2, 3)))
        await until(lambda: waiting() == 1)
        left = asyncio.create_task(committed(crowd, bench.ready("left", 0)))
        stays = asyncio.create_task(committed(crowd, bench.ready("stays", 0)))
        begun = bench.ready("begun", 0)
        crowd.put(begun)
        await asyncio.sleep(0)
        left.cancel()
        begun.outcome.cancel()
        await asyncio.sleep(0)
    assert acks(await asyncio.wait_for(first, 30)) == 4
    assert acks(await asyncio.wait_for(stays, 30)) == 1
    await until(lambda: len(bench.user.streams()) == 3)
    # What was handed over is stored although its stream has left.
    assert {stream.name for stream in bench.user.streams()} == {"first", "stays", "begun"}


async def test_one_that_is_taken_is_stored_though_its_stream_left(bench: Bench) -> None:
    crowd = bench.gathered
    with bench.held_back() as waiting:
        first = asyncio.create_task(committed(crowd, bench.ready("first", 0)))
        await until(lambda: waiting() == 1)
        first.cancel()
        second = asyncio.create_task(committed(crowd, bench.ready("second", 0)))
        await until(lambda: waiting() == 2)
    assert acks(await asyncio.wait_for(second, 30)) == 1
    assert {stream.name for stream in bench.user.streams()} == {"first", "second"}


async def test_those_that_wait_as_the_threads_end_are_cancelled(bench: Bench) -> None:
    await asyncio.to_thread(bench.resources.pools.shutdown)
    with pytest.raises((RuntimeError, asyncio.CancelledError)):
        await asyncio.wait_for(committed(bench.gathered, bench.ready("a", 0)), 30)


async def test_nothing_is_left_of_users_without_streams(bench: Bench) -> None:
    crowd = bench.gathered
    assert bench.gathered is crowd
    await committed(crowd, bench.ready("a", 0))
    left = weakref.ref(crowd)
    gc.collect()
    gc.disable()
    try:
        del crowd
        await until(lambda: left() is None)
    finally:
        gc.enable()
