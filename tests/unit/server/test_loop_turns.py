"""Turns on the event loop: one for each time around it, users in turn."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from memdb.server.budget import CALL_BYTES_FREE
from memdb.server.loop_turns import BYTES_MAX, WAITING_MAX, LoopTurns


async def test_what_may_be_tried() -> None:
    turns = LoopTurns()
    assert BYTES_MAX <= CALL_BYTES_FREE, "what is tried is not counted by the budget"
    assert turns.may_take(BYTES_MAX)
    assert not turns.may_take(BYTES_MAX + 1)
    assert turns.take_free()
    assert not turns.take_free()  # it is somebody's, until the next time around
    calls = [asyncio.create_task(turns.take("a")) for _ in range(1 + WAITING_MAX)]
    await asyncio.sleep(0)
    assert turns.waiting == WAITING_MAX  # the first of them has its turn
    assert not turns.may_take(1)
    await asyncio.sleep(0)
    assert turns.waiting < WAITING_MAX
    assert turns.may_take(1)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_the_first_has_its_turn_at_once() -> None:
    turns = LoopTurns()
    taken: list[str] = []

    async def call(owner: str) -> None:
        await turns.take(owner)
        taken.append(owner)

    with suppress(StopIteration):
        call("a").send(None)
    assert taken == ["a"]


async def test_one_turn_for_each_time_around_the_loop() -> None:
    turns = LoopTurns()
    made: list[int] = []
    around = 0

    async def call() -> None:
        await turns.take("a")
        made.append(around)

    calls = [asyncio.create_task(call()) for _ in range(5)]
    while len(made) < 5:
        await asyncio.sleep(0)
        around += 1
    await asyncio.gather(*calls)
    assert len(set(made)) == 5


async def test_users_have_their_turns() -> None:
    turns = LoopTurns()
    made: list[str] = []

    async def call(owner: str) -> None:
        await turns.take(owner)
        made.append(owner)

    calls = [asyncio.create_task(call("loud")) for _ in range(50)]
    calls += [asyncio.create_task(call("quiet")) for _ in range(3)]
    await asyncio.gather(*calls)
    assert len(made) == 53
    assert [place for place, owner in enumerate(made) if owner == "quiet"][-1] < 10


async def test_who_has_left_takes_no_turn() -> None:
    turns = LoopTurns()
    made: list[int] = []

    async def call(number: int) -> None:
        await turns.take("a")
        made.append(number)

    calls = [asyncio.create_task(call(number)) for number in range(6)]
    await asyncio.sleep(0)
    for place in (2, 4):
        calls[place].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert made == [0, 1, 3, 5]
    assert turns.waiting == 0

    await turns.take("b")
