"""How much an approximate search must look at to find what an exact one does: measured, not believed.

Questions for it are rows of the matrix itself, disturbed, each without the row that it came of, and those that
were asked lately, which may lie elsewhere than any row does.  Each kind must reach the recall by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from memdb.index import ivf
from memdb.index.ivf import LIMIT_MEASURED, Breadth, lists_max
from memdb.index.lists import Lists
from memdb.index.matrix import Matrix
from memdb.index.pruned import Found
from memdb.types.arrays import Array

RECALL_TRAINED: Final = 0.995
"""What a breadth must reach of what is found exactly, to be used."""
_SAMPLE: Final = 64
"""Rows that are asked for."""
_DISTURBED: Final = 0.5
"""By noise of so much of a row's length."""
_STEP: Final = 1.5
_CANDIDATES: Final = (12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
_MORE_CANDIDATES: Final = 1.4
"""Than were enough for the questions it was measured with."""
_SEED: Final = 1973

Exact = Callable[[int, Array, int, Array | None], tuple[Array, Array]]
"""Rows, query, limit and allowed rows: (row numbers, scores) as `memdb.index.flat.search`."""
Look = Callable[[int, Array, int, Array | None], Found | None]
"""Rows, query, limit and rows that are alive: an approximate answer; None where it leaves that to an exact search."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A question and its exact answer."""

    query: Array
    own: int
    """The row it was made of, which does not count; -1 for none."""
    numbers: Array
    scores: Array


class Trial:
    """Questions with their exact answers, as of the rows of one moment."""

    def __init__(self, matrix: Matrix, rows: int, alive: Array | None) -> None:
        self._matrix = matrix
        self._rows = rows
        self._alive = alive
        self._kinds: list[list[Asked]] = []

    def ask(self, exact: Exact, recent: Sequence[Array], stop: Callable[[], bool]) -> bool:
        """Answer all questions exactly; False when ``stop`` said so, or nobody is there to find."""
        numbers = np.arange(self._rows) if self._alive is None else np.flatnonzero(self._alive)
        if len(numbers) < 2 * LIMIT_MEASURED:
            return False
        own = numbers[np.linspace(0, len(numbers) - 1, _SAMPLE).astype(np.int64)]
        made = _disturbed(self._matrix.take(own))
        for questions, of in ((made, own), (recent, np.full(len(recent), -1))):
            kind: list[Asked] = []
            for query, number in zip(questions, of.tolist(), strict=True):
                if stop():
                    return False
                found, scores = exact(self._rows, query, LIMIT_MEASURED + 1, self._alive)
                kind.append(Asked(query, number, *_without(number, found, scores)))
            self._kinds.append(kind)
        return True

    def least(self, lists: Lists, stop: Callable[[], bool]) -> Breadth | None:
        """The least breadth that finds enough; None where a quarter of the lists does not, or ``stop`` said so."""
        best: Breadth | None = None
        most = lists_max(lists)
        for by_distance in (True, False):
            count = 1
            while (best is None or count < best.lists) and count <= most and not stop():
                breadth = Breadth(count, _CANDIDATES[-1], by_distance)
                if self._is_enough(lists, breadth):
                    best = breadth
                    break
                count = max(count + 1, int(count * _STEP))
        if best is None:
            return None
        for candidates in _CANDIDATES:
            if stop():
                return None
            breadth = Breadth(best.lists, candidates, best.by_distance)
            if self._is_enough(lists, breadth):
                # A little more than was enough for these questions.
                candidates = min(math.ceil(_MORE_CANDIDATES * candidates), _CANDIDATES[-1])
                return widened(replace(breadth, candidates=candidates), _STEP)
        return None

    def is_enough(self, look: Look) -> bool:
        """Whether so much is found, of each kind of questions."""
        return all(self._recall(look, kind) >= RECALL_TRAINED for kind in self._kinds)

    def _is_enough(self, lists: Lists, breadth: Breadth) -> bool:
        def look(rows: int, query: Array, limit: int, alive: Array | None) -> Found | None:
            return ivf.search(self._matrix, lists, breadth, rows, query, limit, alive, alive)

        return self.is_enough(look)

    def _recall(self, look: Look, kind: Sequence[Asked]) -> float:
        """Of one kind of questions; what the search leaves to an exact one is found, at the price of
        that, so it counts as missed."""
        hits = sought = 0
        for asked in kind:
            sought += len(asked.numbers)
            found = look(self._rows, asked.query, LIMIT_MEASURED + 1, self._alive)
            if found is not None:
                _, scores = _without(asked.own, found.numbers, found.scores)
                hits += found_of(scores, asked.scores)
        return hits / sought if sought else 1.0


def widened(breadth: Breadth, factor: float) -> Breadth:
    """A search that looks at so many times the lists."""
    return Breadth(
        max(breadth.lists + 1, int(np.ceil(breadth.lists * factor))),
        breadth.candidates,
        breadth.by_distance,
    )


def found_of(scores: Array, exact: Array) -> int:
    """How many of the exact answer were found, by their scores, best first: which of several rows of the
    last score is found matters to nobody."""
    if not len(exact):
        return 0
    return int(np.count_nonzero(scores[: len(exact)] >= exact[-1]))


def _without(number: int, found: Array, scores: Array) -> tuple[Array, Array]:
    kept = found != number
    return found[kept][:LIMIT_MEASURED], scores[kept][:LIMIT_MEASURED]


def _disturbed(rows: Array) -> Array:
    noise = np.random.default_rng(_SEED).standard_normal(rows.shape).astype(np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    noise *= _DISTURBED * length / np.linalg.norm(noise, axis=1, keepdims=True)
    disturbed = rows + noise
    longest = np.maximum(np.linalg.norm(disturbed, axis=1, keepdims=True), np.float32(1e-20))
    return np.asarray(disturbed * (length / longest), np.float32)
