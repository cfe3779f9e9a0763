"""The rows that `bench.gpu` searches, and which of them are the best answers."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from bench import data
from bench.workloads.tiers import Rows, made
from memdb.index.matrix import Matrix

_BLOCK = 32_768
_MAKERS_MAX = 16

Best = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
"""Scores and row numbers, (questions, hits) each, in no order."""


def filled(
    count: int, seed: int, questions: Rows, limit: int, stop: Callable[[], bool]
) -> tuple[Matrix, list[set[int]]]:
    """Rows that do not depend on how many processors make them, and for each question its ``limit`` best of them, as
    whole rows score in float32; of so many rows as there are once ``stop`` says so.
    """
    matrix = Matrix(data.DIM)
    best: Best = np.empty((len(questions), 0), np.float32), np.empty((len(questions), 0), np.int64)

    def block(begin: int) -> tuple[Rows, Best]:
        rows = made("views", seed, min(_BLOCK, count - begin), stream=2 + begin)
        scores = questions @ rows.T
        numbers = np.broadcast_to(np.arange(begin, begin + len(rows)), scores.shape)
        return rows, _best((scores, numbers), limit)

    workers = min(os.cpu_count() or 1, _MAKERS_MAX)
    being_made: deque[Future[tuple[Rows, Best]]] = deque()
    begins = deque(range(0, count, _BLOCK))
    with ThreadPoolExecutor(workers) as pool:
        while being_made or begins:
            # No more of them at once, 600 MB each while they are made.
            while begins and len(being_made) <= workers:
                being_made.append(pool.submit(block, begins.popleft()))
            rows, its = being_made.popleft().result()
            matrix.append(rows)
            scores, numbers = np.hstack([best[0], its[0]]), np.hstack([best[1], its[1]])
            best = _best((scores, numbers), limit)
            if stop():
                begins.clear()
    return matrix, [set(numbers.tolist()) for numbers in best[1]]


def _best(of: Best, limit: int) -> Best:
    scores, numbers = of
    if scores.shape[1] <= limit:
        return of
    order = np.argpartition(-scores, limit - 1, axis=1)[:, :limit]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(numbers, order, 1)
