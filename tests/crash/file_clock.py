"""A clock that several processes share and one of them sets."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from memdb.clock import SystemClock


class FileClock:
    """The time stands in the first eight bytes of a file."""

    def __init__(self, path: str | os.PathLike[str], now_ns: int | None = None) -> None:
        """Of a file that is there; or of a new one, with the time."""
        if now_ns is not None:
            Path(path).write_bytes(now_ns.to_bytes(8, "little"))
        with Path(path).open("r+b") as file:
            self._bytes = mmap.mmap(file.fileno(), 8)

    def now_ns(self) -> int:
        return int.from_bytes(self._bytes[:], "little")

    def steady_ns(self) -> int:
        """The machine's own: nobody sets it."""
        return SystemClock().steady_ns()

    def advance(self, delta_ns: int) -> None:
        """Move by ``delta_ns``."""
        self._bytes[:] = (self.now_ns() + delta_ns).to_bytes(8, "little")
