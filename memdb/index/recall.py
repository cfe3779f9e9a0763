"""What approximate searches found of what exact ones find: counted of questions that were really asked."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Final

from memdb.types.arrays import Array

TIME_SHARE: Final = 0.02
"""Of one processor that comparisons take at most."""
RECALL_MIN: Final = 0.99
"""Below it a search is made to look at more."""
_SURE: Final = 500
"""Hits that were sought, after which the share itself decides; before, what could not be chance."""
_WINDOW: Final = 2000


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A question that was answered approximately, to be answered exactly as well."""

    rows: int
    query: Array
    limit: int
    allowed: Array | None
    scores: Array
    """Those that were found, best first."""


@dataclass(frozen=True, slots=True)
class RecallCounts:
    """Of a process since its start."""

    approximate: int = 0
    """Questions that were answered approximately."""
    compared: int = 0
    """Those of them that were answered exactly as well."""
    sought: int = 0
    """Hits of the exact answers."""
    found: int = 0
    """Those of them that the approximate answers had."""
    widened: int = 0
    """How often a search was made to look at more."""
    given_up: int = 0
    """How often a search became exact again."""

    @property
    def recall(self) -> float | None:
        """Share of the exact hits that were found; None before the first comparison."""
        return self.found / self.sought if self.sought else None


class Recall:
    """Counts of all indexes of a database, and the pace of their comparisons; any threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(RecallCounts.__slots__, 0)
        self._next_s = 0.0

    @property
    def counts(self) -> RecallCounts:
        """Until now."""
        with self._lock:
            return RecallCounts(**self._counts)

    def add(self, **counts: int) -> None:
        """Count more of what `RecallCounts` has."""
        with self._lock:
            for name, count in counts.items():
                self._counts[name] += count

    @property
    def may_compare(self) -> bool:
        """Whether comparisons have taken less than their share of time."""
        return time.monotonic() >= self._next_s

    def spent(self, seconds: float) -> None:
        """A comparison took so long."""
        with self._lock:
            self._next_s = time.monotonic() + seconds / TIME_SHARE


class Window:
    """The last comparisons of one index."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, int]] = []

    def add(self, found: int, sought: int) -> None:
        """One more."""
        self._seen.append((found, sought))
        while sum(count for _, count in self._seen) > _WINDOW:
            self._seen.pop(0)

    @property
    def is_low(self) -> bool:
        """Whether less than `RECALL_MIN` is found, as far as so many comparisons can tell."""
        sought = sum(count for _, count in self._seen)
        missed = sought - sum(count for count, _ in self._seen)
        expected = (1 - RECALL_MIN) * sought
        by_chance = 0.0 if sought >= _SURE else 3 * expected**0.5
        return missed > expected + by_chance

    def clear(self) -> None:
        """Begin anew."""
        self._seen.clear()
