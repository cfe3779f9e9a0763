"""Numbers about a server, as text for a collector.

The text format of Prometheus, version 0.0.4: what node_exporter's textfile collector and most agents take.
No value is of a user: who may read the file learns nothing of anybody's memory.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol


class Metric(Protocol):
    """A number, or several, with a name."""

    def lines(self) -> Iterator[str]:
        """The lines of the text format."""
        ...


class Gauge:
    """A number that goes up and down."""

    kind = "gauge"

    def __init__(self, name: str, told: str) -> None:
        self.value = 0.0
        self._name = name
        self._told = told

    def lines(self) -> Iterator[str]:
        """The lines of the text format."""
        yield from _head(self._name, self._told, self.kind)
        yield f"{self._name} {self.value:.9g}"


class Counter(Gauge):
    """A number that only grows."""

    kind = "counter"

    def add(self, amount: float) -> None:
        """Count so much more."""
        self.value += amount


class Histogram:
    """How often values up to some bounds were seen."""

    def __init__(self, name: str, told: str, bounds: Sequence[float]) -> None:
        """bounds: ascending."""
        self._name = name
        self._told = told
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one more value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self) -> Iterator[str]:
        """The lines of the text format."""
        yield from _head(self._name, self._told, "histogram")
        below = 0
        for bound, count in zip((*self._bounds, None), self._counts, strict=True):
            below += count
            name = "+Inf" if bound is None else f"{bound:g}"
            yield f'{self._name}_bucket{{le="{name}"}} {below}'
        yield f"{self._name}_sum {self._sum:.9g}"
        yield f"{self._name}_count {below}"


def metrics_text(metrics: Iterable[Metric]) -> str:
    """All of them in the text format."""
    return "".join(f"{line}\n" for metric in metrics for line in metric.lines())


def _head(name: str, told: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {told}"
    yield f"# TYPE {name} {kind}"
