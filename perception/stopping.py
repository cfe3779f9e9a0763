"""Signals that end an ingest: the first in order, the second at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType


class Stopping:
    """Handles SIGINT and SIGTERM from its making on; made in the main thread."""

    def __init__(self, stop: Callable[[], None], report_line: Callable[[str], None]) -> None:
        """stop: ends soon, once what was sent is acknowledged, for which a server that is away is waited for."""
        self._stop = stop
        self._report_line = report_line
        self.signal: int | None = None
        """The first that came."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            # Not by an exception: cameras wait in threads of their own, which the interpreter would wait for.
            os._exit(128 + number)
        self.signal = number
        self._stop()
        # Whether or not it can be said: nobody may read it, or a line was just being written.
        with suppress(OSError, RuntimeError):
            self._report_line(
                "stopping, as soon as what was sent is acknowledged; the same once more ends it at once"
            )
