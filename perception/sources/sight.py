"""A live camera that shows nothing although it is there: its sound goes on, or what it sends cannot be decoded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from perception.errors import SourceUnreadable

_Packet = TypeVar("_Packet")


class Sight:
    """Counts the time in which one is ready to see, and sees nothing."""

    def __init__(self, patience_s: float, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._patience_s = patience_s
        self._clock_s = clock_s
        self._waited_s = 0.0
        self._pictures = 0

    def timed(self, packets: Iterable[_Packet]) -> Iterator[_Packet]:
        """The packets; the time that each is waited for counts, that in which they are not asked for does not."""
        began_s = self._clock_s()
        for packet in packets:
            self._waited_s += self._clock_s() - began_s
            yield packet
            began_s = self._clock_s()

    def look(self, pictures: int) -> None:
        """pictures: so far.  Raises `SourceUnreadable` where none came for too long."""
        if pictures != self._pictures:
            self._pictures, self._waited_s = pictures, 0.0
        elif self._waited_s >= self._patience_s:
            raise SourceUnreadable(f"no picture for {self._patience_s:g} s, though it sends")
