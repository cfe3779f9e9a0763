"""Which hits of an answer are shown: the first ones, or those of a page behind another.

An answer is an order of rows, made as far as the window reaches; the window says from where to where
they are loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.errors import FailedPrecondition
from memdb.index.partition import PartitionView
from memdb.types.arrays import Array

NOTHING: Final = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Last:
    """The hit that ended the page before."""

    clip_no: int
    birth: int
    score: float


class Window:
    """The window of one page; used once."""

    def __init__(self, limit: int, place: int = 0, after: Last | None = None) -> None:
        self._limit = limit
        self._place = place
        self._after = after
        self.place = place
        """Hits before the page that comes next."""
        self.last: Last | None = None
        """What ends this page, where there is more."""

    @property
    def reach(self) -> int:
        """How much of the order is to be made: one more than is shown, to know whether there is more."""
        return self._place + self._limit + 1

    @property
    def is_first(self) -> bool:
        """Whether no page came before."""
        return self._after is None

    def choose(
        self,
        partition: PartitionView,
        ranked: tuple[Array, Array],
        rest: tuple[Array, Array],
        *,
        by_score: bool,
    ) -> tuple[slice, slice]:
        """What of each of two parts of an order is shown, (rows, scores) each.

        by_score: whether the order is that of the scores, equal ones by row.

        Raises `FailedPrecondition` (``CURSOR_GONE``) where the hit that ended the page before was removed since,
        and nothing says where it stood.
        """
        rows, scores = (np.concatenate([a, b]) for a, b in zip(ranked, rest, strict=True))
        begin = 0
        if self._after is not None:
            begin = self._behind(partition, rows, scores, self._after, by_score)
        end = min(begin + self._limit, len(rows))
        if end < len(rows) and end > begin:
            column, row = partition.columns, rows[end - 1]
            self.place = end
            self.last = Last(
                int(column["clip_no"][row]), int(column["birth"][row]), float(scores[end - 1])
            )
        first = len(ranked[0])
        return (
            slice(min(begin, first), min(end, first)),
            slice(max(begin - first, 0), max(end - first, 0)),
        )

    @staticmethod
    def _behind(
        partition: PartitionView, rows: Array, scores: Array, after: Last, by_score: bool
    ) -> int:
        """How many rows come before the page."""
        clip_no, birth = (partition.columns[name][rows] for name in ("clip_no", "birth"))
        same = np.flatnonzero(
            (clip_no == np.uint64(after.clip_no)) & (birth == np.uint64(after.birth))
        )
        if len(same):
            return int(same[0]) + 1
        if not by_score:
            raise FailedPrecondition(
                "the clip that ended the page before was removed; ask for the first page again",
                reason="CURSOR_GONE",
                field="cursor",
            )
        # It was removed, and may have been before others of its score, which lie by birth and number.
        later = (birth > after.birth) | ((birth == after.birth) & (clip_no > after.clip_no))
        return int(np.count_nonzero((scores > after.score) | ((scores == after.score) & ~later)))


def shown(
    window: Window | None,
    limit: int,
    partition: PartitionView,
    ranked: tuple[Array, Array],
    rest: tuple[Array, Array],
    *,
    candidates: int = 0,
    by_score: bool = False,
) -> tuple[slice, slice]:
    """`Window.choose`; without a window the first ``limit``, of which ``candidates`` were to be ranked."""
    if window is None:
        return slice(0, limit), slice(0, max(limit - candidates, 0))
    return window.choose(partition, ranked, rest, by_score=by_score)
