"""Threads that make calls for the event loop, with as little between the two as can be.

One queue there, in which owners have their turns (`memdb.server.fair`), `call_soon_threadsafe` back.
A call may go on for minutes, so no owner has more threads at once than its share (`memdb.server.shares`): somebody who
has an index compacted twenty times over holds up no write of another user.

`concurrent.futures` does the same with three locks, two futures and a second thread that is woken for nothing, which a
question of 2 ms can feel.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from memdb.errors import ResourceExhausted
from memdb.server.fair import RoundRobin
from memdb.server.shares import Shares

_T = TypeVar("_T")


class _Call:
    """A call on its way to a thread and its result on the way back."""

    __slots__ = (
        "_ticket",
        "args",
        "function",
        "future",
        "give_back",
        "loop",
        "may_be_refused",
        "owner",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        give_back: Callable[[], None],
        function: Callable[..., Any],
        args: tuple[Any, ...],
        owner: str,
        may_be_refused: bool,
    ) -> None:
        self.loop = loop
        self.owner = owner
        self.may_be_refused = may_be_refused
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

    def __init__(self, name: str, threads_max: int, *, may_share: bool = True) -> None:
        """may_share: whether a call for which there is no thread to be had may wait for one that has another: it is
        over some day."""
        self._name = name
        self._threads_max = threads_max
        self._may_share = may_share
        self._threads: list[threading.Thread] = []
        self._calls: SimpleQueue[bool] = SimpleQueue()
        """A token for each call, True; False ends a thread.  Which call it is, turns say."""
        self._turns: RoundRobin[_Call] = RoundRobin()
        self._turns_lock = threading.Lock()
        self._running = Shares(threads_max)
        self._passed_over = 0
        """Tokens of calls that wait although there is a thread, since their owners have their share."""
        self._taken = 0  # calls that wait or run; touched by the event loop only
        self._is_shut = False

    async def run(
        self,
        give_back: Callable[[], None],
        function: Callable[..., _T],
        args: tuple[Any, ...],
        owner: str = "",
        *,
        may_be_refused: bool = True,
    ) -> _T:
        """The result of ``function(*args)`` on a thread, in the owner's turn.

        A call that is cancelled before it has begun is never made; one that has begun goes on.
        ``give_back`` is called on the loop, once, when the call takes no thread any more.
        may_be_refused: by `make_room`, as long as it waits.
        """
        call = self._begin(give_back, function, args, owner, may_be_refused)
        try:
            result: _T = await call.future
        except asyncio.CancelledError:
            if call.claim():
                call.give_back()
                # Or what it holds, a request perhaps, stayed until its turn; no budget counts it any more.
                with self._turns_lock:
                    self._turns.discard(owner, call)
            raise
        finally:
            del call  # as at the end of `_Call.make`
        return result

    def begin(
        self,
        give_back: Callable[[], None],
        function: Callable[..., _T],
        args: tuple[Any, ...],
        owner: str = "",
    ) -> asyncio.Future[_T]:
        """`run` of a call that is made although nobody waits yet; its result."""
        return self._begin(give_back, function, args, owner, may_be_refused=False).future

    def _begin(
        self,
        give_back: Callable[[], None],
        function: Callable[..., Any],
        args: tuple[Any, ...],
        owner: str,
        may_be_refused: bool,
    ) -> _Call:
        """A call on its way to a thread."""

        def ended() -> None:
            self._taken -= 1
            give_back()

        call = _Call(asyncio.get_running_loop(), ended, function, args, owner, may_be_refused)
        self._taken += 1
        try:
            self._start_if_needed()
        except BaseException:
            ended()
            raise
        with self._turns_lock:
            self._turns.put(owner, call)
        self._calls.put(True)
        if self._is_shut and call.claim():  # it came after the last look at the queue
            ended()
            raise asyncio.CancelledError
        return call

    def make_room(self, owner: str, error: Exception) -> bool:
        """Refuse the last waiting call of whoever has most of them, in favour of one more of ``owner``; False
        where the owner has as many.
        """
        while True:
            with self._turns_lock:
                call = self._turns.give_way(owner, lambda waiting: waiting.may_be_refused)
            if call is None:
                return False
            # One that was cancelled had given its place back; its token finds another, or nothing.
            if call.claim():
                call.refuse(error)
                return True

    def shutdown(self) -> None:
        """Wait for the calls that run; those that wait are cancelled."""
        self._is_shut = True
        with self._turns_lock:
            left = [self._turns.take() for _ in range(len(self._turns))]
        for call in left:
            if call.claim():
                call.drop()
        for _ in self._threads:
            self._calls.put(False)
        for thread in self._threads:
            thread.join()

    def _start_if_needed(self) -> None:
        """Raises `ResourceExhausted` (``OVERLOADED``) where no thread would ever make the call."""
        if self._is_shut:
            raise RuntimeError(f"the {self._name} threads have ended")
        if len(self._threads) < min(self._taken, self._threads_max):
            name = f"memdb-{self._name}-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                if self._threads and self._may_share:
                    return  # the next call tries again
                raise ResourceExhausted(
                    "the system has no thread for it",
                    reason="OVERLOADED",
                    field="threads",
                    value=len(self._threads),
                ) from error
            self._threads.append(thread)

    def _next(self) -> _Call | None:
        """The call whose turn it is, which takes a thread of its owner's share until `_made`."""
        with self._turns_lock:
            if not self._turns:
                return None
            try:
                call = self._turns.take(self._may)
            except IndexError:
                self._passed_over += 1
                return None
            self._running.take(call.owner, 1)
            self._wake()
            return call

    def _made(self, owner: str) -> None:
        """A call of the owner is over."""
        with self._turns_lock:
            self._running.give(owner, 1)
            self._wake()

    def _wake(self) -> None:
        """Have a thread look for a call that was passed over (with the lock held); it wakes the next, if there is
        work for one more.
        """
        if self._passed_over and self._turns.has_any(self._may):
            self._passed_over -= 1
            self._calls.put(True)

    def _may(self, owner: str) -> bool:
        return self._running.fits(owner, 1)

    def _work(self) -> None:
        while self._calls.get():
            call = self._next()
            if call is not None:
                owner = call.owner
                if call.claim():
                    call.make()
                self._made(owner)
            del call  # or what it holds stayed until the next
