"""Calls that are quick run few at a time; one that takes long holds up nobody."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest

from memdb.server import threads as module
from memdb.server.threads import Threads


def test_while_nothing_takes_long_no_more_than_few_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONG_S", 60.0)
    running = most = 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.001)
        with lock:
            running -= 1

    async def body() -> None:
        threads = Threads("test", 8, few=2)
        await asyncio.gather(*(threads.run(lambda: None, work, ()) for _ in range(40)))
        await asyncio.to_thread(threads.shutdown)

    asyncio.run(body())
    assert most == 2


@pytest.mark.parametrize("long", [1, 2, 3])
def test_calls_that_take_long_make_room_for_others(long: int) -> None:
    async def body() -> None:
        threads = Threads("test", 4, few=1)
        let_go = threading.Event()
        blocked = [
            asyncio.create_task(threads.run(lambda: None, let_go.wait, (30,))) for _ in range(long)
        ]
        # Behind all of them, and not held up by any.
        answer = asyncio.create_task(threads.run(lambda: None, int, ("7",)))
        try:
            assert await asyncio.wait_for(answer, 20) == 7
            assert not any(task.done() for task in blocked)
        finally:
            let_go.set()
            await asyncio.gather(*blocked)
            await asyncio.to_thread(threads.shutdown)

    asyncio.run(body())


def test_no_more_than_all_run_however_long_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONG_S", 0.0)
    running = most = 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.005)
        with lock:
            running -= 1

    async def body() -> None:
        threads = Threads("test", 3, few=1)
        await asyncio.gather(*(threads.run(lambda: None, work, ()) for _ in range(30)))
        await asyncio.to_thread(threads.shutdown)

    asyncio.run(body())
    assert 1 < most <= 3


def test_every_call_is_made_or_cancelled_and_given_back_once() -> None:
    rng = random.Random(7)
    given: list[int] = []
    made: list[int] = []

    def work(number: int, pause_s: float) -> int:
        if pause_s:
            threading.Event().wait(pause_s)
        made.append(number)
        return number

    async def body() -> int:
        threads = Threads("test", 4, few=2)
        answered = 0
        for begin in range(0, 600, 30):
            tasks = [
                asyncio.create_task(
                    threads.run(
                        lambda no=number: given.append(no),  # type: ignore[misc]
                        work,
                        (number, rng.choice((0.0, 0.0, 0.0, 0.004))),
                        rng.choice("abc"),
                    )
                )
                for number in range(begin, begin + 30)
            ]
            await asyncio.sleep(0)
            for task in rng.sample(tasks, 8):
                task.cancel()
            for place, result in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
                if not isinstance(result, asyncio.CancelledError):
                    assert result == begin + place
                    answered += 1
        # Who runs to the end though nobody waits gives back when it is done.
        await asyncio.to_thread(threads.shutdown)
        await asyncio.sleep(0)
        return answered

    answered = asyncio.run(body())
    assert sorted(given) == list(range(600))
    assert len(set(made)) == len(made) >= answered >= 600 - 20 * 8
