"""Turns by owner, and a queue in which somebody with much gives way to somebody with little."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memdb.errors import ResourceExhausted
from memdb.server.executors import Pool
from memdb.server.fair import FairSemaphore, RoundRobin


def test_owners_take_turns_and_keep_their_own_order() -> None:
    waiting: RoundRobin[str] = RoundRobin()
    for thing in ("a1", "a2", "a3", "b1", "c1", "c2"):
        waiting.put(thing[0], thing)
    taken = [waiting.take() for _ in range(3)]
    waiting.put("b", "b2")
    assert taken + [waiting.take() for _ in range(4)] == ["a1", "b1", "c1", "a2", "c2", "b2", "a3"]
    with pytest.raises(IndexError):
        waiting.take()


@given(st.lists(st.sampled_from(["put a", "put b", "put c", "take", "give way"]), max_size=60))
def test_nothing_is_lost_or_told_twice(steps: list[str]) -> None:
    waiting: RoundRobin[int] = RoundRobin()
    put: set[int] = set()
    out: list[int] = []
    for number, step in enumerate(steps):
        if step.startswith("put"):
            waiting.put(step[-1], number)
            put.add(number)
        elif step == "take" and len(waiting):
            out.append(waiting.take())
        elif step == "give way":
            gone = waiting.give_way("d")
            out += [] if gone is None else [gone]
    out += [waiting.take() for _ in range(len(waiting))]
    assert sorted(out) == sorted(put)


def test_who_has_most_gives_way_but_not_to_one_with_as_many() -> None:
    waiting: RoundRobin[str] = RoundRobin()
    assert waiting.give_way("a") is None
    for thing in ("a1", "a2", "a3", "b1"):
        waiting.put(thing[0], thing)
    assert waiting.give_way("a") is None
    assert waiting.give_way("c") == "a3"
    assert waiting.give_way("b") is None


def test_who_has_most_of_what_may_not_go_is_passed_over() -> None:
    waiting: RoundRobin[str] = RoundRobin()
    for thing in ("a1", "a2", "a3", "a4", "b1", "b2", "b3"):
        waiting.put(thing[0], thing)
    assert waiting.give_way("c", lambda thing: thing[0] != "a") == "b3"
    assert waiting.give_way("c", lambda thing: thing[0] == "c") is None


async def test_a_user_with_five_hundred_questions_does_not_starve_another() -> None:
    pool = Pool("read", 1, 1024)
    gate = threading.Event()
    made: list[str] = []
    busy = asyncio.create_task(pool.of("loud").run(gate.wait))
    loud = [asyncio.create_task(pool.of("loud").run(made.append, "loud")) for _ in range(500)]
    await asyncio.sleep(0)
    quiet = [asyncio.create_task(pool.of("quiet").run(made.append, "quiet")) for _ in range(3)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(busy, *loud, *quiet)
    pool.shutdown()

    # One of the other's between any two of its own.
    assert [place for place, who in enumerate(made) if who == "quiet"][-1] < 6


async def test_a_stream_has_its_turn_among_five_hundred_of_another_user() -> None:
    pool = Pool("read", 1, 1)
    gate = threading.Event()
    made: list[str] = []
    busy = asyncio.create_task(pool.of("loud").run_in_turn(gate.wait))
    loud = [
        asyncio.create_task(pool.of("loud").run_in_turn(made.append, "loud")) for _ in range(500)
    ]
    await asyncio.sleep(0)
    quiet = asyncio.create_task(pool.of("quiet").run_in_turn(made.append, "quiet"))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(busy, *loud, quiet)
    pool.shutdown()

    assert made.index("quiet") < 3


async def test_a_full_queue_takes_the_call_of_a_user_with_fewer() -> None:
    pool = Pool("read", 1, 8)
    gate = threading.Event()
    busy = asyncio.create_task(pool.of("loud").run(gate.wait))
    await asyncio.sleep(0.01)
    loud = [asyncio.create_task(pool.of("loud").run(int)) for _ in range(8)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted) as caught:
        await pool.of("loud").run(int)
    assert caught.value.reason == "OVERLOADED"

    quiet = [asyncio.create_task(pool.of("quiet").run(int)) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted):  # four each: now neither has more
        await pool.of("quiet").run(int)
    gate.set()

    assert await asyncio.gather(busy, *quiet) == [True, 0, 0, 0, 0]
    told = await asyncio.gather(*loud, return_exceptions=True)
    assert told[:4] == [0] * 4  # the last were refused, not those that had waited longest
    assert [type(one) for one in told[4:]] == [ResourceExhausted] * 4
    assert await asyncio.gather(*(pool.run(int) for _ in range(9))) == [0] * 9
    pool.shutdown()


async def test_a_waiter_that_leaves_takes_no_turn_along() -> None:
    turns = FairSemaphore(1)
    await turns.acquire("a")
    first = asyncio.create_task(turns.acquire("a"))
    second = asyncio.create_task(turns.acquire("b"))
    await asyncio.sleep(0)
    first.cancel()
    turns.release("a")  # to the first, which is gone
    await asyncio.wait_for(second, 1)
    third = asyncio.create_task(turns.acquire("c"))
    await asyncio.sleep(0)
    turns.release("b")
    third.cancel()  # though it has its turn already
    with pytest.raises(asyncio.CancelledError):
        await third
    await asyncio.wait_for(turns.acquire("d"), 1)
    turns.release("d")
    assert turns.taken == 0


async def begun_of(pool: Pool, how: str, calls: int, gate: threading.Event) -> list[Any]:
    """Calls of one user that go on until the gate is open, as many as threads let begin."""
    run = getattr(pool.of("loud"), how)
    made = [asyncio.create_task(run(gate.wait)) for _ in range(calls)]
    await asyncio.sleep(0)
    return made


@pytest.mark.parametrize("loud", ["run", "run_in_turn"])
@pytest.mark.parametrize("quiet", ["run", "run_in_turn"])
async def test_long_calls_of_one_user_leave_a_thread_to_others(loud: str, quiet: str) -> None:
    pool = Pool("write", 4, 64)
    gate = threading.Event()
    busy = await begun_of(pool, loud, 12, gate)
    try:
        for owner in ("a", "b", "a"):  # though none of the twelve has ended
            run = getattr(pool.of(owner), quiet)
            assert await asyncio.wait_for(run(divmod, 7, 2), 10) == (3, 1)
    finally:
        gate.set()
    assert await asyncio.gather(*busy) == [True] * 12
    await asyncio.to_thread(pool.shutdown)


async def test_two_users_with_long_calls_leave_a_thread_to_a_third() -> None:
    pool = Pool("write", 8, 64)
    gate = threading.Event()
    busy = [
        asyncio.create_task(pool.of(owner).run(gate.wait)) for _ in range(10) for owner in "abab"
    ]
    await asyncio.sleep(0)
    try:
        assert await asyncio.wait_for(pool.of("c").run(divmod, 7, 2), 10) == (3, 1)
    finally:
        gate.set()
    assert await asyncio.gather(*busy) == [True] * 40
    await asyncio.to_thread(pool.shutdown)


async def test_every_thread_that_may_is_at_work() -> None:
    """Whoever ends, as many of those that wait begin as the shares let."""
    pool = Pool("write", 8, 64)
    running: list[str] = []
    seen: list[int] = []
    lock = threading.Lock()

    def work(owner: str) -> None:
        with lock:
            running.append(owner)
            seen.append(max(running.count("a"), running.count("b")))
        threading.Event().wait(0.001)
        with lock:
            running.remove(owner)

    await asyncio.gather(*(pool.of(owner).run(work, owner) for _ in range(32) for owner in "ab"))
    assert len(seen) == 64
    assert max(seen) <= 6
    assert len(pool._threads._turns) == 0
    await asyncio.to_thread(pool.shutdown)
    # A thread gives its share back after it has told the loop of its call.
    assert pool._threads._running.total == 0


async def test_a_full_queue_refuses_no_stream() -> None:
    pool = Pool("read", 1, 2)
    gate = threading.Event()
    busy = asyncio.create_task(pool.run(gate.wait))
    calls = [asyncio.create_task(pool.of("loud").run(int)) for _ in range(2)]
    await asyncio.sleep(0)
    stream = asyncio.create_task(pool.of("loud").run_in_turn(divmod, 7, 2))
    await asyncio.sleep(0)
    quiet = asyncio.create_task(pool.of("quiet").run(int))
    await asyncio.sleep(0)
    gate.set()
    assert await busy
    assert await quiet == 0
    assert await stream == (3, 1)
    told = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in told] == [int, ResourceExhausted]
    await asyncio.to_thread(pool.shutdown)
