"""Turns of what is done on the event loop itself: one for each time around the loop, users in turn.

What comes in a rush does not hold up what else the loop has to do, and who asks a lot stands behind one question of
each other user, as in `memdb.server.executors`.
"""

from __future__ import annotations

import asyncio
from typing import Final

from memdb.server.fair import RoundRobin

BYTES_MAX: Final = 20 << 10
"""Of a request that is tried on the loop: a feature of 4,000 dimensions.  No budget counts so few."""
WAITING_MAX: Final = 256
"""Calls that wait for a turn: a tenth of a second or some."""


class LoopTurns:
    """Who waits for a turn; lives on one event loop."""

    def __init__(self) -> None:
        self._waiting: RoundRobin[asyncio.Future[None]] = RoundRobin()
        self._taken = False
        """Whether this time around the loop was somebody's."""

    @property
    def waiting(self) -> int:
        """So many wait for a turn."""
        return len(self._waiting)

    def may_take(self, size: int) -> bool:
        """Whether a request of so many bytes may be tried on the loop; where too many wait, the pool says what there is
        to say.
        """
        return size <= BYTES_MAX and (not self._taken or self.waiting < WAITING_MAX)

    def take_free(self) -> bool:
        """Take the turn of this time around the loop, where it is nobody's; False where it is to be waited for."""
        if self._taken:
            return False
        self._taken = True
        asyncio.get_running_loop().call_soon(self._give)
        return True

    async def take(self, owner: str) -> None:
        """Return in a turn of the owner's."""
        if self.take_free():
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.put(owner, turn)
        try:
            await turn
        except asyncio.CancelledError:
            self._waiting.discard(owner, turn)
            raise

    def _give(self) -> None:
        """The next turn to who is next."""
        while True:
            try:
                turn = self._waiting.take()
            except IndexError:
                self._taken = False
                return
            if not turn.done():
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._give)
                return
