"""The rows of a large matrix on a GPU, for approximate answers: in lists (`memdb.index.gpu_lists`) or as a graph
(`memdb.index.gpu_graph`).

What is approximate is which rows are candidates.  Scores are those of the whole rows on the CPU, to the last bit, and
answers are as long as exact ones, as in `memdb.index.ivf`: where there are not enough candidates, the question is left
to an exact search.  How much is looked at is measured (`memdb.index.breadth`), and whether it finds enough is watched
(`memdb.index.indexed`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from memdb.index import flat, ivf
from memdb.index.breadth import Trial
from memdb.index.gpu_graph import GraphOnGpu
from memdb.index.gpu_indexes import fits
from memdb.index.gpu_lists import ListsOnGpu
from memdb.index.gpu_placed import PLACE_ROWS, Placed
from memdb.index.gpu_turns import Asked, Turns
from memdb.index.matrix import Matrix
from memdb.index.pruned import Found
from memdb.types.arrays import Array

KINDS: Final[dict[str, type[ListsOnGpu | GraphOnGpu]]] = {
    ListsOnGpu.kind: ListsOnGpu,
    GraphOnGpu.kind: GraphOnGpu,
}
NEAR_PLACE_ROWS: Final = 512
"""Rows that go to the GPU at once, at least: to scan so many takes as long as a look at what is near."""
LATE_MAX: Final = 4 * PLACE_ROWS
"""Rows that are not on the GPU yet: while more are written than go there, all are scanned as quickly."""
_STEP: Final = 1.5
_CANDIDATES_PER_HIT: Final = 4
_CANDIDATES_EXTRA: Final = 28
_NEIGHBOURS_SHARE: Final = 0.5
"""As in `memdb.index.ivf`: a filter that admits less than half as much of what is near as of all rows has little to do
with where the question is."""
_NO_ROWS: Final = np.empty(0, np.int64)
_NO_SCORES: Final = np.empty(0, np.float32)


class NearPlacement(Placed):
    """The first `rows` rows of a matrix, some of which are candidates for a question."""

    def __init__(
        self, index: ListsOnGpu | GraphOnGpu, width: int, turns: Turns, own_bytes: int = 0
    ) -> None:
        """own_bytes: see `GpuIndexes.own_bytes`."""
        super().__init__(index, width, turns, index.ntotal)
        self._own_bytes = own_bytes
        self.kind = index.kind
        self._of = KINDS[index.kind]
        self._reach_max = index.reach_max
        self._rows_max = int(index.ntotal * index.growth_max)
        self.reach = index.reach_min
        """How much a search looks at, for `memdb.index.ivf.LIMIT_MEASURED` hits."""

    @property
    def bytes(self) -> int:
        """On the GPU."""
        return self._own_bytes + self._of.bytes_of(self.rows, self._width) if self.rows else 0

    @property
    def _place_rows(self) -> int:
        return NEAR_PLACE_ROWS

    def is_outgrown(self, rows: int) -> bool:
        """Whether it was made of too few rows for so many."""
        return rows >= self._rows_max

    def find_reach(
        self, trial: Trial, look: Callable[..., Found | None], stop: Callable[[], bool]
    ) -> bool:
        """Look at the least that finds enough, and half as much more; False where nothing does, or ``stop`` said so.

        look: `search` of a matrix.  Raises `RuntimeError` where the GPU fails.
        """
        reach = self.reach
        while not stop():
            self.reach = min(reach, self._reach_max)
            if trial.is_enough(look):
                self.widen(_STEP)
                return True
            if reach >= self._reach_max:
                return False
            reach = max(reach + 1, self._of.reaching(reach * _STEP))
        return False

    def widen(self, factor: float) -> bool:
        """Look at so many times as much, or all that may be looked at; False where that is done already."""
        if self.reach >= self._reach_max:
            return False
        self.reach = min(self._of.reaching(self.reach * factor), self._reach_max)
        return True

    def search(
        self,
        matrix: Matrix,
        rows: int,
        query: Array,
        limit: int,
        allowed: Array | None,
        alive: Array | None,
    ) -> Found | None:
        """About the ``limit`` best of the first ``rows`` rows, as `memdb.index.ivf.search`; None where that is to be
        found exactly.

        Raises `RuntimeError` where the GPU fails.
        """
        placed = min(rows, self.rows)
        if limit > ivf.LIMIT_MAX or rows - placed > LATE_MAX or placed == 0:
            return None
        allowed_share = alive_share = 1.0
        is_filtered = allowed is not None and allowed is not alive
        if allowed is not None:
            if np.count_nonzero(allowed) < ivf.ALLOWED_MIN:
                return None
            allowed_share = np.count_nonzero(allowed[:placed]) / placed
            if is_filtered and alive is not None:
                alive_share = np.count_nonzero(alive[:placed]) / placed
            elif not is_filtered:
                alive_share = allowed_share
        if allowed_share == 0.0 or alive_share == 0.0:
            return None
        query = flat.padded_query(query, matrix.width)
        if not fits(query):
            return None
        # It knows no filter, so as much more is looked at as it leaves out; what is dead leaves no fewer neighbours.
        more = max(1.0, limit / ivf.LIMIT_MEASURED) * max(1.0, alive_share / allowed_share)
        reach = self._of.reaching(self.reach * more)
        heads = _CANDIDATES_PER_HIT * limit + _CANDIDATES_EXTRA
        wanted = math.ceil(heads / allowed_share * self.rows / placed)
        if wanted > self._of.candidates_max or (more > 1.0 and reach > self._reach_max):
            return None
        answer = self._turns.ask(Asked(self, query, wanted, min(reach, self._reach_max)))
        if answer is None:
            return None
        numbers = _of_the_view(answer[0], placed)
        if allowed is not None:
            inside = numbers[allowed[numbers]]
            if is_filtered and len(inside) < _NEIGHBOURS_SHARE * allowed_share * len(numbers):
                return None
            numbers = inside
        best = _best(matrix, rows, placed, query, numbers[:heads], limit, allowed)
        return best if len(best.scores) == limit else None

    def _search(self, index: Any, queries: Array, wanted: int, reach: int) -> tuple[Array, Array]:
        scores, numbers = index.search(queries, wanted, reach)
        return scores, numbers


def _of_the_view(numbers: Array, placed: int) -> Array:
    """Those of rows that the asker sees, each once, in their order."""
    seen = numbers[(numbers >= 0) & (numbers < placed)]
    _, first = np.unique(seen, return_index=True)
    return seen[np.sort(first)]


def _best(
    matrix: Matrix,
    rows: int,
    placed: int,
    query: Array,
    numbers: Array,
    limit: int,
    allowed: Array | None,
) -> Found:
    """The best of the candidates and of the rows that are not placed yet, by their whole rows."""
    later, its_scores = _NO_ROWS, _NO_SCORES
    if placed < rows:
        later, its_scores = flat.search(matrix, rows, query, limit, allowed, placed)
    numbers = np.sort(numbers)
    scores = flat.row_scores(matrix.take_ascending(numbers), query)
    numbers, scores = np.concatenate([numbers, later]), np.concatenate([scores, its_scores])
    return Found(*flat.best_of(numbers, scores, limit), len(numbers))
