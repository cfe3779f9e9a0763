"""Clips of a stream that are committed together, as far as they may be."""

from __future__ import annotations

from memdb.types.clip import Clip
from memdb.types.plain_run import PlainRun


class Lot:
    """Clips, and runs of them, in the order in which they came."""

    __slots__ = ("clips", "items", "size")

    def __init__(self) -> None:
        self.items: list[Clip | PlainRun] = []
        self.clips = 0
        """How many clips these are."""
        self.size = 0
        """Bytes of the messages in which they came."""

    def __bool__(self) -> bool:
        return bool(self.items)

    def add(self, items: list[Clip] | list[PlainRun], size: int) -> int:
        """What a message brought; how many clips that is."""
        clips = 0
        for item in items:
            clips += 1 if isinstance(item, Clip) else len(item)
        self.items += items
        self.clips += clips
        self.size += size
        return clips

    def take_in(self, other: Lot) -> None:
        """All of another one, behind what is here."""
        self.items += other.items
        self.clips += other.clips
        self.size += other.size
