"""Waiting for a server that is away, or whose disk is full: a call is made again until it is answered, or for as
long as one is willing.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from memdb.errors import DeadlineExceeded, MemdbError, ResourceExhausted, Unavailable
from perception.errors import WeightsUnavailable

PAUSE_S: Final = 1.0
"""Before the second try; each later one waits twice as long, up to `PAUSE_MAX_S`."""
PAUSE_MAX_S: Final = 30.0

_Answer = TypeVar("_Answer")


def length(seconds: float) -> str:
    """A time to wait, in words."""
    return "for ever" if math.isinf(seconds) else f"for {seconds:g} s"


class Patience:
    """Makes calls that may be made twice; from any thread."""

    def __init__(
        self, wait_s: float, stopping: threading.Event, report_line: Callable[[str], None]
    ) -> None:
        """wait_s: how long a server is waited for, from each call on; `math.inf` for ever.  stopping: ends the waiting.
        report_line: is told once for each call that has to wait.
        """
        self._wait_s = wait_s
        self._stopping = stopping
        self._report_line = report_line

    def call(self, function: Callable[[], _Answer]) -> _Answer:
        """What ``function`` gives.  Raises what it raises; `Unavailable`, `DeadlineExceeded` and `ResourceExhausted`
        (``DISK_FULL``) not before the time is over, the waiting was ended, or the client was closed.
        """
        until_s = time.monotonic() + self._wait_s
        pause_s = PAUSE_S
        while True:
            try:
                return function()
            except (Unavailable, DeadlineExceeded, ResourceExhausted) as error:
                left_s = until_s - time.monotonic()
                if not _passes(error) or left_s <= 0:
                    raise
                if pause_s == PAUSE_S:
                    self._report_line(
                        f"waiting for the server {length(self._wait_s)}: {error.message}"
                    )
                if self._stopping.wait(min(pause_s, left_s)):
                    raise
            pause_s = min(2 * pause_s, PAUSE_MAX_S)


def _passes(error: MemdbError) -> bool:
    """Whether the same call may be answered later, with nothing done here."""
    if isinstance(error, ResourceExhausted):
        return error.reason == "DISK_FULL"
    return not isinstance(error, WeightsUnavailable) and error.reason != "CLOSED"
