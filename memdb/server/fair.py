"""Waiting in turn, owner by owner: whoever waits with one thing stands behind one thing of each other owner,
not behind the five hundred of somebody who asks a lot.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Generic, TypeVar

_T = TypeVar("_T")


class RoundRobin(Generic[_T]):
    """Things that wait; of one owner first come, first served.  Not for several threads."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[_T]] = {}  # the first is whose turn it is

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, owner: str, thing: _T) -> None:
        """Wait behind what the owner has waiting."""
        things = self._waiting.get(owner)
        if things is None:
            self._waiting[owner] = deque((thing,))
        else:
            things.append(thing)

    def take(self) -> _T:
        """What is next; raises `IndexError` when nothing waits."""
        if not self._waiting:
            raise IndexError("nothing waits")
        owner = next(iter(self._waiting))
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

    def give_way(self, owner: str) -> _T | None:
        """The last thing of whoever has most waiting, taken out in favour of one more of ``owner``; None when
        the owner would then have as many.
        """
        if not self._waiting:
            return None
        most = max(self._waiting, key=lambda one: len(self._waiting[one]))
        things = self._waiting[most]
        if len(things) <= len(self._waiting.get(owner, ())) + 1:
            return None
        return things.pop()  # some are left


class FairSemaphore:
    """`asyncio.Semaphore`, whose waiters have their turns owner by owner."""

    def __init__(self, value: int) -> None:
        self._free = value
        self._waiting: RoundRobin[asyncio.Future[None]] = RoundRobin()

    async def acquire(self, owner: str) -> None:
        """Wait for a turn, and take it; `release` must follow."""
        if self._free > 0:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put(owner, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # it was ours already
            raise

    def release(self) -> None:
        """Give a turn to who is next."""
        while True:
            try:
                turn = self._waiting.take()
            except IndexError:
                self._free += 1
                return
            if not turn.done():
                turn.set_result(None)
                return
