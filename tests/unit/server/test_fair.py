"""Turns by owner, and a queue in which somebody with much gives way to somebody with little."""

from __future__ import annotations

import asyncio
import threading

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


async def test_a_user_with_five_hundred_questions_does_not_starve_another() -> None:
    pool = Pool("read", 2, 1024)
    gate = threading.Event()
    made: list[str] = []
    busy = [asyncio.create_task(pool.of("loud").run(gate.wait)) for _ in range(2)]
    loud = [asyncio.create_task(pool.of("loud").run(made.append, "loud")) for _ in range(500)]
    await asyncio.sleep(0)
    quiet = [asyncio.create_task(pool.of("quiet").run(made.append, "quiet")) for _ in range(3)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*busy, *loud, *quiet)
    pool.shutdown()

    # One of the other's between any two of its own, give or take what two threads do at once.
    assert [place for place, who in enumerate(made) if who == "quiet"][-1] < 10


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
    turns.release()  # to the first, which is gone
    await asyncio.wait_for(second, 1)
    third = asyncio.create_task(turns.acquire("c"))
    await asyncio.sleep(0)
    turns.release()
    third.cancel()  # though it has its turn already
    with pytest.raises(asyncio.CancelledError):
        await third
    await asyncio.wait_for(turns.acquire("d"), 1)
    turns.release()
    assert turns._free == 1
