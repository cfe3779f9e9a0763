"""Where memory is short, or two connections feed one stream, each still hears of its own."""

from __future__ import annotations

import asyncio

import pytest

from memdb.errors import InvalidArgument
from memdb.server import gathered
from memdb.server.ready_clips import Fate, Told
from tests.unit.server.gathered.bench import Bench, acks, committed, until


async def test_nothing_passes_a_commit_whose_thread_found_no_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took what was ready, and said of none what became of it."""

    def no_memory(*_: object) -> Told:
        raise MemoryError

    crowd = bench.gathered
    first, second = bench.ready("a", 0), bench.ready("a", 1)
    second.behind = first.fate
    with monkeypatch.context() as patch:
        patch.setattr(gathered, "committed_alone", no_memory)
        crowd.put(first)
        with pytest.raises(MemoryError):
            await asyncio.wait_for(first.outcome, 30)
    crowd.put(second)
    with pytest.raises(MemoryError):
        await asyncio.wait_for(second.outcome, 30)
    assert bench.user.streams() == []


class Unsayable(InvalidArgument):
    """There is no memory to say it once more."""

    def again(self) -> Unsayable:
        raise MemoryError


async def test_who_shares_a_commit_is_told_though_there_is_no_memory_to_tell_another(
    bench: Bench,
) -> None:
    def no_memory() -> None:
        raise MemoryError

    crowd = bench.gathered
    unsayable, unwoken, last = (bench.ready(name, 0) for name in "abc")
    unwoken.woken = no_memory
    with pytest.raises(MemoryError):
        crowd._tell([unsayable, unwoken, last], None, [Unsayable("it"), (b"1", None), (b"2", None)])
    with pytest.raises(MemoryError):
        await asyncio.wait_for(unsayable.outcome, 30)
    assert [one.outcome.result()[0] for one in (unwoken, last)] == [b"1", b"2"]


@pytest.mark.parametrize("is_first", [True, False])
async def test_of_two_connections_that_feed_a_stream_the_higher_number_is_on_its_way(
    bench: Bench, is_first: bool
) -> None:
    """That of the other had a number refused (`TOO_FAR_AHEAD`) that follows what its own connection had sent."""
    far = 1 << 32
    ahead, late = bench.ready("a", 2 * far), bench.ready("a", 1)
    for ready, seq in ((ahead, far), (late, 0)):
        ready.behind = Fate()
        ready.behind.passage.reached = {("a", 0): seq}
    crowd = bench.gathered
    with bench.held_back() as waiting:
        tasks = [asyncio.create_task(committed(crowd, bench.ready("first", 0, 1)))]
        await until(lambda: waiting() == 1)
        both = (ahead, late) if is_first else (late, ahead)
        tasks += [asyncio.create_task(committed(crowd, one)) for one in both]
        await until(lambda: waiting() == 2)
    told = await asyncio.wait_for(asyncio.gather(*tasks), 30)
    assert [(acks(one), one[1]) for one in told] == [(2, None), (1, None), (1, None)]
