"""Bytes in flight: calls are refused, streams take turns, nobody starves, all of it comes back."""

from __future__ import annotations

import asyncio

import pytest

from memdb.errors import ResourceExhausted, Unavailable
from memdb.server.budget import CALL_BYTES_FREE, READ_BYTES, READ_IDLE_S, Budget

MIB = 1024 * 1024


async def test_calls_are_refused_beyond_their_half() -> None:
    budget = Budget(64 * MIB)
    with budget.call(16 * MIB), budget.call(16 * MIB):
        with pytest.raises(ResourceExhausted) as caught, budget.call(MIB):
            pass
        assert (caught.value.reason, caught.value.field, caught.value.value) == (
            "OVERLOADED",
            "server.bytes_in_flight_max",
            str(33 * MIB),
        )
        # A question goes through all the same.
        with budget.call(CALL_BYTES_FREE):
            pass
    with budget.call(32 * MIB):
        pass
    assert budget.used == 0


async def test_streams_wait_in_turn() -> None:
    budget = Budget(8 * MIB)
    order: list[str] = []
    with budget.stream() as greedy:
        for _ in range(2):
            await greedy.expect()
            greedy.hold(2 * MIB)

        async def another(name: str) -> None:
            with budget.stream() as held:
                await held.expect()
                order.append(name)
                held.hold(2 * MIB)
                await asyncio.sleep(0)

        waiting = [asyncio.create_task(another(name)) for name in "abc"]
        again = asyncio.create_task(greedy.expect())
        await asyncio.sleep(0.01)
        assert order == []
        greedy.release(2 * MIB)
        await asyncio.gather(*waiting)
        # The greedy one asked last and is served last.
        await again
        assert order == ["a", "b", "c"]
    assert budget.used == 0


async def test_a_silent_stream_gives_its_turn_back() -> None:
    budget = Budget(2 * READ_BYTES)
    with budget.stream() as silent, budget.stream() as other:
        await silent.expect()
        begun = asyncio.get_running_loop().time()
        await other.expect()
        assert asyncio.get_running_loop().time() - begun >= READ_IDLE_S * 0.9
        # What it brings after all is counted.
        silent.hold(MIB)
        assert budget.used == MIB
    assert budget.used == 0


async def test_what_many_silent_streams_bring_at_once_is_bounded() -> None:
    budget = Budget(8 * MIB)
    with budget.stream() as one, budget.stream() as two:
        one.hold(6 * MIB)
        with pytest.raises(Unavailable) as caught:
            two.hold(3 * MIB)
        assert (caught.value.reason, caught.value.field) == (
            "OVERLOADED",
            "server.bytes_in_flight_max",
        )
    assert budget.used == 0


async def test_a_stream_that_leaves_the_queue_leaves_no_hole() -> None:
    budget = Budget(2 * READ_BYTES)
    with budget.stream() as first:
        await first.expect()
        first.hold(READ_BYTES)
        with budget.stream() as gone, budget.stream() as next_one:
            leaving = asyncio.create_task(gone.expect())
            staying = asyncio.create_task(next_one.expect())
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.sleep(0)
            first.release(READ_BYTES)
            await asyncio.wait_for(staying, 1)
            # And one that leaves just as its turn comes passes it on.
            next_one.hold(READ_BYTES)
            late = asyncio.create_task(gone.expect())
            last = asyncio.create_task(first.expect())
            await asyncio.sleep(0)
            next_one.release(READ_BYTES)
            late.cancel()
            await asyncio.wait_for(last, 1)
    assert budget.used == 0


async def test_one_that_leaves_as_its_turn_is_passed_over_is_cancelled_and_no_more() -> None:
    budget = Budget(4 * READ_BYTES)
    await budget.expect()
    await budget.expect()
    leaving = asyncio.create_task(budget.expect())
    await asyncio.sleep(0)
    leaving.cancel()
    budget.expect_no_more()  # room, before the one that leaves has run
    with pytest.raises(asyncio.CancelledError):
        await leaving
    budget.expect_no_more()
    await asyncio.wait_for(budget.expect(), 1)
    await asyncio.wait_for(budget.expect(), 1)


def test_answers_have_a_half_of_their_own() -> None:
    budget = Budget(8 << 20)
    for _ in range(4):
        budget.hold_answer(1 << 20)
    with pytest.raises(ResourceExhausted) as refused:
        budget.hold_answer(1 << 20)
    assert (refused.value.reason, refused.value.field) == (
        "OVERLOADED",
        "server.bytes_in_flight_max",
    )
    with pytest.raises(Unavailable):
        budget.hold_answer(1 << 20, Unavailable)
    with budget.call(4 << 20):  # requests go on
        budget.hold_answer(64 << 10)  # and so do small answers
        budget.release_answer(64 << 10)
    budget.release_answer(1 << 20)
    budget.hold_answer(1 << 20)
