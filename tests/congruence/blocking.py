"""The asyncio client behind the interface of the sync one: every call runs on a loop in a thread
of its own.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, Self, TypeVar, cast

from memdb.types.database import Database
from memdb_client import (
    AsyncDatabase,
    AsyncIngestWriter,
    AsyncStanding,
    AsyncStream,
    AsyncUser,
    connect_async,
)

_T = TypeVar("_T")

ENDS_S = 10.0
"""Far longer than a task that was cancelled takes to its end."""


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="client-loop")
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """The result of ``coroutine``, run on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        """Stop the loop and end the thread; what goes on running on it is a leak and fails the test."""
        left = self.run(self._left())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        assert left == []

    async def _left(self) -> list[str]:
        """Tasks that do not end: what was just cancelled takes a while."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if not others:
            return []
        _, left = await asyncio.wait(others, timeout=ENDS_S)
        return [str(task) for task in left]


class Blocking:
    """Any object of the asyncio client; its coroutines become calls, its async iterators
    iterators.
    """

    def __init__(self, loop: Loop, target: Any) -> None:
        self._loop = loop
        self._target = target

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if isinstance(value, AsyncStanding):
            return Blocking(self._loop, value)
        if not callable(value):
            return value
        return lambda *args, **kwargs: self._plain(value(*args, **kwargs))

    def __enter__(self) -> Self:
        self._loop.run(self._target.__aenter__())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.run(self._target.__aexit__(*exc_info))

    def _plain(self, value: Any) -> Any:
        if inspect.iscoroutine(value):
            return self._loop.run(value)
        if inspect.isasyncgen(value):
            return self._iterate(value)
        if isinstance(value, (AsyncUser, AsyncStream, AsyncIngestWriter)):
            return Blocking(self._loop, value)
        return value

    def _iterate(self, values: AsyncGenerator[Any, Any]) -> Iterator[Any]:
        async def following() -> tuple[bool, Any]:
            try:
                return True, await anext(values)
            except StopAsyncIteration:
                return False, None

        try:
            while True:
                more, value = self._loop.run(following())
                if not more:
                    return
                yield value
        finally:
            self._loop.run(values.aclose())


class BlockingDatabase(Blocking):
    """`connect_async`, without a loop of the caller's."""

    def __init__(self, address: str, **options: Any) -> None:
        loop = Loop()

        async def connect() -> AsyncDatabase:
            return await connect_async(address, **options)

        super().__init__(loop, loop.run(connect()))

    def close(self) -> None:
        """Close the client; its loop goes on, so that later calls can say so."""
        self._loop.run(self._target.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
        self._loop.close()


def connect_blocking(address: str, **options: Any) -> Database:
    """The database at ``address`` through the asyncio client."""
    return cast(Database, BlockingDatabase(address, **options))
