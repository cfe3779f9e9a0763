"""A GPU that fails takes no question with it: all goes on without."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from memdb.index import flat
from memdb.index.gpu import Gpu
from memdb.index.tiers import QUESTIONS_MIN, Tiers
from memdb.types.arrays import Array
from tests.unit.index.gpu.placing import DIM, ROWS, Make, Watched, placed, same
from tests.unit.index.gpu_twin import Twin, flat_twin
from tests.unit.index.test_flat import matrix_of
from tests.unit.index.test_sketch import made


def test_a_gpu_that_fails_fails_no_question(
    make: Make, rows: Array, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched(make(DIM))
    gpu = Gpu(Twin(lambda _: watched), 1 << 30)
    matrix = matrix_of(rows)
    index = Tiers(matrix)
    index.maintain(lambda: False, gpu)
    query = made("scenes", 1, DIM, seed=3)[0]
    expected = flat.search(matrix, ROWS, query, 4, None)
    # These rows are few bytes: asked as if they were many.
    index._rows_min = 1
    assert same(index.search(ROWS, query, 4, None), expected)
    assert watched.calls == [1]
    watched.fails = True
    with caplog.at_level(logging.ERROR, "memdb.index"):
        assert same(index.search(ROWS, query, 4, None), expected)
    assert "illegal memory access" in caplog.text
    assert gpu.is_lost
    assert gpu.bytes_used == 0
    index.maintain(lambda: False, gpu)
    for _ in range(QUESTIONS_MIN):
        assert same(index.search(ROWS, query, 4, None), expected)
    assert watched.calls == [1, 1], "it is not asked again"


def test_any_error_of_a_call_is_told_to_all_that_waited_for_it(rows: Array) -> None:
    watched = Watched(flat_twin(DIM))
    matrix = matrix_of(rows)
    gpu = Gpu(Twin(lambda _: watched), 1 << 30)
    placement = placed(gpu, matrix)
    watched.search = lambda queries, wanted: (_ for _ in ()).throw(MemoryError("no room"))  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no room"):
            placement.search(matrix, ROWS, rows[0], 4, None)
    assert not gpu._turns.waiting


def test_a_gpu_that_fails_while_rows_are_placed_keeps_none(rows: Array) -> None:
    """Somebody else's search fails after it was asked whether it still works."""

    def fails(width: int) -> Any:
        gpu.lose(RuntimeError("CUDA error 700: an illegal memory access"))
        return flat_twin(width)

    gpu = Gpu(Twin(fails), 1 << 30)
    assert gpu.keep(matrix_of(rows), None) is None
    assert gpu.bytes_used == 0


def test_a_gpu_without_room_leaves_the_rows_where_they_are(
    rows: Array, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched(flat_twin(DIM))
    watched.fails = True
    gpu = Gpu(Twin(lambda _: watched), 1 << 30)
    with caplog.at_level(logging.ERROR, "memdb.index"):
        assert gpu.keep(matrix_of(rows), None) is None
    assert "out of memory" in caplog.text
    assert gpu.is_lost
