"""What a camera scores to anything: the mean of a sample of a stream's clips, and how many there are.

The mean of the scores of the sample is the score of its mean, so the sample is looked at once for all questions of a
view.  It is taken at even distances from the clips that were there at the revision, in the order in which they were
written: a function of these clips alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import sqrt
from typing import Final

import numpy as np

from memdb.index.partition import Filter, PartitionView
from memdb.types.arrays import Array

SAMPLE_ROWS: Final = 64
"""Clips of a stream that are looked at."""
_STREAMS_FEW: Final = 8
KEPT_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of means that a view remembers, or a question holds at once, of a stream at one revision each: 12 kB in 1536-d."""


@dataclass(frozen=True, slots=True, eq=False)
class Null:
    """One stream at one revision."""

    mean: Array
    """(dim,) float64 of the sample."""
    length: float
    """Root mean square length of the sample; 1 in a cosine space."""
    clips: int


class Nulls:
    """The streams of a partition at one revision."""

    def __init__(self, partition: PartitionView, as_of: int | None) -> None:
        self._partition = partition
        self._as_of = as_of
        self._rows: Array | None = None

    @property
    def rows(self) -> Array:
        """Every row that was there, in row order."""
        if self._rows is None:
            alive = self._partition.allowed(Filter(), self._as_of)
            count = self._partition.rows
            self._rows = np.arange(count) if alive is None else np.flatnonzero(alive)
        return self._rows

    def are_known(self, stream_nos: Iterable[int]) -> bool:
        """Whether `of` need not look at every row of the partition."""
        return all((no, self._as_of) in self._partition.nulls for no in stream_nos)

    def of(self, stream_nos: list[int]) -> list[Null]:
        """That of each stream; each has a row that was there."""
        kept = self._partition.nulls
        # Each looked up once: another question may clear them at any moment.
        found: dict[int, Null | None] = {no: kept.get((no, self._as_of)) for no in stream_nos}
        missing = [no for no, null in found.items() if null is None]
        made = dict(zip(missing, map(self._null, self._rows_of(missing)), strict=True))
        if made:
            most = self._most()
            if len(kept) + len(made) > most:
                kept.clear()
            kept.update({(no, self._as_of): null for no, null in islice(made.items(), most)})
        return [made[no] if null is None else null for no, null in found.items()]

    def each(self, stream_nos: list[int]) -> Iterator[Null]:
        """`of`, some streams after the others: who wants a number of each need not hold the means of all."""
        most = max(1, self._most())
        for begin in range(0, len(stream_nos), most):
            yield from self.of(stream_nos[begin : begin + most])

    def _most(self) -> int:
        return KEPT_BYTES_MAX // (8 * self._partition.dim)

    def _null(self, rows: Array) -> Null:
        sample = rows[even_places(len(rows), SAMPLE_ROWS)]
        vectors = self._partition.matrix.take(sample).astype(np.float64)
        length = 1.0
        if not self._partition.cosine:
            length = sqrt(float(np.mean(np.square(vectors).sum(axis=1))))
        return Null(vectors.mean(axis=0), length, len(rows))

    def _rows_of(self, numbers: list[int]) -> list[Array]:
        """The rows of each stream that were there, in row order."""
        if not numbers:
            return []
        streams = self._partition.columns["stream_no"][self.rows]
        if len(numbers) <= _STREAMS_FEW:
            return [self.rows[streams == no] for no in numbers]
        # Sorted once: a user may have a thousand cameras.
        order = np.argsort(streams, kind="stable")
        streams = streams[order]
        firsts = np.searchsorted(streams, numbers)
        ends = np.searchsorted(streams, numbers, "right")
        return [
            self.rows[order[first:end]]
            for first, end in zip(firsts.tolist(), ends.tolist(), strict=True)
        ]


def even_places(count: int, most: int) -> Array:
    """At most ``most`` of ``count`` places, at even distances, the first always among them."""
    taken = min(count, most)
    return np.arange(taken) * count // max(taken, 1)
