"""A turn that others wait for."""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Self


class Turn:
    """A lock that may be given away before the end of its block."""

    __slots__ = ("_given", "_held", "_lock")

    def __init__(self, lock: threading.RLock, given: SimpleQueue[None]) -> None:
        """lock: one that knows whose it is; given: has something once it is released."""
        self._lock = lock
        self._given = given
        self._held = False

    def __enter__(self) -> Self:
        try:
            self._lock.acquire()
            self._held = True
        except BaseException:
            with suppress(RuntimeError):  # where it was interrupted before
                self._lock.release()
            raise
        return self

    def give(self) -> None:
        """Release it now."""
        if self._held:
            self._held = False
            self._lock.release()
            self._given.put(None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.give()
