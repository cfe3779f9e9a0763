"""The ways on a GPU for `bench.gpu`: all rows flat there, and lists or a graph of them beside."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import numpy as np

from bench.gpu_case import AT_ONCE, LIMIT, Case, timed
from bench.workloads.tiers import Rows
from memdb.index import flat, gpu_placed
from memdb.index.breadth import Trial
from memdb.index.gpu import GRAPH_BYTES_MAX, Gpu
from memdb.index.gpu_flat import FlatPlacement, flat_bytes
from memdb.index.gpu_graph import GraphOnGpu
from memdb.index.gpu_indexes import GpuIndexes
from memdb.index.gpu_near import NearPlacement
from memdb.index.gpu_placed import Placed
from memdb.index.gpu_turns import Asked
from memdb.index.indexed import RECENT
from memdb.index.matrix import Matrix
from memdb.index.pruned import Found
from memdb.types.arrays import Array

_WANTED = 68
"""Candidates of a question for ten hits."""
_TIMES = {1: 32, AT_ONCE: 9}

Look = Callable[[Rows], Found | None]


class OnGpu:
    """One GPU; `flat` before what is beside it."""

    def __init__(self, case: Case, indexes: GpuIndexes) -> None:
        self._case = case
        self._indexes = indexes
        self._gpu = Gpu(indexes, 0)
        self._flat: FlatPlacement | None = None

    def take_flat(self) -> str | None:
        """Measure ``gpu``."""
        free, begin_s = self._indexes.free_bytes(), time.perf_counter()
        placement = self._gpu.keep(self._case.matrix, None, stop=self._case.stop)
        self._note("gpu", free, begin_s)
        rows = self._case.matrix.rows
        if placement is None:
            return self._why_none("gpu")
        if rows - placement.rows >= gpu_placed.PLACE_ROWS:
            placement.drop()
            return "no time to place all rows"
        self._flat = placement
        try:
            self._ask("gpu", placement, self._look_flat)
        except Exception:
            # What is beside it is not to be measured by what fails.
            self.end()
            raise
        return self._why_lost

    def take_near(self, kind: str) -> str | None:
        """Measure ``gpu_ivf`` or ``gpu_cagra``."""
        case, name = self._case, f"gpu_{kind}"
        matrix, rows = case.matrix, case.matrix.rows
        if kind == GraphOnGpu.kind:
            if not self._indexes.has_graphs:
                return "FAISS is built without cuVS"
            if flat_bytes(rows, matrix.width) > GRAPH_BYTES_MAX:
                return "of so many rows no graph is made"
        gc.collect()  # what the way before had
        free, begin_s = self._indexes.free_bytes(), time.perf_counter()
        beside = [] if self._flat is None else [self._flat]
        near = self._gpu.keep_near(matrix, kind, beside, case.stop)
        if near is None:
            self._note(name, free, begin_s)
            return self._why_none(name)

        def look(rows: int, query: Array, limit: int, alive: Array | None) -> Found | None:
            return near.search(matrix, rows, query, limit, alive, alive)

        try:
            trial = Trial(matrix, rows, None)
            is_told = trial.ask(self._exact, list(case.questions[-RECENT:]), case.stop)
            is_enough = is_told and near.find_reach(trial, look, case.stop)
            self._note(name, free, begin_s)
            if not is_enough:
                return "no time" if case.is_over else "it finds too little"
            case.figures[f"{name}_reach"] = near.reach
            self._ask(name, near, lambda question: look(rows, question, LIMIT, None))
        finally:
            near.drop()
        return self._why_lost

    def end(self) -> None:
        """Give everything back."""
        self._gpu.clear()
        self._flat = None

    @property
    def _why_lost(self) -> str | None:
        return "the GPU failed, as its log says" if self._gpu.is_lost else None

    def _why_none(self, name: str) -> str:
        if self._case.is_over:
            return "no time"
        return self._why_lost or f"{name} has no room, or nobody places so few rows"

    def _note(self, name: str, free: int, begin_s: float) -> None:
        figures = self._case.figures
        figures[f"{name}_prepare_s"] = time.perf_counter() - begin_s
        figures[f"{name}_bytes"] = self._gpu.bytes_used - self._bytes_flat(name)
        figures[f"{name}_used_bytes"] = free - self._indexes.free_bytes()
        figures[f"{name}_failed"] = float(self._gpu.is_lost)

    def _bytes_flat(self, name: str) -> int:
        return 0 if name == "gpu" or self._flat is None else self._flat.bytes

    def _look_flat(self, question: Rows) -> Found | None:
        placement = self._flat
        assert placement is not None
        matrix = self._case.matrix
        return placement.search(matrix, matrix.rows, question, LIMIT, None)

    def _exact(
        self, rows: int, query: Array, limit: int, allowed: Array | None
    ) -> tuple[Array, Array]:
        matrix, placement = self._case.matrix, self._flat
        found = None
        if placement is not None:
            found = placement.search(matrix, rows, query, limit, allowed)
        if found is None:
            return flat.search(matrix, rows, query, limit, allowed)
        return found.numbers, found.scores

    def _ask(self, name: str, placed: Placed, look: Look) -> None:
        """Product and bare calls.  What the GPU does not tell is scanned for on the CPU, and counted."""
        case = self._case
        matrix, left, asked = case.matrix, [0], [0]

        def ask(question: Rows) -> set[int]:
            found = look(question)
            asked[0] += 1
            if found is not None:
                return set(found.numbers.tolist())
            left[0] += 1
            return set(self._exact(matrix.rows, question, LIMIT, None)[0].tolist())

        case.ask(name, ask)
        case.figures[f"{name}_left_share"] = left[0] / asked[0]
        reach = placed.reach if isinstance(placed, NearPlacement) else 0
        for count, times in _TIMES.items():
            questions = [_padded(matrix, question) for question in case.questions[:count]]

            def call(questions: list[Array] = questions) -> None:
                asked = [Asked(placed, question, _WANTED, reach) for question in questions]
                placed.answer(asked)
                if asked[0].error is not None:
                    raise asked[0].error

            case.figures[f"{name}_call_{count}_ms"] = timed(call, times)


def _padded(matrix: Matrix, question: Rows) -> Array:
    return np.ascontiguousarray(flat.padded_query(question, matrix.width))
