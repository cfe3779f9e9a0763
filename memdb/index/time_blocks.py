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
_BLOCKS_FEW: Final = 4
"""So many are looked at as quickly as it is found out which need not be."""


class TimeBlocks:
    """The earliest start and the latest end of every full block of rows."""

    def __init__(self) -> None:
        self._blocks = 0
        self._bounds = np.empty((4, 16), np.int64)
        """(4, blocks): the earliest start, the latest end, the latest start and the earliest end of each."""

    def grow(self, start_ns: Array, end_ns: Array) -> None:
        """Take in the blocks that are full now, of the columns of all rows (writer only)."""
        full = len(start_ns) // BLOCK_ROWS
        if full > self._bounds.shape[1]:
            # A new array: readers keep theirs.
            more = np.empty((4, 2 * full - self._bounds.shape[1]), np.int64)
            self._bounds = np.concatenate([self._bounds, more], axis=1)
        for block in range(self._blocks, full):
            rows = slice(block * BLOCK_ROWS, (block + 1) * BLOCK_ROWS)
            starts, ends = start_ns[rows], end_ns[rows]
            self._bounds[:, block] = starts.min(), ends.max(), starts.max(), ends.min()
        self._blocks = full

    def hull(
        self, start_column: Array, end_column: Array, start_ns: int | None, end_ns: int | None
    ) -> tuple[int, int, list[tuple[int, int]]]:
        """[first, last) of the rows of two columns, outside of which no clip touches [start_ns, end_ns); and the runs
        of rows within, [first, last) each and ascending, of which some do not: those between them all do.
        """
        rows = len(start_column)
        blocks = rows // BLOCK_ROWS
        if blocks == 0:
            return 0, rows, [(0, rows)]
        rest = slice(blocks * BLOCK_ROWS, rows)
        starts, ends = self._bounds[0, :blocks], self._bounds[1, :blocks]
        if rest.start < rows:
            starts = np.append(starts, start_column[rest].min())
            ends = np.append(ends, end_column[rest].max())
        touched = np.ones(len(starts), bool) if end_ns is None else starts < end_ns
        if start_ns is not None:
            # A clip of no length at the start touches.
            touched &= ends >= start_ns
        found = np.flatnonzero(touched)
        if not len(found):
            return 0, 0, []
        first, until = int(found[0]), int(found[-1]) + 1
        hull = first * BLOCK_ROWS, min(until * BLOCK_ROWS, rows)
        if until - first <= _BLOCKS_FEW:
            return *hull, [hull]
        # The last block, as long as it is not full, is always looked at.
        full = slice(first, min(until, blocks))
        partly = np.zeros(until - first + 2, np.int8)
        partly[1:-1] = 1
        partly[1 : full.stop - first + 1] = ~self._is_whole(full, start_ns, end_ns)
        # Where a run begins and where it ends, by turns.
        edges = np.minimum((np.flatnonzero(np.diff(partly)) + first) * BLOCK_ROWS, rows)
        return *hull, [(begin, end) for begin, end in edges.reshape(-1, 2).tolist()]

    def _is_whole(self, blocks: slice, start_ns: int | None, end_ns: int | None) -> Array:
        """(n,) bool: of which of some full blocks all clips touch [start_ns, end_ns)."""
        starts, _, last_starts, first_ends = self._bounds[:, blocks]
        whole = np.ones(len(starts), bool) if end_ns is None else last_starts < end_ns
        if start_ns is not None:
            whole &= (first_ends > start_ns) | (starts >= start_ns)
        return np.asarray(whole)
