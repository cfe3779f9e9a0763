"""All rows of a matrix on a GPU, for exact answers.

A search there gives candidates and their scores in float16's precision; these are scored whole on
the CPU, and a bound tells whether anything was missed, as in `memdb.index.flat`.  So an answer is
the same with a GPU and without, to the last bit.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from memdb.index import flat
from memdb.index.gpu_indexes import fits
from memdb.index.gpu_placed import Placed
from memdb.index.gpu_turns import Asked, Turns
from memdb.index.matrix import Matrix
from memdb.index.planes import block_rows, longest
from memdb.index.pruned import Found, bounded_best, others_best
from memdb.types.arrays import Array

PLACE_ROWS_MIN: Final = 16_384
"""Smaller matrices are searched on the CPU before the GPU has heard of it."""
CANDIDATES_MAX: Final = 2048
"""What FAISS selects on a GPU at most."""
_CANDIDATES_PER_HIT: Final = 4
_CANDIDATES_EXTRA: Final = 28
_UNIT_ROUNDOFF: Final = 2.0**-24
_NO_ROWS: Final = np.empty(0, np.int64)


def flat_bytes(rows: int, width: int) -> int:
    """What so many rows take on the GPU."""
    return 2 * rows * width


class FlatPlacement(Placed):
    """The first `rows` rows of a matrix, all of which are scored for each question."""

    def __init__(self, index: Any, width: int, turns: Turns) -> None:
        super().__init__(index, width, turns)
        self._residual_max = 0.0

    @property
    def bytes(self) -> int:
        """On the GPU."""
        return flat_bytes(self.rows, self._width)

    def search(
        self, matrix: Matrix, rows: int, query: Array, limit: int, allowed: Array | None
    ) -> Found | None:
        """`flat.search` of the first ``rows`` rows; None where this does not tell it.

        Raises `RuntimeError` where the GPU fails.
        """
        placed = min(rows, self.rows)
        count = placed if allowed is None else int(np.count_nonzero(allowed[:placed]))
        if count < PLACE_ROWS_MIN:
            return None
        # It knows no filter: so many more that enough of them are allowed, as a rule.
        wanted = (_CANDIDATES_PER_HIT * limit + _CANDIDATES_EXTRA) * self.rows // count
        query = flat.padded_query(query, matrix.width)
        bound = self._bound(query, matrix.norm_max)
        if wanted > CANDIDATES_MAX or not np.isfinite(bound):
            return None
        answer = self._turns.ask(Asked(self, query, wanted))
        if answer is None:
            return None
        numbers, scores = answer
        if numbers[-1] < 0:
            return None  # of some row the score was no number
        highest = float(scores.min()) + bound
        kept = numbers < placed
        if allowed is not None:
            kept[kept] = allowed[numbers[kept]]
        numbers, bounds = numbers[kept], scores[kept] + np.float64(bound)
        others = others_best(matrix, placed, _NO_ROWS, rows, query, limit, allowed)
        best = bounded_best(matrix, query, numbers, bounds, others, limit)
        told = len(best.scores) == limit and float(best.scores[-1]) > highest
        return best if told else None

    def _bound(self, query: Array, longest: float) -> float:
        """How far a score may be from that of the whole row: what float16 took from row and query,
        and the rounding of two sums, whose order is the GPU's to choose.
        """
        if not fits(query):
            return float("inf")
        length = float(np.linalg.norm(query.astype(np.float64)))
        lost = float(np.linalg.norm(query.astype(np.float16).astype(np.float64) - query))
        rounding = 4 * self._width * _UNIT_ROUNDOFF * length * longest
        return length * self._residual_max + lost * (longest + self._residual_max) + rounding

    def _search(self, index: Any, queries: Array, wanted: int, reach: int) -> tuple[Array, Array]:
        scores, numbers = index.search(queries, wanted)
        return scores, numbers

    def _lost(self, rows: Array) -> float:
        lost = 0.0
        step = block_rows(self._width)
        for begin in range(0, len(rows), step):
            block = rows[begin : begin + step]
            # So near each other are they that nothing is rounded.
            residual = block.astype(np.float16).astype(np.float32)
            residual -= block
            lost = max(lost, longest(residual))
        return lost

    def _note(self, lost: float) -> None:
        self._residual_max = max(self._residual_max, lost)
