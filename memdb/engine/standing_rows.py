"""Clips in the index as standing questions look at them: those of some commits, and those near in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.engine.standing_filter import admitted
from memdb.engine.standing_questions import Question
from memdb.engine.state import UserState
from memdb.engine.view import View
from memdb.index.columns import ALIVE
from memdb.index.partition import PartitionView
from memdb.types.arrays import Array

PAGE_ROWS: Final = 512
"""Clips of one page, beside the rest of the commit that it ends with."""
_TAIL_ROWS: Final = 1024


@dataclass(frozen=True, slots=True)
class NewRow:
    """A version of a clip in the index."""

    space_no: int
    partition: PartitionView
    row: int
    clip_no: int
    birth: int

    def column(self, name: str) -> int:
        """What a column says of it."""
        return int(self.partition.columns[name][self.row])


def new_rows(view: View, after: int) -> list[NewRow]:
    """Versions that came after a commit, in order, of whole commits: at least one, then until
    `PAGE_ROWS`.
    """
    found: list[tuple[int, int, int, int]] = []
    for space_no, partition in view.partitions.items():
        births = partition.columns["birth"]
        first = _first_after(births, after)
        tail = births[first:]
        rows = np.flatnonzero((tail > np.uint64(after)) & (tail != ALIVE)) + first
        # Rows come in the order of their commits: the first pages of each space have the first of all.
        if len(rows) > PAGE_ROWS:
            last = births[rows[PAGE_ROWS - 1]]
            rows = rows[births[rows] <= last]
        found += zip(
            births[rows].tolist(),
            partition.columns["clip_no"][rows].tolist(),
            [space_no] * len(rows),
            rows.tolist(),
            strict=True,
        )
    found.sort()
    if len(found) > PAGE_ROWS:
        last_birth = found[PAGE_ROWS - 1][0]
        found = [one for one in found if one[0] <= last_birth]
    return [
        NewRow(space_no, view.partitions[space_no], row, clip_no, birth)
        for birth, clip_no, space_no, row in found
    ]


def _first_after(births: Array, after: int) -> int:
    """A row such that none before it was born after ``after``; looked for from the end, where new ones are."""
    size = _TAIL_ROWS
    while size < len(births):
        # Rows are in the order of their births, but for those that are gone.
        if (births[-size:] <= np.uint64(after)).any():
            return len(births) - size
        size *= 4
    return 0


def rows_near(
    state: UserState,
    partition: PartitionView,
    question: Question,
    revisions: tuple[int, int],
    start_ns: int,
    end_ns: int,
) -> Array:
    """Rows of what a question looks at, current at any of the commits from the first to the last, that begin
    in [start_ns, end_ns): the latest first.
    """
    column, record = partition.columns, question.record
    starts = column["start_ns"]
    rows = np.flatnonzero((starts >= start_ns) & (starts < end_ns))
    rows = rows[
        (column["birth"][rows] <= np.uint64(revisions[1]))
        & (column["birth"][rows] > np.uint64(record.birth))
        & (column["death"][rows] > np.uint64(revisions[0]))
    ]
    rows = rows[looked_at(state, partition, question, rows)]
    return np.asarray(rows[np.lexsort((column["clip_no"][rows], starts[rows]))][::-1])


def looked_at(state: UserState, partition: PartitionView, question: Question, rows: Array) -> Array:
    """(n,) bool: rows of the streams that a question asks, sealed where it wants them so, that its filter admits.

    Raises `FailedPrecondition` (``ZONE_UNKNOWN``).
    """
    record = question.record
    chosen = np.ones(len(rows), np.bool_)
    if record.sealed_only:
        chosen &= partition.columns["sealed"][rows]
    if record.stream_nos is not None:
        wanted = np.array(record.stream_nos, np.uint32)
        chosen &= np.isin(partition.columns["stream_no"][rows], wanted)
    if not question.only.is_empty:
        places = np.flatnonzero(chosen)
        chosen[places] = admitted(question.only, state, partition, rows[places])
    return chosen


def by_commit(rows: list[NewRow]) -> Iterator[tuple[int, list[NewRow]]]:
    """(revision, versions) of each commit, in order."""
    begin = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or rows[end].birth != rows[begin].birth:
            yield rows[begin].birth, rows[begin:end]
            begin = end
