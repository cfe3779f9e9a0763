"""Rows on a GPU, and indexes there that are watched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from memdb.index.gpu import Gpu
from memdb.index.gpu_faiss import FaissOnGpu
from memdb.index.gpu_flat import PLACE_ROWS_MIN, FlatPlacement
from memdb.index.gpu_placed import PLACE_ROWS
from memdb.index.matrix import Matrix
from memdb.types.arrays import Array

DIM = 32
ROWS = PLACE_ROWS_MIN + 2 * PLACE_ROWS + 100
Make = Callable[[int], Any]


def on_gpu(width: int) -> Any:
    return FaissOnGpu().flat(width)


class Watched:
    """An index that tells its calls, waits when told to, and fails when told to."""

    def __init__(self, index: Any) -> None:
        self.index = index
        self.calls: list[int] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.fails = False

    @property
    def ntotal(self) -> int:
        return int(self.index.ntotal)

    def add(self, rows: Array) -> None:
        if self.fails:
            raise RuntimeError("CUDA error 2: out of memory")
        self.index.add(rows)

    def search(self, queries: Array, wanted: int) -> tuple[Array, Array]:
        self.calls.append(len(queries))
        self.begun.set()
        assert self.go_on.wait(20)
        if self.fails:
            raise RuntimeError("CUDA error 700: an illegal memory access")
        scores, numbers = self.index.search(queries, wanted)
        return scores, numbers


def placed(gpu: Gpu, matrix: Matrix) -> FlatPlacement:
    placement = gpu.keep(matrix, None)
    assert placement is not None
    return placement


def same(found: tuple[Array, Array], expected: tuple[Array, Array]) -> bool:
    return bool((found[0] == expected[0]).all()) and found[1].tobytes() == expected[1].tobytes()
