"""A part of a listing of facts, or of the versions of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from memdb.engine.hydrate import AnswerSize, fact_bytes
from memdb.types.fact import Fact


@dataclass(frozen=True, slots=True)
class Page:
    """Where a part begins and ends; None: where the whole does.

    What it begins after has a number that only grows and is never given again, so facts that are written or
    forgotten between two parts move none of the others.
    """

    after: int | None = None
    limit: int | None = None
    bytes_max: int | None = None
    """Ends with the fact that reaches it, so that a page is never empty before the end."""

    def filled(self, size: AnswerSize) -> Filled:
        """The page, still empty; ``size`` counts what comes into it."""
        return Filled(self, size)


class Filled:
    """The facts of a page as they come."""

    def __init__(self, page: Page, size: AnswerSize) -> None:
        self.facts: list[Fact] = []
        self._page = page
        self._size = size
        self._bytes = 0

    def add(self, fact: Fact) -> None:
        """One more; raises `ResourceExhausted` (``MESSAGE_TOO_LARGE``)."""
        self.facts.append(self._size.add_fact(fact))
        self._bytes += fact_bytes(fact)

    @property
    def is_full(self) -> bool:
        """Whether nothing more belongs to it."""
        page = self._page
        if len(self.facts) == page.limit:
            return True
        return page.bytes_max is not None and self._bytes >= page.bytes_max


WHOLE: Final = Page()
