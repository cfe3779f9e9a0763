"""From when to when the clips of each thousand rows are, so that a question about an hour does not look at
the times of a year.

A summary of columns that never change once they are written.  One writer adds, any readers ask: of a view of
n rows they look at the blocks that these fill, which were there before the view.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from memdb.types.arrays import Array

BLOCK_ROWS: Final = 1024


class TimeBlocks:
    """The earliest start and the latest end of every full block of rows."""

    def __init__(self) -> None:
        self._blocks = 0
        self._starts = np.empty(16, np.int64)
        self._ends = np.empty(16, np.int64)

    def grow(self, start_ns: Array, end_ns: Array) -> None:
        """Take in the blocks that are full now, of the columns of all rows (writer only)."""
        full = len(start_ns) // BLOCK_ROWS
        if full > len(self._starts):
            # New arrays: readers keep theirs.
            more = np.empty(2 * full - len(self._starts), np.int64)
            self._starts = np.concatenate([self._starts, more])
            self._ends = np.concatenate([self._ends, more])
        for block in range(self._blocks, full):
            rows = slice(block * BLOCK_ROWS, (block + 1) * BLOCK_ROWS)
            self._starts[block] = start_ns[rows].min()
            self._ends[block] = end_ns[rows].max()
        self._blocks = full

    def hull(
        self, start_column: Array, end_column: Array, start_ns: int | None, end_ns: int | None
    ) -> tuple[int, int]:
        """[first, last) of the rows of two columns, outside of which no clip touches [start_ns, end_ns)."""
        rows = len(start_column)
        blocks = rows // BLOCK_ROWS
        rest = slice(blocks * BLOCK_ROWS, rows)
        starts, ends = self._starts[:blocks], self._ends[:blocks]
        if rest.start < rows:
            starts = np.append(starts, start_column[rest].min())
            ends = np.append(ends, end_column[rest].max())
        touched = np.ones(len(starts), bool)
        if end_ns is not None:
            touched &= starts < end_ns
        if start_ns is not None:
            # A clip of no length at the start touches.
            touched &= ends >= start_ns
        found = np.flatnonzero(touched)
        if not len(found):
            return 0, 0
        return int(found[0]) * BLOCK_ROWS, min((int(found[-1]) + 1) * BLOCK_ROWS, rows)
