"""Which questions a single clip may answer, without a look at most of them.

What a question needs stands beside its vector, so that one product with the clip, and a weight for each such column,
says by how much the clip passes.  Outlines (`memdb.index.outline`) tell it in an eighth of the bytes, where questions
are alike in some ways, as questions are; else a scan of the heads (`memdb.index.passing`).  Either gives every question
that the clip may answer, but for rounding the others not.  An outline is made in the background
(`memdb.engine.upkeep`), and of no use until it is there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import numpy as np

from memdb.index.flat import row_scores
from memdb.index.gpu import Gpu
from memdb.index.indexed import Approximation
from memdb.index.matrix import Matrix
from memdb.index.outline import Outline, carried_over, outlined
from memdb.index.passing import MANY, passing, passing_slack
from memdb.types.arrays import Array

OUTLINE_CLIPS: Final = 128
"""Clips after which outlines are made: until then what they save is less than what they cost."""
_SHARE_MIN: Final = 0.25
"""As so much of a clip counts one that is of a camera which few ask."""
_TRIED_MIN: Final = 16
"""Clips after which it is judged whether outlines tell enough."""
_NEW_SHARE: Final = 0.25
"""Where more are new, other directions may tell more."""
_TOLD_SHARE: Final = 0.5
_BLOCK_ROWS: Final = 1024


class Margins:
    """The questions of one space; any readers."""

    def __init__(self, matrix: Array, beside: Array) -> None:
        """matrix: (probes, dim) float32; beside: (probes, n) of what is needed."""
        self._matrix = matrix
        self._beside = beside
        self._needed = beside.astype(np.float32)
        self._rows = Matrix(matrix.shape[1] + beside.shape[1])
        for begin in range(0, len(matrix), _BLOCK_ROWS):
            block = slice(begin, begin + _BLOCK_ROWS)
            self._rows.append(np.column_stack([matrix[block], self._needed[block]]))
        self._lock = threading.Lock()
        """Held by whose counts count."""
        self._making = threading.Lock()
        self._outline: Outline | None = None
        self._clips = 0.0
        self._tried = 0
        self._told = 0
        self._is_poor = False

    def take_over(self, before: Margins, places: Array) -> None:
        """Go on with the outline of questions that were asked until now, if there is one.

        places: (probes,) where a probe may be among theirs; -1 where it is not.
        """
        outline = before._outline
        if outline is None or self._matrix.shape[1] != before._matrix.shape[1]:
            return
        places = places.copy()
        for begin in range(0, len(places), _BLOCK_ROWS):
            block = slice(begin, begin + _BLOCK_ROWS)
            at = places[block]
            # Nothing else says that it is the same.
            same = (self._matrix[block] == before._matrix[at]).all(axis=1)
            same &= (self._beside[block] == before._beside[at]).all(axis=1)
            at[~same] = -1
        if np.count_nonzero(places < 0) <= _NEW_SHARE * len(places):
            self._outline = carried_over(outline, places, self._matrix, self._beside)

    def reached(self, vector: Array, weights: Array, probes: Array) -> Array | None:
        """Those of some probes, ascending, that a (dim,) float32 vector may reach, weights for the columns beside;
        None where they are too many to be looked for, or a sum may overflow.
        """
        query = np.append(vector, weights).astype(np.float32)
        some = probes if len(probes) < len(self._matrix) else None
        self._count(len(probes) / len(self._matrix))
        outline = self._outline
        if outline is not None and np.isfinite(query).all():
            few = some is not None and MANY * len(some) <= len(self._matrix)
            found = outline.reaching(
                query[: len(vector)], query[len(vector) :], some if few else None
            )
            self._judge(found, len(some) if few and some is not None else len(self._matrix))
            if found is not None and MANY * len(found) <= len(self._matrix):
                if some is not None and not few:
                    found = found[np.isin(found, some, assume_unique=True)]
                return self._passing(found, query)
        return passing(self._rows, query, some)

    def _passing(self, found: Array, query: Array) -> Array:
        """Those of some probes whose product with a query is not below 0 but for rounding."""
        dim = self._matrix.shape[1]
        passes = row_scores(self._matrix[found], query[:dim])
        passes += self._needed[found] @ query[dim:]
        # Not "at least": what overflowed passes.
        return found[~(passes < -passing_slack(self._rows, query))]

    @property
    def is_due(self) -> bool:
        """Whether `maintain` has something to do."""
        return self._clips > OUTLINE_CLIPS and self._outline is None and not self._is_poor

    def put_off(self) -> None:
        """`maintain` failed: not to be tried again with every clip."""
        with self._lock:
            self._clips = 0.0

    def maintain(
        self,
        stop: Callable[[], bool],
        gpu: Gpu | None = None,
        approximation: Approximation | None = None,
    ) -> None:
        """Make the outline beside those who look for questions, who do without until it is there."""
        if not self._making.acquire(blocking=False):
            return
        try:
            if not self.is_due:
                return
            outline = outlined(self._matrix, self._beside, stop)
            if outline is None and stop():
                return
            with self._lock:
                self._outline, self._is_poor = outline, outline is None
        finally:
            self._making.release()

    def _count(self, share: float) -> None:
        """One more clip."""
        if not self._is_poor and self._outline is None:
            with self._lock:
                self._clips += max(share, _SHARE_MIN)

    def _judge(self, found: Array | None, asked: int) -> None:
        """Go on without outlines where most clips seem to reach too much."""
        with self._lock:
            self._tried += 1
            self._told += found is not None and MANY * len(found) <= asked
            if self._tried >= _TRIED_MIN:
                if self._told < _TOLD_SHARE * self._tried:
                    self._outline, self._is_poor = None, True
                self._tried = self._told = 0
