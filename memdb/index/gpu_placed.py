"""The first rows of a matrix in an index on a GPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from memdb.index.gpu_indexes import block_of, fits
from memdb.index.gpu_turns import Asked, Turns
from memdb.index.matrix import Matrix
from memdb.types.arrays import Array

PLACE_ROWS: Final = 4096
"""Rows that are worth that FAISS copies a flat index of any size."""


def never() -> bool:
    """What is asked whether to stop, where nobody stops it."""
    return False


class Placed(ABC):
    """The first `rows` rows of a matrix; one who adds, any who ask.

    Every call is given the matrix, which this does not keep alive.
    """

    def __init__(self, index: Any, width: int, turns: Turns, rows: int = 0) -> None:
        self._index: Any | None = index
        self._width = width
        self._turns = turns
        self.rows = rows
        self.is_spare = False
        """Whether it goes first where room is wanted."""

    def __del__(self) -> None:
        if self._index is not None:
            held, self._index = [self._index], None
            self._turns.leave(held)

    @property
    def bytes(self) -> int:
        """On the GPU."""
        return 0

    @property
    def _place_rows(self) -> int:
        """Rows that go to the GPU at once, at least; as many may wait for it, and are scanned."""
        return PLACE_ROWS

    def drop(self) -> None:
        """Give the memory back; nothing is found here any more."""
        with self._turns.lock, self._turns:
            self._index = None
            self.rows = 0

    def extend(self, matrix: Matrix, stop: Callable[[], bool] = never) -> bool:
        """Place further rows, as far as they fill calls; False when they do not fit float16.

        stop: asked before each call whether to leave the rest to another time.  Raises `RuntimeError` where the GPU
        fails.
        """
        least = self._place_rows
        while matrix.rows - self.rows >= least and not stop():
            waiting = (matrix.rows - self.rows) // least * least
            count = min(waiting, block_of(matrix, least))
            rows = matrix.take_run(self.rows, self.rows + count)
            if not fits(rows):
                return False
            lost = self._lost(rows)
            with self._turns.lock, self._turns:
                if self._index is None:
                    return True
                try:
                    self._index.add(rows)
                except Exception as error:
                    # Whatever it is: nobody knows how many of them are there now, and with other ones than `rows` says
                    # all that come later would be found under wrong numbers.
                    raise RuntimeError(f"no rows could be placed on the GPU: {error}") from error
                self._note(lost)
                self.rows += count
        return True

    def answer(self, asked: list[Asked]) -> None:
        """See `memdb.index.gpu_turns.Answering`; by whose turn it is."""
        index = self._index
        try:
            if index is not None:
                wanted = min(max(one.wanted for one in asked), index.ntotal)
                reach = max(one.reach for one in asked)
                queries = np.stack([one.query for one in asked])
                scores, numbers = self._search(index, queries, wanted, reach)
                for one, its_numbers, its_scores in zip(asked, numbers, scores, strict=True):
                    one.answer = its_numbers, its_scores
        except Exception as error:
            # Whatever it is: none of them may wait for ever, and each is asked of the CPU then.
            failure = RuntimeError(f"a search on the GPU failed: {error}")
            failure.__cause__ = error
            for one in asked:
                one.error = failure
        for one in asked:
            one.done = True

    @abstractmethod
    def _search(self, index: Any, queries: Array, wanted: int, reach: int) -> tuple[Array, Array]:
        """(scores, numbers), (n, wanted) each, best first; a number of -1 is of no row."""

    def _lost(self, rows: Array) -> float:
        """What float16 takes from rows, as far as anybody asks."""
        return 0.0

    def _note(self, lost: float) -> None:  # noqa: B027 - who searches nearby alone needs it not
        """Rows with that are about to be seen."""
