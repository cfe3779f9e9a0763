"""How many calls are open at once, and whose.

Streams stay open for hours, so a program that forgets to close its watches comes to ``server.calls_max`` some day.
gRPC would then refuse everybody, and whoever asks for the server's health as well, who restarts it.  So each
user has a share (`memdb.server.shares`), and questions about health are counted apart.  What is counted is what gRPC
counts: a call is open until its answer has gone, so `call` and `stream` are entered for as long as that
(`memdb.server.lifecycle`), and not for the work alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from memdb.errors import ResourceExhausted, Unavailable
from memdb.server.shares import Shares

UNNAMED: Final = "?"
"""Whose it is as long as it is not said; no user's id."""
HEALTH_CALLS_MAX: Final = 128
"""Questions about health at once, their watches included."""
REFUSED_MAX: Final = 256
"""Calls beyond those that are open and about to be refused; gRPC refuses what is more, without a reason."""


class _Call(AbstractContextManager[None]):
    """One of `OpenCalls.call`: no generator, since each question takes one."""

    __slots__ = ("_calls", "_owner")

    def __init__(self, calls: OpenCalls, owner: str) -> None:
        self._calls = calls
        self._owner = owner

    def __enter__(self) -> None:
        self._calls._begin(self._owner)

    def __exit__(self, *_: object) -> None:
        self._calls._end(self._owner)


class OpenCalls:
    """The calls of a server, or those of a kind; lives on one event loop."""

    def __init__(self, calls_max: int) -> None:
        self._calls_max = calls_max
        self._shares = Shares(calls_max)
        self._named_later: dict[asyncio.Task[Any] | None, str] = {}
        self.begun = 0
        """How many there were, since it was made."""

    @property
    def open(self) -> int:
        """How many there are."""
        return self._shares.total

    def call(self, owner: str) -> AbstractContextManager[None]:
        """One more, of a user; to enter it raises `ResourceExhausted` (``OVERLOADED``)."""
        return _Call(self, owner)

    def _begin(self, owner: str) -> None:
        self._check(owner, ResourceExhausted)
        self._shares.take(owner, 1)
        self.begun += 1

    def _end(self, owner: str) -> None:
        self._shares.give(owner, 1)

    @contextmanager
    def stream(self) -> Iterator[None]:
        """One more, of this task, which says later whose it is; raises `Unavailable` (``OVERLOADED``)."""
        self._check(UNNAMED, Unavailable)
        task = asyncio.current_task()
        self._shares.take(UNNAMED, 1)
        self.begun += 1
        self._named_later[task] = UNNAMED
        try:
            yield
        finally:
            self._shares.give(self._named_later.pop(task), 1)

    def name(self, owner: str) -> None:
        """Whose the stream of this task is; raises `Unavailable` (``OVERLOADED``)."""
        task = asyncio.current_task()
        if task in self._named_later:
            self._shares.give(UNNAMED, 1)  # or it stood in its own way
            try:
                self._check(owner, Unavailable)
                self._named_later[task] = owner
            finally:
                self._shares.take(self._named_later[task], 1)

    def stream_owner(self) -> str:
        """Whose the stream of this task is, so far."""
        return self._named_later.get(asyncio.current_task(), UNNAMED)

    def _check(self, owner: str, family: type[ResourceExhausted | Unavailable]) -> None:
        if not self._shares.fits(owner, 1):
            raise family(
                "too many calls are open",
                reason="OVERLOADED",
                field="server.calls_max",
                value=self._calls_max,
            )
