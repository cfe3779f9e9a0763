"""Waiting in turn, owner by owner: whoever waits with one thing stands behind one thing of each other owner,
not behind the five hundred of somebody who asks a lot.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from memdb.server.shares import Shares

_T = TypeVar("_T")


class RoundRobin(Generic[_T]):
    """Things that wait; of one owner first come, first served.  Not for several threads."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[_T]] = {}  # the first is whose turn it is

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __bool__(self) -> bool:
        return bool(self._waiting)  # the length is a sum over the owners

    def put(self, owner: str, thing: _T) -> None:
        """Wait behind what the owner has waiting."""
        things = self._waiting.get(owner)
        if things is None:
            self._waiting[owner] = deque((thing,))
        else:
            things.append(thing)

    def take(self, may: Callable[[str], bool] | None = None) -> _T:
        """What is next, of those owners that may; raises `IndexError` when nothing of theirs waits."""
        for owner in self._waiting:
            if may is None or may(owner):
                break
        else:
            raise IndexError("nothing waits")
        things = self._waiting.pop(owner)
        thing = things.popleft()
        if things:
            self._waiting[owner] = things  # behind all others
        return thing

    def discard(self, owner: str, thing: _T) -> None:
        """Take out what waits no more, if it is still here."""
        things = self._waiting.get(owner)
        if things is None:
            return
        with suppress(ValueError):
            things.remove(thing)
        if not things:
            del self._waiting[owner]

    def has_any(self, may: Callable[[str], bool]) -> bool:
        """Whether something waits of an owner that may."""
        return any(map(may, self._waiting))

    def give_way(self, owner: str, may_go: Callable[[_T], bool] | None = None) -> _T | None:
        """The last thing (of those that may go) of whoever has most waiting, taken out in favour of one more of
        ``owner``; None when the owner would then have as many.  Who has nothing that may go is passed over.
        """
        fewest = len(self._waiting.get(owner, ())) + 1
        for things in sorted(self._waiting.values(), key=len, reverse=True):
            if len(things) <= fewest:
                return None
            for place in reversed(range(len(things))):
                if may_go is None or may_go(things[place]):
                    thing = things[place]
                    del things[place]
                    return thing  # some are left
        return None


class FairSemaphore:
    """`asyncio.Semaphore`, whose waiters have their turns owner by owner, and each owner no more than its share of
    them (`memdb.server.shares`).
    """

    def __init__(self, value: int) -> None:
        self._taken = Shares(value)
        self._waiting: RoundRobin[tuple[str, asyncio.Future[None]]] = RoundRobin()

    @property
    def taken(self) -> int:
        """How many turns are taken."""
        return self._taken.total

    async def acquire(self, owner: str) -> None:
        """Wait for a turn, and take it; `release` must follow."""
        if self.acquire_free(owner):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put(owner, (owner, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(owner)  # it was ours already
            raise

    def acquire_free(self, owner: str) -> bool:
        """Take a turn, where there is one; False where it is to be waited for."""
        if not self._may(owner):
            return False
        self._taken.take(owner, 1)
        return True

    def release(self, owner: str) -> None:
        """Give the owner's turn to who is next."""
        self._taken.give(owner, 1)
        while True:
            try:
                owner, turn = self._waiting.take(self._may)
            except IndexError:
                return
            if not turn.done():
                self._taken.take(owner, 1)
                turn.set_result(None)

    def _may(self, owner: str) -> bool:
        return self._taken.fits(owner, 1)
