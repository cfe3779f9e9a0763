"""What fails on a GPU is left alone, and no question fails with it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from memdb.index.gpu import Gpu
from memdb.index.indexed import Approximation
from memdb.index.tiers import Tiers
from memdb.types.arrays import Array
from tests.unit.index.gpu_near.trained import ERROR, ROW_BYTES, begun, check_exact, failing, trained
from tests.unit.index.gpu_twin import Failing, GraphTwin, Twin, lists_twin
from tests.unit.index.test_flat import matrix_of
from tests.unit.index.test_indexed import LIMIT, ROWS, never, recall, structured


@pytest.mark.parametrize(
    ("call", "after"), [("made", 0), ("train", 0), ("add", 0), ("search", 0), ("search", 70)]
)
def test_what_fails_while_it_is_made_fails_no_question(
    kind: str,
    call: str,
    after: int,
    approximation: Approximation,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if (kind, call) == ("cagra", "add"):
        pytest.skip("a graph takes nothing more")
    matrix = matrix_of(structured(ROWS, 1))
    gpu = Gpu(failing(call, after), 1 << 30, kind)
    index = begun(matrix, gpu, approximation)
    assert index.is_due
    with caplog.at_level(logging.ERROR, "memdb.index"):
        index.maintain(never, gpu, approximation)
    assert "illegal memory access" in caplog.text
    assert gpu.is_lost
    assert gpu.bytes_used == 0
    # Lists of the CPU are made in its place, at once.
    assert index.has_lists
    assert recall(matrix, index, ROWS) >= 0.99


@pytest.mark.parametrize("error", [ERROR, MemoryError("std::bad_alloc"), ValueError("a dimension")])
def test_a_search_that_fails_is_done_on_the_cpu(
    kind: str, error: Exception, approximation: Approximation, caplog: pytest.LogCaptureFixture
) -> None:
    twin = Twin()
    matrix = matrix_of(structured(ROWS, 1))
    gpu = Gpu(twin, 1 << 30, kind)
    index, near = trained(matrix, gpu, approximation)
    near._index = Failing(near._index, "search", 1, error)
    question = structured(1, 3)[0]
    assert index.approximate(ROWS, question, LIMIT, None, None) is not None
    with caplog.at_level(logging.ERROR, "memdb.index"):
        check_exact(matrix, index)
    assert str(error) in caplog.text
    assert gpu.is_lost
    assert gpu.bytes_used == 0
    index.maintain(never, gpu, approximation)
    assert index.has_lists


def test_later_rows_that_fail_to_be_placed_are_found_all_the_same(
    kind: str, approximation: Approximation
) -> None:
    matrix = matrix_of(structured(ROWS, 1))
    gpu = Gpu(Twin(), 1 << 30, kind)
    index, near = trained(matrix, gpu, approximation)
    near._index = Failing(near._index, "add", 1, ERROR)
    for seed in (5, 6):
        matrix.append(structured(64, seed))
        index.maintain(never, gpu, approximation)
    assert gpu.is_lost
    check_exact(matrix, Tiers(matrix))
    assert index.search(matrix.rows, structured(64, 6)[63], 1, None)[0].tolist() == [ROWS + 127]


def test_rows_that_are_placed_in_part_are_not_found_under_other_numbers(
    kind: str, approximation: Approximation
) -> None:
    """FAISS may have taken some of them when it has no memory for the others."""

    class Partly(Failing):
        def add(self, rows: Array) -> None:
            self._index.add(rows[:10])
            raise MemoryError("std::bad_alloc")

    matrix = matrix_of(structured(ROWS, 1))
    gpu = Gpu(Twin(), 1 << 30, kind)
    index, near = trained(matrix, gpu, approximation)
    whole = near._index
    near._index = Partly(whole, "", 0, ERROR)
    matrix.append(structured(64, 5))
    index.maintain(never, gpu, approximation)
    near._index = whole
    index.maintain(never, gpu, approximation)
    assert near.rows == 0
    assert gpu.is_lost


def test_what_a_gpu_that_fails_meanwhile_is_to_have_goes(kind: str) -> None:
    def fails(index: Any) -> Any:
        gpu.lose(ERROR)
        return index

    twin = Twin(
        lists=lambda width, count: fails(lists_twin(width, count)),
        graph=lambda width: fails(GraphTwin(width)),
    )
    gpu = Gpu(twin, 1 << 30, kind)
    assert gpu.keep_near(matrix_of(structured(ROWS, 1)), kind, (), never) is None
    assert gpu.bytes_used == 0


def test_no_memory_to_make_it_leaves_the_gpu(kind: str, approximation: Approximation) -> None:
    matrix = matrix_of(structured(ROWS, 1))
    gpu = Gpu(failing("train", 0, MemoryError("no room")), 1 << 30, kind)
    index = begun(matrix, gpu, approximation)
    index.maintain(never, gpu, approximation)
    assert not gpu.is_lost
    assert gpu.bytes_used == ROWS // 64 * 64 * ROW_BYTES, "flat as before"
    check_exact(matrix, index)
    assert not index.is_due, "until it has doubled"
