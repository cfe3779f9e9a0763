"""Numbers about a server, and the file that a collector reads them from.

The text format of Prometheus, version 0.0.4: what node_exporter's textfile collector and most agents take.
No value is of a user: who may read the file learns nothing of anybody's memory.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
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


def write_metrics(path: Path, text: str) -> None:
    """Replace the file, whole: who reads it meanwhile has the one before.  Raises `OSError`, and `ValueError` of
    a path that names no file.
    """
    # Of this process alone: another that was given the same file would write into what is half written.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    # Never through a link that somebody left under the name.
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _head(name: str, told: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {told}"
    yield f"# TYPE {name} {kind}"
