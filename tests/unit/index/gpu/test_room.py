"""The memory of a GPU: what is placed, how much of it is counted, and who has to go."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from memdb.index import gpu_faiss
from memdb.index.gpu import Gpu
from memdb.index.gpu_faiss import FaissOnGpu
from memdb.index.gpu_flat import PLACE_ROWS_MIN, FlatPlacement
from memdb.index.gpu_placed import PLACE_ROWS
from memdb.types.arrays import Array
from tests.unit.index.gpu.placing import DIM, ROWS, placed
from tests.unit.index.gpu_twin import Twin
from tests.unit.index.test_flat import matrix_of


def test_what_is_placed_is_counted_while_more_is_placed(
    rows: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, matrix, later = Gpu(Twin(), 1 << 30), matrix_of(rows), matrix_of(rows)
    first = placed(gpu, matrix)
    size, kept = first.bytes, []

    def meanwhile(_: FlatPlacement) -> int:
        monkeypatch.undo()
        kept.append(placed(gpu, later))
        return size

    monkeypatch.setattr(FlatPlacement, "bytes", property(meanwhile))
    assert gpu.bytes_used == size
    assert gpu.bytes_used == 2 * size


def test_the_largest_that_fit_have_the_room(rows: Array) -> None:
    small, middle, large = (
        matrix_of(rows[:count]) for count in (PLACE_ROWS_MIN, PLACE_ROWS_MIN + PLACE_ROWS, ROWS)
    )
    gpu = Gpu(Twin(), 2 * DIM * (PLACE_ROWS_MIN + PLACE_ROWS + ROWS))
    first, second = placed(gpu, small), placed(gpu, large)
    assert gpu.bytes_used == first.bytes + second.bytes
    third = placed(gpu, middle)
    assert (first.rows, third.rows) == (0, PLACE_ROWS_MIN + PLACE_ROWS)
    assert first.search(small, small.rows, rows[0], 4, None) is None, "it was dropped"
    assert gpu.keep(small, first) is None, "there is no room for it beside larger ones"
    assert gpu.keep(matrix_of(np.tile(rows, (4, 1))), None) is None, "it would not fit alone"
    assert gpu.bytes_used == second.bytes + third.bytes
    del third
    gc.collect()
    assert gpu.bytes_used == second.bytes, "the memory goes with the user"


def test_without_a_budget_four_fifths_of_what_is_free_at_the_first_placement(rows: Array) -> None:
    asked: list[int] = []

    def free_bytes() -> int:
        asked.append(1)
        return 11 * 2 * DIM * PLACE_ROWS_MIN

    gpu = Gpu(Twin(free=free_bytes), 0)
    assert not asked, "who places nothing takes nothing"
    matrix = matrix_of(rows[:PLACE_ROWS_MIN])
    kept = [gpu.keep(matrix, None) for _ in range(11)]
    assert [placement is not None for placement in kept] == [True] * 8 + [False] * 3
    assert asked == [1]


@pytest.mark.parametrize(("free", "fits"), [(2.2, False), (2.6, True)])
@pytest.mark.parametrize("bytes_max", [0, 1 << 40])
def test_what_grows_is_there_twice(rows: Array, free: float, fits: bool, bytes_max: int) -> None:
    """FAISS copies an index that gets more rows: a budget of all there is would lose the GPU."""
    large = rows[: ROWS // PLACE_ROWS * PLACE_ROWS]
    gpu = Gpu(Twin(free=lambda: int(free * 2 * large.size)), bytes_max)
    first = placed(gpu, matrix_of(large))
    # Two thirds of the first, which fits beside it.
    assert (gpu.keep(matrix_of(rows[:PLACE_ROWS_MIN]), None) is not None) == fits
    assert first.rows
    assert gpu.keep(matrix_of(np.tile(rows, (2, 1))), None) is None


class _Runtime:
    """CUDA's, as far as it is asked for memory."""

    def __init__(self, free: int) -> None:
        self._free = free

    def cudaMemGetInfo(self, free: Any, total: Any) -> int:
        free._obj.value = max(self._free, 0)
        return 0 if self._free >= 0 else 35


def test_how_much_is_free_says_cuda(monkeypatch: pytest.MonkeyPatch, rows: Array) -> None:
    """FAISS 1.15 has no function for it."""
    indexes = FaissOnGpu()
    monkeypatch.setattr(gpu_faiss, "_cuda_runtime", lambda: _Runtime(1 << 30))
    assert indexes.free_bytes() == 1 << 30
    monkeypatch.setattr(gpu_faiss, "_cuda_runtime", lambda: _Runtime(-1))
    with pytest.raises(RuntimeError, match="error 35"):
        indexes.free_bytes()
    monkeypatch.setattr(gpu_faiss, "_cuda_runtime", lambda: None)
    with pytest.raises(RuntimeError, match="gpu_bytes_max"):
        indexes.free_bytes()
    gpu = Gpu(Twin(free=indexes.free_bytes), 0)
    assert gpu.keep(matrix_of(rows), None) is None
    assert gpu.is_lost, "the rows stay where they are"
    gpu = Gpu(Twin(free=indexes.free_bytes), 1 << 30)
    assert gpu.keep(matrix_of(rows), None) is not None, "who gave a budget knows it"
