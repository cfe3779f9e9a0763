"""What approximate searches find of what exact ones do, as metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from memdb.index.recall import RecallCounts
from memdb.server.metrics import Counter, Gauge


class RecallMetrics:
    """The counts of a database since the process began, told anew whenever somebody reads them."""

    def __init__(self, counts: Callable[[], RecallCounts]) -> None:
        self._counts = counts

    def lines(self) -> Iterator[str]:
        """The lines of the text format; the recall itself only once something was compared."""
        counts = self._counts()
        for name, told, value in (
            ("questions", "Questions answered approximately.", counts.approximate),
            ("compared", "Those of them that were answered exactly as well.", counts.compared),
            ("hits_sought", "Hits of the exact answers to those.", counts.sought),
            ("hits_found", "Those of them that the approximate answers had.", counts.found),
            ("widened", "Times that an index was made to look at more.", counts.widened),
            ("given_up", "Times that an index was made exact again.", counts.given_up),
        ):
            counter = Counter(f"memdb_approximate_{name}_total", told)
            counter.add(value)
            yield from counter.lines()
        if counts.recall is not None:
            gauge = Gauge(
                "memdb_approximate_recall",
                "Share of the exact hits that were found, of all compared.",
            )
            gauge.value = counts.recall
            yield from gauge.lines()
