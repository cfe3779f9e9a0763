"""What several streams of a user have ready is in one commit."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from memdb.server import gathered
from memdb.server.ready_clips import Ready
from tests.unit.server.gathered.bench import Bench, acks, committed, until


async def test_a_crowd_shares_commits(bench: Bench) -> None:
    """Forty streams that come while one is committed: one thread more, and two commits in the place of forty."""
    before = bench.user.revision()
    crowd = bench.gathered
    with bench.held_back() as waiting:
        tasks = [asyncio.create_task(committed(crowd, bench.ready("first", 0)))]
        await until(lambda: waiting() == 1)
        tasks += [asyncio.create_task(committed(crowd, bench.ready(f"s{n}", 0))) for n in range(40)]
        await asyncio.sleep(0)  # each has said what it has ready
        assert len(crowd._going) == gathered.GOING_MAX
    told = await asyncio.wait_for(asyncio.gather(*tasks), 30)
    assert [acks(one) for one in told] == [1] * 41
    assert bench.user.revision() <= before + 3
    assert len(bench.told) == 41
    assert all(by.startswith("memdb-write") for by, _ in bench.told)


async def test_a_commit_beside_another_waits_until_as_much_is_ready(bench: Bench) -> None:
    crowd = bench.gathered
    with bench.held_back() as waiting:
        tasks = [asyncio.create_task(committed(crowd, bench.ready("first", *range(5))))]
        await until(lambda: waiting() == 1)
        tasks += [asyncio.create_task(committed(crowd, bench.ready(f"s{n}", 0))) for n in range(4)]
        await asyncio.sleep(0)
        assert len(crowd._going) == 1
        tasks.append(asyncio.create_task(committed(crowd, bench.ready("s4", 0))))
        await until(lambda: waiting() == 2)
    assert sum(map(acks, await asyncio.wait_for(asyncio.gather(*tasks), 30))) == 10


@pytest.mark.parametrize("by", ["clips", "bytes"])
async def test_what_a_commit_takes_is_bounded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr(gathered, "CLIPS_MAX" if by == "clips" else "BYTES_MAX", 10)
    size = 1 if by == "clips" else 4
    crowd = bench.gathered
    with bench.held_back() as waiting:
        tasks = [asyncio.create_task(committed(crowd, bench.ready("first", 0)))]
        await until(lambda: waiting() == 1)
        # The first is taken whatever it has.
        large = bench.ready("large", *range(20), size=20)
        tasks.append(asyncio.create_task(committed(crowd, large)))
        await until(lambda: waiting() == 2)
        ready = [bench.ready(f"s{n}", *range(4), size=size) for n in range(6)]
        tasks += [asyncio.create_task(committed(crowd, one)) for one in ready]
        await asyncio.sleep(0)
        assert len(crowd.take(None)) == 2
    await until(lambda: sum(task.done() for task in tasks) == 6)
    done = [task for task in tasks if task.done()]
    assert [acks(task.result()) for task in done] == [1, 20] + [4] * 4
    for task in set(tasks) - set(done):  # which the test took
        task.cancel()


async def test_one_that_is_handed_over_takes_along_what_came_meanwhile(bench: Bench) -> None:
    before = bench.user.revision()
    crowd = bench.gathered
    first = bench.ready("first", 0)
    crowd.put(first)
    tasks = [asyncio.create_task(committed(crowd, bench.ready(f"s{n}", 0))) for n in range(20)]
    told = await asyncio.wait_for(asyncio.gather(first.outcome, *tasks), 30)
    assert [acks(one) for one in told] == [1] * 21
    assert bench.user.revision() <= before + 3


async def test_a_user_is_opened_first(bench: Bench) -> None:
    """Here one whom the first of them creates."""
    crowd = bench.resources.gatherings.of("new")
    new = bench.database.user("new")

    def ready(stream: str, seq: int) -> Ready:
        made = bench.ready(stream, seq)
        made.stream = partial(new.stream, stream, space="p")
        return made

    told = await asyncio.wait_for(
        asyncio.gather(*(committed(crowd, ready(name, 0)) for name in "ab")), 30
    )
    assert [acks(one) for one in told] == [1, 1]
    crowd.put(ready("a", 1))
    await until(lambda: new.stream("a").ledger().next_seq == 2)


async def test_what_is_ready_grows_until_a_thread_has_it(bench: Bench) -> None:
    crowd = bench.gathered
    with bench.held_back() as waiting:
        first, second = bench.ready("a", 0, 1), bench.ready("a", 2)
        crowd.put(first)
        await until(lambda: waiting() == 1)
        assert not crowd.add(first, bench.ready("a", 9).lot)
        crowd.put(second)
        assert waiting() == 1
        assert crowd.add(second, bench.ready("a", 3).lot)
        await until(lambda: waiting() == 2)  # now as much is ready
        assert not crowd.add(second, bench.ready("a", 9).lot)
    told = await asyncio.wait_for(asyncio.gather(first.outcome, second.outcome), 30)
    assert [acks(one) for one in told] == [2, 2]
    assert second.lot.size == 200
    assert crowd._waiting_clips == 0
    assert bench.user.stream("a").ledger().next_seq == 4
