"""Tiers whose rows are approximate on a GPU, or are to be."""

from __future__ import annotations

from typing import Any

from memdb.index import flat, tiers
from memdb.index.gpu import Gpu
from memdb.index.gpu_near import NearPlacement
from memdb.index.indexed import RECENT_MIN, Approximation
from memdb.index.matrix import Matrix
from memdb.index.tiers import Tiers
from tests.unit.index.gpu_twin import Failing, GraphTwin, Twin, lists_twin
from tests.unit.index.test_indexed import LIMIT, never, structured

ROW_BYTES = 2 * 256


def begun(matrix: Matrix, gpu: Gpu, approximation: Approximation) -> Tiers:
    """Tiers that were asked enough to be tried on a GPU."""
    index = Tiers(matrix, bytes_min=0)
    index.is_quick(matrix.rows, None, tiers.QUESTIONS_MIN)
    index.maintain(never, gpu, approximation)
    for question in structured(2 * RECENT_MIN, 90):
        index.approximate(matrix.rows, question, LIMIT, None, None)
    return index


def trained(matrix: Matrix, gpu: Gpu, approximation: Approximation) -> tuple[Tiers, NearPlacement]:
    index = begun(matrix, gpu, approximation)
    index.maintain(never, gpu, approximation)
    near = index.indexed.on_gpu.near
    assert near is not None
    return index, near


def check_exact(matrix: Matrix, index: Tiers) -> None:
    """Answers are those of the CPU, and none is approximate."""
    for question in structured(4, 3):
        assert index.approximate(matrix.rows, question, LIMIT, None, None) is None
        found = index.search(matrix.rows, question, LIMIT, None)
        expected = flat.search(matrix, matrix.rows, question, LIMIT, None)
        assert found[0].tolist() == expected[0].tolist()
        assert found[1].tobytes() == expected[1].tobytes()


ERROR = RuntimeError("CUDA error 700: an illegal memory access")


def failing(call: str, after: int = 0, error: Exception = ERROR) -> Twin:
    def of(index: Any) -> Any:
        if call == "made":
            raise error
        return Failing(index, call, after, error)

    return Twin(
        lists=lambda width, count: of(lists_twin(width, count)),
        graph=lambda width: of(GraphTwin(width)),
    )
