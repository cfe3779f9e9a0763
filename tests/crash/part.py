"""Which part of a harness this process runs, where several share it (``MEMDB_CRASH_PART=k/n``)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part:
    """The ``number``-th, from 0, of so many."""

    number: int = 0
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of ``k/n``; the whole of an empty text."""
        if not text:
            return cls()
        number, _, of = text.partition("/")
        part = cls(int(number), int(of))
        if not 0 <= part.number < part.of:
            raise ValueError(f"MEMDB_CRASH_PART={text}: there is no such part")
        return part

    def share(self, count: int) -> int:
        """How many of ``count`` are this part's; those of all parts add up to it."""
        return count * (self.number + 1) // self.of - count * self.number // self.of

    def among(self, things: Sequence[T]) -> list[T]:
        """Which of some things are this part's; each is one part's."""
        return list(things[self.number :: self.of])

    def __str__(self) -> str:
        return "" if self.of == 1 else f", part {self.number}/{self.of}"


PART: Final = Part.parse(os.environ.get("MEMDB_CRASH_PART", ""))
