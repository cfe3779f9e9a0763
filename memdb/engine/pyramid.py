"""Hour and day sums of sealed clips' global memories: derived from the rows of a partition, in memory only.

A bucket holds the number of clips and the float64 sum of their global memories (of unit length in a
cosine space) whose start lies in the hour or day (UTC).  Its vector is the direction of the sum
(cosine) or the mean (dot): a mean over clips as in the global slot of IXC2.5-OmniLive's compressor
(arXiv 2412.09596, section 3.2), one level up.

A commit does nothing for them.  Whoever asks counts the rows that came since somebody asked before, and sums
what is given, row after row; a sum of `KEPT_CLIPS` or more is kept and grows with later rows.  What is kept is thus
a sixteenth of the vectors that it is the sum of, at most.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from memdb import deadline
from memdb.index.matrix import Matrix
from memdb.index.partition import ALIVE, PartitionView
from memdb.types.arrays import Array

HOUR: Final = 0
DAY: Final = 1
HOUR_NS: Final = 3600 * 10**9
DAY_NS: Final = 24 * HOUR_NS
LENGTHS_NS: Final = {HOUR: HOUR_NS, DAY: DAY_NS}
LEVEL_NAMES: Final = {HOUR: "hour", DAY: "day"}
KEPT_CLIPS: Final = 32
"""Of a bucket whose sum is kept: a sum takes as much memory as two rows, and stands in two levels."""

_SUMMED_ROWS: Final = 1024
"""Copied out of the matrix at once."""
_WAIT_S: Final = 0.1
"""Between looks whether anybody still waits for who waits for another's sums."""
_PENDING_MAX: Final = 64
"""Arrays of rows that a bucket keeps apart."""

Place = tuple[int, int, int]
"""(stream_no, level, start_ns) of a bucket."""


@dataclass(slots=True, eq=False)
class Bucket:
    """One hour or day of one stream."""

    clips: int
    total: Array
    """(dim,) float64."""

    def token(self, *, cosine: bool) -> Array:
        """(dim,) float32: the direction of the sum, or the mean."""
        length = float(np.linalg.norm(self.total)) if cosine else float(self.clips)
        return (self.total / (length or 1.0)).astype(np.float32)


Buckets = dict[Place, Bucket]
Choice = Callable[[Iterable[Place]], list[Place]]


def bucket_start(start_ns: int, level: int) -> int:
    """Start of the hour or day that holds ``start_ns``."""
    return start_ns - start_ns % LENGTHS_NS[level]


def grouped(columns: Mapping[str, Array], rows: Array) -> dict[Place, Array]:
    """Which of some rows, ascending, belong to which bucket, ascending."""
    stream_no, start_ns = (columns[name][rows] for name in ("stream_no", "start_ns"))
    groups: dict[Place, Array] = {}
    for level, length_ns in LENGTHS_NS.items():
        begin = start_ns - start_ns % length_ns
        order = np.lexsort((begin, stream_no))
        changes = (np.diff(stream_no[order]) != 0) | (np.diff(begin[order]) != 0)
        for places in np.split(order, np.flatnonzero(changes) + 1) if len(order) else ():
            first = places[0]
            groups[int(stream_no[first]), level, int(begin[first])] = rows[places]
    return groups


def add_rows(total: Array, matrix: Matrix, rows: Array) -> None:
    """Add rows to a float64 sum, one after the other: in however many calls, the same to the last bit."""
    for begin in range(0, len(rows), _SUMMED_ROWS):
        deadline.check()
        for vector in matrix.take(rows[begin : begin + _SUMMED_ROWS]):
            total += vector


@dataclass(slots=True, eq=False)
class _Tally:
    """What is known of one bucket."""

    clips: int = 0
    pending: list[Array] = field(default_factory=list)
    """Rows that ``total`` does not hold."""
    total: Array | None = None

    def add(self, rows: Array) -> None:
        self.clips += len(rows)
        if len(self.pending) >= _PENDING_MAX:
            self.pending = [np.concatenate(self.pending)]
        self.pending.append(rows)

    def bucket(self, matrix: Matrix) -> Bucket:
        total = np.zeros(matrix.dim) if self.total is None else self.total.copy()
        for rows in self.pending:
            add_rows(total, matrix, rows)
        if self.clips >= KEPT_CLIPS:
            # Never changed from here on: the answer has it too.
            self.total, self.pending = total, []
        return Bucket(self.clips, total)


class _Tallies:
    """The buckets of one partition, as of the newest view that was asked about."""

    def __init__(self, partition: PartitionView) -> None:
        self.matrix = partition.matrix
        self._rows = 0
        self._birth = partition.columns["birth"][:0]
        self.places: dict[Place, _Tally] = {}

    def catch_up(self, partition: PartitionView) -> None:
        """Count what came since, and no more what was removed."""
        columns, before = partition.columns, self._birth
        birth = columns["birth"]
        # A removal copies the column (`memdb.index.columns`), as growth does.
        if birth.base is not before.base:
            gone = np.flatnonzero((before != ALIVE) & (birth[: len(before)] == ALIVE))
            if len(gone):
                self._recount(columns, grouped(columns, gone).keys())
        new = np.arange(self._rows, partition.rows)
        for place, rows in grouped(columns, _counting(columns, new)).items():
            self.places.setdefault(place, _Tally()).add(rows)
        self._rows, self._birth = partition.rows, birth

    def _recount(self, columns: Mapping[str, Array], lighter: Iterable[Place]) -> None:
        """Make buckets anew that lost rows."""
        places = set(lighter)
        for place in places:
            self.places.pop(place, None)
        streams = np.array(sorted({stream_no for stream_no, _, _ in places}), np.uint32)
        left = _counting(columns, np.flatnonzero(np.isin(columns["stream_no"], streams)))
        for place, rows in grouped(columns, left[left < self._rows]).items():
            if place in places:
                self.places.setdefault(place, _Tally()).add(rows)


def _counting(columns: Mapping[str, Array], rows: Array) -> Array:
    """Of some rows those of sealed clips that are there; a sealed version is its clip's last."""
    alive = (columns["birth"][rows] != ALIVE) & (columns["death"][rows] == ALIVE)
    counting: Array = rows[alive & columns["sealed"][rows]]
    return counting


class Pyramid:
    """The buckets of a user at its newest revision; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tallies: dict[int, _Tallies] = {}
        self._revisions: dict[int, int] = {}

    def buckets(
        self,
        space_no: int,
        partition: PartitionView,
        revision: int,
        wanted: set[int],
        choose: Choice,
    ) -> Buckets | None:
        """Those of the streams ``wanted`` that are chosen, of a space as of ``revision``, whose view
        ``partition`` is; None where a later one was asked about before.

        Raises `DeadlineExceeded` where nobody waits for it any more; what was summed until then is kept.
        """
        with self._held():
            if revision < self._revisions.get(space_no, 0):
                return None
            tallies = self._tallies.get(space_no)
            if tallies is None or tallies.matrix is not partition.matrix:
                # The first time, and when removed rows were cleared away.
                tallies = self._tallies[space_no] = _Tallies(partition)
            self._revisions[space_no] = revision
            try:
                tallies.catch_up(partition)
            except BaseException:
                del self._tallies[space_no]  # it may have counted half of what came
                raise
            chosen = choose(place for place in tallies.places if place[0] in wanted)
            return {place: tallies.places[place].bucket(tallies.matrix) for place in chosen}

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Alone with the tallies."""
        while not self._lock.acquire(timeout=_WAIT_S):
            deadline.check()
        try:
            yield
        finally:
            self._lock.release()
