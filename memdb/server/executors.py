"""Bounded threads for what may block, so that the event loop never does.

Reads and commits have pools of their own: a disk that is slow to sync must not delay a question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from memdb.config import ServerConfig
from memdb.errors import ResourceExhausted

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Pool:
    """``threads`` threads and at most ``queue_max`` calls waiting for one."""

    def __init__(self, name: str, threads: int, queue_max: int) -> None:
        self._name = name
        self._open_max = threads + queue_max
        self._open = 0  # touched by the event loop only
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"memdb-{name}")

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """The result of a call on a thread of the pool.

        A cancelled call that has not begun is never made; one that has begun goes on to its end.
        Raises `ResourceExhausted` (``OVERLOADED``) when the queue is full.
        """
        if self._open >= self._open_max:
            raise ResourceExhausted(f"too many {self._name} calls are waiting", reason="OVERLOADED")
        self._open += 1
        future = self._executor.submit(_guarded, function, args, kwargs)
        try:
            return await asyncio.wrap_future(future)
        finally:
            if future.done():
                self._open -= 1
            else:
                self._count_down_later(future)

    def shutdown(self) -> None:
        """Wait for the calls that run; those that wait are cancelled."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _count_down_later(self, future: Future[_T]) -> None:
        """The waiter was cancelled but the thread is still taken: count it until it ends."""
        loop = asyncio.get_running_loop()

        def count_down() -> None:
            self._open -= 1

        def ended(_: Future[_T]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(count_down)

        future.add_done_callback(ended)


def _guarded(function: Callable[..., _T], args: Any, kwargs: Any) -> _T:
    try:
        return function(*args, **kwargs)
    except StopIteration as error:
        # A future cannot carry it, and whoever waited would wait for ever.
        raise RuntimeError("StopIteration out of a call") from error


class Pools:
    """The pools of a server."""

    def __init__(self, config: ServerConfig) -> None:
        self.read = Pool("read", config.read_threads, config.queue_max)
        self.write = Pool("write", config.write_threads, config.queue_max)

    def shutdown(self) -> None:
        """Wait for the calls that run; those that wait are cancelled."""
        self.read.shutdown()
        self.write.shutdown()
