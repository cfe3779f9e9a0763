"""How long a database that is closed writes checkpoints, which only the next start is the quicker for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

JUDGED_S: Final = 1.0
"""So long a checkpoint is written before its rate is held against what is left to be written."""


class Closing:
    """The time that there is for them.  `hurry` by any thread, the rest by the one that closes."""

    def __init__(self, seconds: float) -> None:
        """seconds: `IndexConfig.close_checkpoint_s`."""
        self._seconds = seconds
        self._until: float | None = None
        self._hurried = False
        """No event, in whose lock a second Ctrl-C may come: nobody waits for it."""

    def begin(self) -> None:
        """The time runs from now on, or from the first time that this was called."""
        if self._until is None:
            self._until = time.monotonic() + self._seconds

    def hurry(self) -> None:
        """There is no time any more."""
        self._hurried = True

    @property
    def is_over(self) -> bool:
        """Whether no time is left; nothing is before `begin`."""
        return self._hurried or self._left_s() <= 0

    def leaves(self, size: int) -> Callable[[int], bool]:
        """Asked with the bytes that are written of a file of ``size``, which is begun now: whether to leave it, as it
        will not be whole in time.
        """
        begun = time.monotonic()

        def leave(done: int) -> bool:
            if self.is_over:
                return True
            taken = time.monotonic() - begun
            return taken >= JUDGED_S and (size - done) * taken > self._left_s() * done

        return leave

    def _left_s(self) -> float:
        return 0.0 if self._until is None else self._until - time.monotonic()
