"""The next clip of a stream that sends one at a time, awaited by a thread that commits and acknowledges it.

::

    gRPC's thread ──▶ this thread: commit, acknowledge ──▶ the loop is told

Else gRPC's thread wakes the loop, and the loop a thread: each of these takes as long as the clip is decided in.  What
comes otherwise (several clips, one that is not plain or not small, the end) the loop reads as ever, and nothing passes
what the thread has.

Few threads do that, since each has nothing else to do: streams beyond them go by the loop.  What they have no budget
counts: a message each, of 1 MiB at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from memdb.errors import MemdbError, ResourceExhausted
from memdb.server.clip_commits import committed_alone
from memdb.server.edge import Lent
from memdb.server.executors import Pool
from memdb.server.plain_clips import clips_of, runs_of
from memdb.server.ready_clips import Ready, Told

if TYPE_CHECKING:
    import memdb_edge

Outcome: TypeAlias = "Told | memdb_edge.PlainClips | None"
"""What its stream is told; a message that is not for the thread; None where none came to it."""


class Awaited:
    """From the moment on when a thread awaits it; on the loop, but for what the thread does."""

    def __init__(
        self,
        lent: Lent,
        ready: Ready,
        epoch: int,
        is_open: Callable[[], bool],
    ) -> None:
        """ready: without clips yet; epoch: of the stream; is_open: whether its user is, as a commit would have it."""
        self._lent = lent
        self._ready = ready
        self._epoch = epoch
        self._is_open = is_open
        self._outcome: asyncio.Future[Outcome] | None = None

    def begin(self, threads: Pool, woken: Callable[[], None]) -> bool:
        """Have a thread await it; False, and nothing is done, where there is none at once.

        woken: called once `outcome` would return at once."""
        try:
            self._outcome = threads.of("").begin(self._take)
        except (ResourceExhausted, RuntimeError):  # no thread to be had: the loop reads it
            return False
        finally:
            if self._outcome is None and not self._lent.take_back():
                # It has come since it was lent, and no thread will ask for it: nobody else would ever have it.
                self._lent.over(self._lent.wait())
        if self._outcome is None:
            return False

        def ended(outcome: asyncio.Future[Outcome]) -> None:
            if not outcome.cancelled():
                outcome.exception()  # seen, though the stream may have ended
            woken()

        self._outcome.add_done_callback(ended)
        return True

    def take_back(self) -> bool:
        """Await it no more; False where the thread has it, or had: `outcome` follows."""
        return self._lent.take_back()

    async def outcome(self) -> Told | None:
        """What the stream is told of its clip, None where that is for the loop to read.  Raises what befell it."""
        assert self._outcome is not None, "it was begun"
        given_back = None
        try:
            outcome = await self._outcome
            if outcome is None or isinstance(outcome, tuple):
                return outcome
            given_back = outcome
            return None
        finally:
            self._lent.over(given_back)

    def _take(self) -> Outcome:
        """For the thread."""
        message: memdb_edge.PlainClips | None = self._lent.wait()
        if message is None:
            return None
        items = runs_of(message, self._epoch) or clips_of(message)
        if items[0].epoch != self._epoch or not self._is_open():
            return message
        ready = self._ready
        ready.lot.add(items, len(message))
        told = committed_alone(ready)
        if not isinstance(told, Exception):
            return told
        if isinstance(told, ResourceExhausted) and told.reason == "OVERLOADED":
            return message  # it is tried again
        raise told.again() if isinstance(told, MemdbError) else told
