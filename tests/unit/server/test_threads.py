"""Calls handed to threads: made once or never, and always given back."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

from memdb.errors import ResourceExhausted
from memdb.server.executors import Pool
from memdb.server.threads import Threads


def test_results_errors_and_places() -> None:
    async def body() -> None:
        given: list[int] = []
        threads = Threads("test", 2)
        assert await threads.run(lambda: given.append(1), divmod, (7, 3)) == (2, 1)
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: given.append(2), divmod, (1, 0))
        assert given == [1, 2]
        await asyncio.to_thread(threads.shutdown)

    asyncio.run(body())


def test_no_more_threads_than_stated() -> None:
    async def body() -> None:
        seen: set[int] = set()
        threads = Threads("test", 3)

        def work() -> None:
            seen.add(threading.get_ident())
            threading.Event().wait(0.01)

        await asyncio.gather(*(threads.run(lambda: None, work, ()) for _ in range(20)))
        assert 1 < len(seen) <= 3
        await asyncio.to_thread(threads.shutdown)

    asyncio.run(body())


def test_cancelled_calls() -> None:
    async def body() -> None:
        begun, let_go = threading.Event(), threading.Event()
        made: list[str] = []
        given: list[str] = []
        threads = Threads("test", 1)

        def block() -> None:
            begun.set()
            let_go.wait(5)
            made.append("first")

        first = asyncio.create_task(threads.run(lambda: given.append("first"), block, ()))
        second = asyncio.create_task(
            threads.run(lambda: given.append("second"), made.append, ("second",))
        )
        assert await asyncio.to_thread(begun.wait, 5)
        for task in (first, second):
            task.cancel()
        await asyncio.wait([first, second])
        # What waits gives its place back at once; what has begun keeps it to its end.
        assert given == ["second"]
        let_go.set()
        await threads.run(lambda: None, made.append, ("third",))
        assert given == ["second", "first"]
        assert made == ["first", "third"]
        await asyncio.to_thread(threads.shutdown)

    asyncio.run(body())


def test_shutdown_waits_for_what_runs_and_cancels_what_waits() -> None:
    async def body() -> None:
        begun, let_go = threading.Event(), threading.Event()
        given: list[str] = []
        threads = Threads("test", 1)

        def block() -> str:
            begun.set()
            let_go.wait(5)
            return "done"

        running = asyncio.create_task(threads.run(lambda: given.append("running"), block, ()))
        waiting = asyncio.create_task(threads.run(lambda: given.append("waiting"), block, ()))
        assert await asyncio.to_thread(begun.wait, 5)
        ending = asyncio.create_task(asyncio.to_thread(threads.shutdown))
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert not ending.done()
        let_go.set()
        assert await running == "done"
        await ending
        assert given == ["waiting", "running"]
        with pytest.raises(RuntimeError):
            await threads.run(lambda: given.append("late"), block, ())
        assert given[-1] == "late"

    asyncio.run(body())


def test_where_no_thread_is_to_be_had_others_make_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A call was refused although there was a thread that had nothing to do."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def body() -> None:
        begun, let_go = threading.Event(), threading.Event()
        given: list[str] = []

        def block() -> str:
            begun.set()
            let_go.wait(5)
            return "first"

        threads = Threads("test", 2)
        alone = Threads("lone", 2, may_share=False)
        for one in (threads, alone):
            begun.clear()
            first = asyncio.create_task(one.run(lambda: None, block, ()))
            assert await asyncio.to_thread(begun.wait, 5)
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", start)
                second = asyncio.create_task(
                    one.run(lambda: given.append("second"), divmod, (7, 3))
                )
                await asyncio.sleep(0)
                if one is alone:
                    # Who has the other may have it for ever.
                    with pytest.raises(ResourceExhausted) as none:
                        await second
                    assert (none.value.reason, none.value.value) == ("OVERLOADED", "1")
            let_go.set()
            assert await first == "first"
            if one is threads:
                assert await second == (2, 1)
            let_go.clear()
        assert given == ["second"] * 2
        for one in (threads, alone):
            assert await one.run(lambda: None, divmod, (7, 3)) == (2, 1)
            await asyncio.to_thread(one.shutdown)

    asyncio.run(body())


def test_where_there_is_no_thread_at_all_a_call_is_refused_and_gives_its_place_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def body() -> None:
        pool = Pool("test", 2, 0)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            for _ in range(3):
                with pytest.raises(ResourceExhausted, match="OVERLOADED"):
                    await pool.of("u").run(int)
                with pytest.raises(ResourceExhausted, match="OVERLOADED"):
                    await pool.of("u").run_in_turn(int)
                with pytest.raises(ResourceExhausted, match="OVERLOADED"):
                    pool.of("u").begin(int)
        assert await pool.of("u").run(int) == 0
        await asyncio.to_thread(pool.shutdown)

    asyncio.run(body())


class Large:
    """Something that a call holds."""


def test_what_a_failed_call_held_goes_with_its_error() -> None:
    held: list[weakref.ref[Large]] = []

    def fail() -> None:
        large = Large()
        held.append(weakref.ref(large))
        raise ValueError("refused")

    async def run() -> None:
        threads = Threads("test", 1)
        for _ in range(3):
            with pytest.raises(ValueError, match="refused"):
                await threads.run(lambda: None, fail, ())
        await threads.run(lambda: None, int, ())  # the thread is done with them
        threads.shutdown()

    gc.collect()
    gc.disable()
    try:
        asyncio.run(run())
        assert [reference() for reference in held] == [None, None, None]
    finally:
        gc.enable()


def test_what_a_cancelled_call_held_goes_at_once() -> None:
    async def run() -> None:
        begun, let_go = threading.Event(), threading.Event()
        threads = Threads("test", 1)

        def block() -> None:
            begun.set()
            let_go.wait(5)

        running = asyncio.create_task(threads.run(lambda: None, block, ()))
        held: list[weakref.ref[Large]] = []
        waiting: list[asyncio.Task[None]] = []
        for _ in range(3):
            large = Large()
            held.append(weakref.ref(large))
            waiting.append(
                asyncio.create_task(threads.run(lambda: None, lambda _large: None, (large,), "one"))
            )
            del large
        assert await asyncio.to_thread(begun.wait, 5)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        del task
        waiting.clear()
        gc.collect()
        # The only thread is busy still.
        assert [reference() for reference in held] == [None, None, None]
        let_go.set()
        await running
        assert await threads.run(lambda: None, divmod, (7, 3), "one") == (2, 1)
        await asyncio.to_thread(threads.shutdown)

    asyncio.run(run())
