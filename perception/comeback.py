"""A live camera that went away: opened again as soon as it answers, for as long as one is willing to wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from perception.errors import SourceNotFound, SourceUnreadable
from perception.sources.file import FileSource

PAUSE_S: Final = 1.0
"""Before the first try; each later one waits twice as long, up to `PAUSE_MAX_S`."""
PAUSE_MAX_S: Final = 30.0


class Comeback:
    """Opens a source again; `wait` from one thread, ``stopping`` set from any."""

    def __init__(
        self, open_source: Callable[[], FileSource], patience_s: float, stopping: threading.Event
    ) -> None:
        self._open_source = open_source
        self._patience_s = patience_s
        self._stopping = stopping

    def wait(self) -> FileSource | None:
        """The source, open; None where it did not come back in time, or ``stopping`` was set."""
        until_s = time.monotonic() + self._patience_s
        pause_s = PAUSE_S
        while True:
            left_s = until_s - time.monotonic()
            if left_s <= 0 or self._stopping.wait(min(pause_s, left_s)):
                return None
            try:
                source = self._open_source()
            except (SourceNotFound, SourceUnreadable):
                pause_s = min(2 * pause_s, PAUSE_MAX_S)
                continue
            if self._stopping.is_set():
                # A camera that answers may still take half a minute until it shows something.
                source.close()
                return None
            return source
