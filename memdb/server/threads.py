"""Threads that make calls for the event loop, with as little between the two as can be.

One queue there, in which owners have their turns (`memdb.server.fair`), `call_soon_threadsafe` back.
`concurrent.futures` does the same with three locks, two futures and a second thread that is woken for nothing, which a
question of 2 ms can feel.

A few threads work at once, and one more for each call that takes long: calls of a millisecond that run side by
side take the interpreter's lock from each other, which costs more than they gain, while one that waits for a disk
or searches a large matrix holds nobody up.  A thread that is done takes the next call itself, and is not woken for
it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from memdb.server.fair import RoundRobin

_T = TypeVar("_T")

LONG_S: Final = 0.002
"""A call that has run so long is none of the few; also how often it is looked whether one has."""


class _Call:
    """A call on its way to a thread and its result on the way back."""

    __slots__ = ("_ticket", "args", "function", "future", "give_back", "loop")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        give_back: Callable[[], None],
        function: Callable[..., Any],
        args: tuple[Any, ...],
    ) -> None:
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.give_back = give_back
        self.function = function
        self.args = args
        self._ticket = [None]

    def claim(self) -> bool:
        """Whether the claimer may make or drop the call: true once, whoever asks."""
        try:
            self._ticket.pop()
        except IndexError:
            return False
        return True

    def make(self) -> None:
        """Make it, on a thread, and tell the loop."""
        result = error = None
        try:
            result = self.function(*self.args)
        except BaseException as raised:  # whoever waits gets it
            error = raised
        self._tell(self._finish, result, error)
        # Or they made a cycle: the error's traceback holds this frame, and the call's future the error.
        error = None
        del self

    def refuse(self, error: Exception) -> None:
        """Never make it, on the loop; whoever waits gets the error."""
        self.give_back()
        if not self.future.done():
            self.future.set_exception(error)

    def drop(self) -> None:
        """Never make it; whoever waits is cancelled."""
        self._tell(self._cancel)

    def _tell(self, function: Callable[..., None], *args: Any) -> None:
        try:
            self.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            if not self.loop.is_closed():
                raise
            # Nobody is left to wait.

    def _finish(self, result: object, error: BaseException | None) -> None:
        self.give_back()
        if self.future.done():  # cancelled meanwhile
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)

    def _cancel(self) -> None:
        self.give_back()
        self.future.cancel()


class Threads:
    """At most ``threads_max`` threads, started as they are needed; used by one event loop."""

    def __init__(self, name: str, threads_max: int, few: int | None = None) -> None:
        """few: how many work at once while no call takes long; None: all may."""
        self._name = name
        self._threads_max = threads_max
        self._few = threads_max if few is None else min(few, threads_max)
        self._threads: list[threading.Thread] = []
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        """True wakes a thread, which then works until nothing waits or too many work; False ends one."""
        self._lock = threading.Lock()
        """For what follows."""
        self._turns: RoundRobin[_Call] = RoundRobin()
        self._working = 0
        """Threads that are awake, or about to be.  While something waits, at least one is."""
        self._since_s: dict[int, float] = {}
        """When a thread, by its identity, began what it does."""
        self._looking: asyncio.TimerHandle | None = None  # touched by the event loop only
        self._is_shut = False

    async def run(
        self,
        give_back: Callable[[], None],
        function: Callable[..., _T],
        args: tuple[Any, ...],
        owner: str = "",
    ) -> _T:
        """The result of ``function(*args)`` on a thread, in the owner's turn.

        A call that is cancelled before it has begun is never made; one that has begun goes on.
        ``give_back`` is called on the loop, once, when the call takes no thread any more.
        """
        loop = asyncio.get_running_loop()
        call = _Call(loop, give_back, function, args)
        try:
            with self._lock:
                is_woken = self._wake()
                self._turns.put(owner, call)
        except BaseException:
            give_back()
            raise
        if is_woken:
            self._wakes.put(True)
        elif self._looking is None:
            self._looking = loop.call_later(LONG_S, self._look, loop)
        if self._is_shut and call.claim():  # it came after the last look at the queue
            give_back()
            raise asyncio.CancelledError
        try:
            result: _T = await call.future
        except asyncio.CancelledError:
            if call.claim():
                give_back()
                # Or what it holds, a request perhaps, stayed until its turn; no budget counts it any more.
                with self._lock:
                    self._turns.discard(owner, call)
            raise
        finally:
            del call  # as at the end of `_Call.make`
        return result

    def make_room(self, owner: str, error: Exception) -> bool:
        """Refuse the last waiting call of whoever has most of them, in favour of one more of ``owner``; False
        where the owner has as many.
        """
        while True:
            with self._lock:
                call = self._turns.give_way(owner)
            if call is None:
                return False
            # One that was cancelled had given its place back.
            if call.claim():
                call.refuse(error)
                return True

    def shutdown(self) -> None:
        """Wait for the calls that run; those that wait are cancelled."""
        self._is_shut = True
        waiting: list[_Call] = []
        with self._lock:
            while self._turns:
                waiting.append(self._turns.take())
        for call in waiting:
            if call.claim():
                call.drop()
        for _ in self._threads:
            self._wakes.put(False)
        for thread in self._threads:
            thread.join()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """On the loop, while something waits that woke nobody: whether what runs takes long."""
        self._looking = None
        is_woken = False
        with self._lock:
            if not self._turns:
                return
            # Where the system has no thread to give, those that work are enough, later.
            with suppress(RuntimeError):
                is_woken = self._wake()
        if is_woken:
            self._wakes.put(True)
        self._looking = loop.call_later(LONG_S, self._look, loop)

    def _wake(self) -> bool:
        """Whether a thread is to be woken, counted as one that works (under the lock); one is started where
        none is asleep.
        """
        if self._is_shut:
            raise RuntimeError(f"the {self._name} threads have ended")
        if self._working >= self._most():
            return False
        if self._working == len(self._threads):
            name = f"memdb-{self._name}-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
        self._working += 1
        return True

    def _most(self) -> int:
        """How many may work now (under the lock)."""
        if self._working < self._few:
            return self._few
        long_ago_s = time.monotonic() - LONG_S
        long = sum(since_s < long_ago_s for since_s in self._since_s.values())
        return min(self._few + long, self._threads_max)

    def _next(self) -> _Call | None:
        """What a thread that works does next; None: it is to sleep."""
        own = threading.get_ident()
        with self._lock:
            self._since_s.pop(own, None)
            # Where more work than may, somebody is done in a moment and takes what waits.
            if not self._turns or self._working > self._most():
                self._working -= 1
                return None
            self._since_s[own] = time.monotonic()
            return self._turns.take()

    def _work(self) -> None:
        while self._wakes.get():
            while (call := self._next()) is not None:
                if call.claim():
                    call.make()
                del call  # or what it holds stayed until the next
