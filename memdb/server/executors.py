"""Bounded threads for what may block, so that the event loop never does.

Reads, commits and openings of users have pools of their own: neither a disk that is slow to sync nor
a user that takes long to open may delay a question.  Nor may what goes through everything there is,
for minutes or hours: a few such calls would hold every thread of another pool.

A call that is one of many may be refused (`Pool.run`); a stream is never refused but waits for its
turn (`Pool.run_in_turn`), which its client feels as back-pressure.  Streams are bounded by
``calls_max``.

Users have their turns (`Pool.of`): calls of one stand behind one call of each other user, not behind all that
somebody has waiting, and one alone has three quarters of the threads at most (`memdb.server.shares`), since a call may
take long.  Where the queue is full, the one who has most waiting gives way: the last of its calls is refused in favour
of one of somebody with fewer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from memdb.config import ServerConfig
from memdb.errors import ResourceExhausted
from memdb.server.fair import FairSemaphore
from memdb.server.threads import Threads

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Pool:
    """``threads`` threads and at most ``queue_max`` calls waiting for one."""

    def __init__(self, name: str, threads: int, queue_max: int, *, may_share: bool = True) -> None:
        """may_share: see `Threads`."""
        self._name = name
        self._queue_max = queue_max
        self._open_max = threads + queue_max
        self._open = 0  # touched by the event loop only
        # So many turns at once are in the executor's queue: calls and streams take threads alike.
        self._turns = FairSemaphore(threads)
        self._threads = Threads(name, threads, may_share=may_share)

    def of(self, owner: str) -> Turns:
        """The pool for calls of one user, which have their turns among those of others."""
        return Turns(self, owner)

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """`Turns.run` of a call that is nobody's."""
        return await self.run_as("", function, args, kwargs)

    async def run_in_turn(
        self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """`Turns.run_in_turn` of what is nobody's."""
        return await self.run_in_turn_as("", function, args, kwargs)

    async def run_as(self, owner: str, function: Callable[..., _T], args: Any, kwargs: Any) -> _T:
        """`Turns.run`."""
        if self._open >= self._open_max:
            error = ResourceExhausted(
                f"too many {self._name} calls are waiting",
                reason="OVERLOADED",
                field="server.queue_max",
                value=self._queue_max,
            )
            if not self._threads.make_room(owner, error):
                raise error
        self._open += 1
        return await self._threads.run(self._count_down, _guarded, (function, args, kwargs), owner)

    async def run_in_turn_as(
        self, owner: str, function: Callable[..., _T], args: Any, kwargs: Any
    ) -> _T:
        """`Turns.run_in_turn`."""
        await self._turns.acquire(owner)
        return await self._threads.run(
            partial(self._turns.release, owner),
            _guarded,
            (function, args, kwargs),
            owner,
            may_be_refused=False,
        )

    def begin_as(
        self, owner: str, function: Callable[..., _T], args: Any, kwargs: Any
    ) -> asyncio.Future[_T] | None:
        """`Turns.begin`."""
        if not self._turns.acquire_free(owner):
            return None
        given_back = partial(self._turns.release, owner)
        return self._threads.begin(given_back, _guarded, (function, args, kwargs), owner)

    def shutdown(self) -> None:
        """Wait for the calls that run; those that wait are cancelled."""
        self._threads.shutdown()

    def _count_down(self) -> None:
        self._open -= 1


class Turns:
    """A pool for the calls of one user."""

    __slots__ = ("_owner", "_pool")

    def __init__(self, pool: Pool, owner: str) -> None:
        self._pool = pool
        self._owner = owner

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """The result of a call on a thread of the pool.

        A cancelled call that has not begun is never made; one that has begun goes on to its end.
        Raises `ResourceExhausted` (``OVERLOADED``) when the queue is full and nobody has more waiting, or the system
        has no thread for it, be it of others.
        """
        return await self._pool.run_as(self._owner, function, args, kwargs)

    async def run_in_turn(
        self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """`run` for a stream: waits, first come first served among those of its user, where `run` refuses."""
        return await self._pool.run_in_turn_as(self._owner, function, args, kwargs)

    def begin(
        self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> asyncio.Future[_T] | None:
        """`run_in_turn` from here on, where there is a turn at once; None, and nothing is done, where it is to be
        waited for.  The call is made, whatever becomes of its future.
        """
        return self._pool.begin_as(self._owner, function, args, kwargs)


def _guarded(function: Callable[..., _T], args: Any, kwargs: Any) -> _T:
    try:
        return function(*args, **kwargs)
    except StopIteration as error:
        # A future cannot carry it, and whoever waited would wait for ever.
        raise RuntimeError("StopIteration out of a call") from error


WHOLE_THREADS: Final = 2
"""Calls that go through everything at once; they share one disk."""
LONE_THREADS: Final = 4
"""That await the clips of a stream each (`memdb.server.awaited`)."""


class Pools:
    """The pools of a server."""

    def __init__(self, config: ServerConfig) -> None:
        self.read = Pool("read", config.read_threads, config.queue_max)
        self.write = Pool("write", config.write_threads, config.queue_max)
        self.open = Pool("open", config.open_threads, config.queue_max)
        self.whole = Pool("whole", WHOLE_THREADS, config.queue_max)
        self.lone = Pool("lone", LONE_THREADS, 0, may_share=False)

    def shutdown(self) -> None:
        """Wait for the calls that run; those that wait are cancelled."""
        self.open.shutdown()
        self.read.shutdown()
        self.write.shutdown()
        self.lone.shutdown()
        self.whole.shutdown()
