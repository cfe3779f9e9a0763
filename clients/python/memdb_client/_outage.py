"""How long a stream of answers that breaks is made again.

No waiting here.  An outage begins with the first call that fails and ends with an answer, or with a call that stood for
a while: an idle watch is told nothing for hours, and yet the server was there.
"""

from __future__ import annotations

import time
from typing import Final

from memdb.errors import Unavailable
from memdb_client._options import NOT_REACHED, pauses_s

STOOD_S: Final = 10.0
"""A call that lasted longer had reached a server: one that is refused, or finds none, ends sooner."""


class Outage:
    """What is known of the outages of one stream; each may last ``timeout_s``."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pauses = pauses_s()
        self._give_up_s: float | None = None
        self._called_s = 0.0

    def calls(self) -> None:
        """A call is made."""
        self._called_s = time.monotonic()

    def is_over(self) -> None:
        """The server has answered."""
        self._pauses = pauses_s()
        self._give_up_s = None

    def pause_s(self, error: Unavailable) -> float | None:
        """Seconds until the next call after one that ended with ``error``; None where there shall be none."""
        now_s = time.monotonic()
        stood_s = now_s - self._called_s
        if stood_s >= min(STOOD_S, self._timeout_s) and not error.message.startswith(NOT_REACHED):
            self.is_over()
        if self._give_up_s is None:
            self._give_up_s = now_s + self._timeout_s
        pause_s = next(self._pauses)
        return pause_s if now_s + pause_s <= self._give_up_s else None
