"""Bytes in flight: calls are refused, streams take turns, nobody starves, all of it comes back."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

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


async def test_a_stream_takes_in_advance_what_its_last_message_had() -> None:
    """Or a hundred cameras that send little would wait for each other."""
    budget = Budget(16 * MIB)
    with ExitStack() as stack:
        streams = [stack.enter_context(budget.stream()) for _ in range(20)]
        for held in streams:
            held.owner = "u"
            await asyncio.wait_for(held.expect(), 5)
            held.hold(200_000)
        begun = asyncio.get_running_loop().time()
        for held in streams:
            held.release(200_000)
            await held.expect()
        assert asyncio.get_running_loop().time() - begun < READ_IDLE_S
        # Of a user who has six MiB.
        waiting = asyncio.create_task(stack.enter_context(budget.stream()).expect())
        await asyncio.sleep(0)
        assert waiting.done()
        # What a message has beyond that is counted, as long as it is there.
        streams[0].hold(3 * MIB)
        streams[0].release(3 * MIB)
    assert budget.used == 0
    assert budget._reads.total == 0


async def test_each_gives_its_turn_back_in_its_time() -> None:
    budget = Budget(8 * READ_BYTES)
    with budget.stream() as first, budget.stream() as second, budget.stream() as third:
        await first.expect()
        await asyncio.sleep(READ_IDLE_S / 2)
        await second.expect()
        await third.expect()
        third.hold(1)
        assert budget._reads.total == 2 * READ_BYTES + 1
        for left in (READ_BYTES + 1, 1):
            async with asyncio.timeout(5):
                while budget._reads.total > left:
                    await asyncio.sleep(READ_IDLE_S / 20)
        assert budget._idle is None
        await first.expect()
    assert budget._reads.total == 0


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


@pytest.mark.parametrize("size", [1, READ_BYTES - 1, READ_BYTES, READ_BYTES + 1])
async def test_a_message_takes_the_place_of_what_was_expected(size: int) -> None:
    """And lets in who fits now, where it is smaller."""
    budget = Budget(6 * READ_BYTES)  # two reads of one user, and a little more
    with budget.stream() as first, budget.stream() as second, budget.stream() as third:
        for stream in (first, second, third):
            stream.owner = "alice"
        await first.expect()
        await second.expect()
        waiting = asyncio.create_task(third.expect())
        await asyncio.sleep(0)
        assert not waiting.done()
        first.hold(size)
        assert (first.size, budget.used) == (size, size)
        await asyncio.sleep(0)
        assert waiting.done() == (size == 1)
        assert budget._reads.total == READ_BYTES * (2 if waiting.done() else 1) + size
        first.release(size)
        await asyncio.wait_for(waiting, 5)
    assert (budget.used, budget._reads.total) == (0, 0)


async def test_a_message_that_is_refused_gives_back_what_was_expected() -> None:
    budget = Budget(8 * MIB)
    with budget.stream() as one, budget.stream() as two:
        one.hold(6 * MIB)
        two._usual = MIB
        budget._reads.take("", MIB)  # as of a read that began while there was room
        two._expected = MIB
        with pytest.raises(Unavailable):
            two.hold(3 * MIB)
        assert (two.size, budget._reads.total) == (0, 6 * MIB)


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


async def test_one_that_leaves_lets_those_behind_it_go_on() -> None:
    """What it waited for was more than there is; theirs is not."""
    budget = Budget(8 * MIB)
    with budget.stream() as held, budget.stream() as small, budget.stream() as large:
        await small.expect()
        small.hold(1000)
        small.release(1000)
        await held.expect()
        held.hold(3 * MIB)
        leaving = asyncio.create_task(large.expect())
        await asyncio.sleep(0)
        waiting = asyncio.create_task(small.expect())
        await asyncio.sleep(0)
        assert not waiting.done()
        leaving.cancel()
        await asyncio.wait_for(waiting, 10)
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


async def test_a_user_with_much_leaves_room_for_others() -> None:
    budget = Budget(64 * MIB)
    with budget.call(16 * MIB, "hog"):
        for _ in range(3):
            budget.hold_answer(8 * MIB, owner="hog")
        with pytest.raises(ResourceExhausted), budget.call(16 * MIB, "hog"):
            pass
        with pytest.raises(ResourceExhausted):
            budget.hold_answer(8 * MIB, owner="hog")
        with budget.call(8 * MIB, "other"):
            budget.hold_answer(8 * MIB, owner="other")
    with budget.stream() as one, budget.stream() as two, budget.stream() as other:
        one.owner = two.owner = "hog"
        other.owner = "other"
        one.hold(20 * MIB)
        await two.expect()
        two.hold(4 * MIB)
        waiting = asyncio.create_task(two.expect())
        await asyncio.wait_for(other.expect(), 1)
        other.hold(2 * MIB)
        assert not waiting.done()
        one.release(4 * MIB)
        await asyncio.wait_for(waiting, 1)
    assert budget.used == 0


async def test_users_go_on_one_by_one() -> None:
    budget = Budget(8 * MIB)
    order: list[str] = []

    async def reads(owner: str) -> None:
        with budget.stream() as held:
            held.owner = owner
            await held.expect()
            order.append(owner)
            held.hold(2 * MIB)
            await asyncio.sleep(0)

    with budget.stream() as first:
        first.hold(4 * MIB)
        waiting = [asyncio.create_task(reads(owner)) for owner in "aaaab"]
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert order.index("b") == 1


async def test_who_does_not_read_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memdb.server.budget.UNREAD_S", 0.05)
    monkeypatch.setattr("memdb.server.budget.LOOK_S", 0.01)
    budget = Budget(16 * MIB)
    ended: list[str] = []
    begun = asyncio.Event()

    async def unread(owner: str, size: int) -> None:
        async def send(_data: bytes) -> None:
            begun.set()
            await asyncio.Event().wait()

        with budget.stream() as held:
            held.owner = owner
            held.hold(size)
            with pytest.raises(Unavailable, match="not read"):
                await held.sender(send)(b"")
            ended.append(owner)

    async def wants(owner: str) -> None:
        with budget.stream() as held:
            held.owner = owner
            await held.expect()

    tasks = [
        asyncio.create_task(unread(*what))
        for what in (("holds nothing", 0), ("old", 4 * MIB), ("new", 4 * MIB))
    ]
    await begun.wait()
    await asyncio.sleep(0.1)
    assert ended == []  # nobody waits for what they hold
    await asyncio.wait_for(wants("other"), 5)
    assert ended == ["old"]
    # Who waits since it has its share ends nobody else's.
    with budget.stream() as greedy:
        greedy.owner = "greedy"
        greedy.hold(2 * MIB)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(greedy.expect(), 0.1)
    assert ended == ["old"]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert budget.used == 0


async def test_who_waits_for_a_moment_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many streams of one user somebody waits at any time, and is let in soon: a slow reader holds up none of
    them."""
    monkeypatch.setattr("memdb.server.budget.UNREAD_S", 0.0)
    monkeypatch.setattr("memdb.server.budget.LOOK_S", 3600.0)
    budget = Budget(16 * MIB)  # of which one user's streams have six
    ended = asyncio.Event()

    async def slow() -> None:
        async def send(_data: bytes) -> None:
            await asyncio.Event().wait()

        with budget.stream() as held:
            held.owner = "u"
            held.hold(1)
            with pytest.raises(Unavailable, match="not read"):
                await held.sender(send)(b"")
            ended.set()

    reader = asyncio.create_task(slow())
    with budget.stream() as one, budget.stream() as two, budget.stream() as three:
        one.owner = two.owner = three.owner = "u"
        one.hold(6 * MIB)
        for stream in (two, three):
            waiting = asyncio.create_task(stream.expect())
            await asyncio.sleep(0)
            budget._look_for_unread()
            await asyncio.sleep(0)
            assert not ended.is_set()
            if stream is two:
                one.release(3 * MIB)
                await asyncio.wait_for(waiting, 5)
                two.hold(2 * MIB)
        # The same one, still.
        budget._look_for_unread()
        await asyncio.wait_for(ended.wait(), 5)
        waiting.cancel()
        await asyncio.wait([reader, waiting])
