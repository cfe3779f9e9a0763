"""FAISS's indexes of the CPU in the place of those of a GPU: called in the same way, with rows as precise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np

from memdb.index.gpu import Gpu
from memdb.index.gpu_faiss import FaissOnGpu
from memdb.types.arrays import Array

GPUS = getattr(faiss, "get_num_gpus", lambda: 0)()
SELECTED_MAX = 2048
"""Candidates, and lists, of which FAISS selects no more on a GPU: it refuses to."""
NEAR = ["ivf", "cagra"]
"""What is approximate on a GPU; where there is one, on that as well."""
if GPUS:
    NEAR += ["real ivf"]
    NEAR += ["real cagra"] if FaissOnGpu().has_graphs else []


def gpu_of(name: str) -> Gpu:
    """One for what `NEAR` names."""
    indexes = FaissOnGpu() if name.startswith("real ") else Twin()
    return Gpu(indexes, 1 << 30, name.removeprefix("real "))


class Alone:
    """An index of FAISS's whose calls take no processor but the caller's: others spin for work on a busy machine."""

    def __init__(self, index: Any) -> None:
        self._index = index

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._index, name)
        if not callable(found):
            return found

        def called(*arguments: Any, **options: Any) -> Any:
            if name == "search":
                assert arguments[1] <= SELECTED_MAX
                assert getattr(options.get("params"), "nprobe", 1) <= SELECTED_MAX
            threads = faiss.omp_get_max_threads()
            faiss.omp_set_num_threads(1)  # of this thread
            try:
                return found(*arguments, **options)
            finally:
                faiss.omp_set_num_threads(threads)

        return called


def flat_twin(width: int) -> Any:
    return Alone(
        faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    )


def lists_twin(width: int, count: int) -> Any:
    return Alone(
        faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(width),
            width,
            count,
            faiss.ScalarQuantizer.QT_fp16,
            faiss.METRIC_INNER_PRODUCT,
            False,
        )
    )


class GraphTwin:
    """A graph that takes all of its rows at once, as float16 alone."""

    def __init__(self, width: int) -> None:
        self._index = Alone(faiss.IndexHNSWFlat(width, 16, faiss.METRIC_INNER_PRODUCT))

    @property
    def ntotal(self) -> int:
        return int(self._index.ntotal)

    def train(self, rows: Array, *, numeric_type: int) -> None:
        assert not self.ntotal
        self._index.add(_halves(rows, numeric_type))

    def search(
        self, queries: Array, wanted: int, *, params: Any, numeric_type: int
    ) -> tuple[Array, Array]:
        assert params.efSearch % 32 == 0
        assert params.efSearch <= 512
        assert wanted <= params.efSearch
        scores, numbers = self._index.search(_halves(queries, numeric_type), wanted, params=params)
        return scores, numbers


def _halves(rows: Array, numeric_type: int) -> Array:
    assert numeric_type == faiss.Float16
    assert rows.dtype == np.float16
    return rows.astype(np.float32)


class Twin:
    """See `memdb.index.gpu_indexes.GpuIndexes`; each of its indexes may be made by somebody else."""

    def __init__(
        self,
        flat: Callable[[int], Any] = flat_twin,
        lists: Callable[[int, int], Any] = lists_twin,
        graph: Callable[[int], Any] = GraphTwin,
        *,
        free: Callable[[], int] = lambda: 1 << 40,
        has_graphs: bool = True,
        own_bytes: int = 0,
    ) -> None:
        self.flat = flat
        self.lists = lists
        self.graph = graph
        self.free_bytes = free
        self.has_graphs = has_graphs
        self.own_bytes = own_bytes

    def probing(self, lists: int) -> Any:
        return faiss.SearchParametersIVF(nprobe=lists)

    def reaching(self, size: int) -> Any:
        return faiss.SearchParametersHNSW(efSearch=size)


class Failing:
    """An index of which a call fails, from its n-th on."""

    def __init__(self, index: Any, call: str, after: int, error: Exception) -> None:
        self._index = index
        self._call = call
        self._left = after
        self._error = error

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._index, name)
        if name != self._call:
            return real

        def called(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise self._error
            return real(*arguments, **options)

        return called
