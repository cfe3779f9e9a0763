"""The moment a server begins to stop, as seen by its long streams, and when calls have had their time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar
from weakref import WeakSet

from memdb.deadline import Deadline
from memdb.errors import DeadlineExceeded, Unavailable

_T = TypeVar("_T")

START_S: Final = 60.0
"""How long a stream may be open and say nothing at all, not even whose it is."""


class Drain:
    """Wakes streams when the server begins to stop, so that they end by themselves in time."""

    def __init__(self) -> None:
        self._begun = False
        self._events: set[asyncio.Event] = set()
        self._long: WeakSet[Deadline] = WeakSet()

    @property
    def begun(self) -> bool:
        """Whether the server is stopping."""
        return self._begun

    def begin(self) -> None:
        """Wake every stream that listens."""
        self._begun = True
        for event in self._events:
            event.set()

    def give_up_in_the_end(self, deadline: Deadline) -> None:
        """What asks this deadline takes minutes or hours: it is not waited for once the calls have had their time."""
        self._long.add(deadline)

    def end(self) -> None:
        """The calls have had their time."""
        for deadline in self._long:
            deadline.leave()

    @contextmanager
    def waking(self, event: asyncio.Event) -> Iterator[None]:
        """Within, ``event`` is set when the server begins to stop."""
        self._events.add(event)
        try:
            yield
        finally:
            self._events.discard(event)

    def check(self) -> None:
        """Raise `Unavailable` (``SHUTTING_DOWN``) once the server is stopping."""
        if self._begun:
            raise shutting_down()

    async def first(self, receive: Callable[[], Awaitable[_T]], woken: asyncio.Event) -> _T:
        """The first message of a stream that listens by ``woken``.

        Raises `Unavailable` (``SHUTTING_DOWN``) when the server stops before it comes, and `DeadlineExceeded`
        (``START_EXPECTED``) after `START_S`.
        """
        self.check()
        reading = asyncio.ensure_future(receive())
        stopping = asyncio.create_task(woken.wait())
        try:
            await asyncio.wait(
                (reading, stopping), timeout=START_S, return_when=asyncio.FIRST_COMPLETED
            )
            if stopping.done() and not reading.done():
                raise shutting_down()
            if not reading.done():
                raise DeadlineExceeded(
                    f"no start came for {START_S:g} s", reason="START_EXPECTED", field="start"
                )
            return reading.result()
        finally:
            reading.cancel()
            stopping.cancel()


def shutting_down() -> Unavailable:
    """What a stream ends with when the server stops."""
    return Unavailable("the server is shutting down", reason="SHUTTING_DOWN")
