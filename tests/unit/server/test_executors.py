"""The pools: bounded, and honest about threads that a cancelled caller left busy."""

from __future__ import annotations

import asyncio
import threading

import pytest

from memdb.errors import ResourceExhausted
from memdb.server.executors import Pool


async def test_results_and_errors_come_back() -> None:
    pool = Pool("t", 1, 1)
    assert await pool.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await pool.run(divmod, 7, 0)
    pool.shutdown()


async def test_a_call_that_raises_stop_iteration_hangs_nobody() -> None:
    pool = Pool("t", 1, 1)
    with pytest.raises(RuntimeError):
        await pool.run(next, iter(()))
    pool.shutdown()


async def test_a_full_queue_refuses_and_recovers() -> None:
    pool = Pool("t", 1, 1)
    gate = threading.Event()
    running = [asyncio.create_task(pool.run(gate.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted) as caught:
        await pool.run(int)
    assert caught.value.reason == "OVERLOADED"
    gate.set()
    assert await asyncio.gather(*running) == [True, True]
    assert await pool.run(int) == 0
    pool.shutdown()


async def test_a_thread_that_still_runs_counts_although_its_caller_left() -> None:
    pool = Pool("t", 1, 0)
    gate = threading.Event()
    begun = threading.Event()

    def work() -> None:
        begun.set()
        gate.wait()

    task = asyncio.create_task(pool.run(work))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ResourceExhausted):
        await pool.run(int)
    gate.set()
    for _ in range(1000):
        await asyncio.sleep(0.001)
        try:
            assert await pool.run(int) == 0
        except ResourceExhausted:
            continue
        break
    else:
        pytest.fail("the thread was never given back")
    pool.shutdown()


async def test_a_cancelled_call_that_waits_is_never_made() -> None:
    pool = Pool("t", 1, 1)
    gate = threading.Event()
    made: list[int] = []
    first = asyncio.create_task(pool.run(gate.wait))
    second = asyncio.create_task(pool.run(made.append, 1))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.set()
    await first
    assert await pool.run(int) == 0
    assert made == []
    pool.shutdown()


async def test_a_call_that_was_begun_is_made_whoever_waits() -> None:
    pool = Pool("t", 1, 1)
    turns = pool.of("one")
    gate = threading.Event()
    made: list[int] = []
    first = turns.begin(gate.wait)
    assert first is not None
    # Its owner has the only turn.
    assert turns.begin(made.append, 1) is None
    first.cancel()
    gate.set()
    await turns.run_in_turn(made.append, 2)
    last = turns.begin(divmod, 7, 0)
    assert last is not None
    with pytest.raises(ZeroDivisionError):
        await last
    assert made == [2]
    pool.shutdown()
    with pytest.raises(RuntimeError):
        turns.begin(int)
