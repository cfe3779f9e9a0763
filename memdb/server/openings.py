"""Opening users: each once, on a thread of its own pool, while the calls for it wait on the loop.

Opening a large user rebuilds its indexes, which may take seconds.  A herd of calls for it (every
camera reconnects when the server restarts) would otherwise sit in the read pool, a thread each, and
the questions of other users would stand behind them.

A question may be answered *early*, before all of a large user was looked through (`memdb.engine.memory`); one
that cannot be (it has words, say) waits for the rest on its thread.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from memdb.engine.database import EmbeddedDatabase
from memdb.errors import InvalidArgument, NotFound
from memdb.server.executors import Pool
from memdb.types.limits import ID_PATTERN

HELD_LOOK_S: Final = 0.02
"""How often a user is looked at that somebody has closed for a while."""


class Openings:
    """The users that are being opened; lives on one event loop."""

    def __init__(self, database: EmbeddedDatabase, pool: Pool) -> None:
        self._database = database
        self._pool = pool
        self._opening: dict[tuple[str, bool], asyncio.Task[None]] = {}

    def is_open(self, user: str, *, early: bool = False) -> bool:
        """Whether a call for the user need not wait for it to open; from any thread.

        Also true for what is no id: the call itself says what is wrong with it.
        """
        return self._database.is_open(user, whole=not early) or not ID_PATTERN.match(user)

    async def wait(self, user: str, *, early: bool = False) -> None:
        """Return when the user is open, or does not exist (a write may create it).

        Raises what prevents its opening: `DataLoss`, `Unavailable`, `ResourceExhausted`.
        """
        if self.is_open(user, early=early):
            return
        task = self._opening.get((user, early))
        if task is None:
            task = asyncio.create_task(self._opened(user, early))
            self._opening[user, early] = task
            task.add_done_callback(lambda done: self._ended(user, early, done))
        # A caller that leaves does not end it for the others.
        await asyncio.shield(task)

    async def _opened(self, user: str, early: bool) -> None:
        # Compacting a large user takes a minute, and a few at once would hold every thread that opens others.
        while self._database.is_held_closed(user):  # noqa: ASYNC110 - threads, which tell no loop
            await asyncio.sleep(HELD_LOOK_S)
        await self._pool.run_in_turn(self._open, user, early)

    def _open(self, user: str, early: bool) -> None:
        # What these say is the call's own to say, or to mend.
        with suppress(NotFound, InvalidArgument):
            self._database.open_user(user, whole=not early)

    def _ended(self, user: str, early: bool, task: asyncio.Task[None]) -> None:
        del self._opening[user, early]
        if not task.cancelled():
            task.exception()  # seen, though every caller may have left
