"""Calls as metrics: how many, how many are open, how many failed and as what, and the bytes that they hold."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterator
from typing import Final

from memdb.server.budget import Budget
from memdb.server.metrics import Counter, Gauge
from memdb.server.open_calls import OpenCalls


class FailedCalls:
    """The calls of this process that ended with an error, by its gRPC code; those about health are among them."""

    def __init__(self) -> None:
        self._counts: Counts[str] = Counts()

    def add(self, code: str) -> None:
        """Count one more."""
        self._counts[code] += 1

    def lines(self) -> Iterator[str]:
        """The lines of the text format: a code is told from its first failure on."""
        name = "memdb_calls_failed_total"
        yield f"# HELP {name} Calls that ended with an error, by the code of gRPC."
        yield f"# TYPE {name} counter"
        for code, count in sorted(self._counts.items()):
            yield f'{name}{{code="{code}"}} {count}'


FAILED: Final = FailedCalls()
"""Where every call that fails is counted (`memdb.server.lifecycle`)."""


class CallMetrics:
    """What a server holds now, told anew whenever somebody reads it; those about health are not in it."""

    def __init__(self, open_calls: OpenCalls, budget: Budget) -> None:
        self._open_calls = open_calls
        self._budget = budget

    def lines(self) -> Iterator[str]:
        """The lines of the text format."""
        begun = Counter("memdb_calls_total", "Calls that were taken, streams included.")
        begun.add(self._open_calls.begun)
        yield from begun.lines()
        for name, told, value in (
            ("calls_open", "Calls open now, streams included.", self._open_calls.open),
            ("request_bytes_held", "Bytes of requests held now.", self._budget.used),
            ("answer_bytes_held", "Bytes of answers that wait to be read.", self._budget.answers),
        ):
            gauge = Gauge(f"memdb_{name}", told)
            gauge.value = value
            yield from gauge.lines()
