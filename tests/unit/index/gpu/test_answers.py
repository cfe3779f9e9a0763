"""A search with rows on a GPU gives what a search without gives."""

from __future__ import annotations

import numpy as np
import pytest

from memdb.index import flat
from memdb.index.gpu import Gpu
from memdb.index.gpu_flat import PLACE_ROWS_MIN
from memdb.index.gpu_placed import PLACE_ROWS
from memdb.types.arrays import Array
from tests.unit.index.gpu.placing import DIM, ROWS, Make, placed, same
from tests.unit.index.gpu_twin import Twin
from tests.unit.index.test_flat import matrix_of
from tests.unit.index.test_sketch import made


@pytest.mark.parametrize("share", [None, 0.95, 0.01, 0.0])
@pytest.mark.parametrize("seen", [ROWS, PLACE_ROWS_MIN + PLACE_ROWS + 7, 100])
def test_answers_are_those_of_the_cpu(
    make: Make, rows: Array, share: float | None, seen: int
) -> None:
    matrix = matrix_of(rows)
    placement = placed(Gpu(Twin(make), 1 << 30), matrix)
    assert placement.rows == ROWS // PLACE_ROWS * PLACE_ROWS
    allowed = None if share is None else np.random.default_rng(2).random(seen) < share
    told = 0
    for query in made("scenes", 8, DIM, seed=3):
        for limit in (1, 10):
            found = placement.search(matrix, seen, query, limit, allowed)
            if found is not None:
                told += 1
                expected = flat.search(matrix, seen, query, limit, allowed)
                assert same((found.numbers, found.scores), expected)
    assert bool(told) == (share in (None, 0.95) and seen >= PLACE_ROWS_MIN)


def test_rows_that_are_equal_come_in_the_order_of_the_cpu(make: Make) -> None:
    matrix = matrix_of(np.repeat(made("scenes", ROWS // 4, DIM, seed=1), 4, axis=0))
    placement = placed(Gpu(Twin(make), 1 << 30), matrix)
    for query in made("scenes", 8, DIM, seed=3):
        found = placement.search(matrix, matrix.rows, query, 10, None)
        if found is not None:
            expected = flat.search(matrix, matrix.rows, query, 10, None)
            assert same((found.numbers, found.scores), expected)


def test_rows_that_float16_does_not_hold_stay_on_the_cpu(rows: Array) -> None:
    gpu = Gpu(Twin(), 1 << 30)
    matrix = matrix_of(rows * np.float32(1e6))
    assert gpu.keep(matrix, None) is None
    assert not gpu.is_lost


@pytest.mark.parametrize("size", [1e-25, 1e-6, 1.0, 3e4])
def test_what_float16_takes_is_not_less_than_it_is_believed(rows: Array, size: float) -> None:
    its = rows[:4096] * np.float32(size)
    placement = placed(Gpu(Twin(), 1 << 30), matrix_of(rows))
    wide = its.astype(np.float16).astype(np.float64) - its
    least = float(np.linalg.norm(wide, axis=1).max())
    assert least <= placement._lost(its) <= 1.0001 * least


def test_rows_that_come_later_follow(rows: Array) -> None:
    gpu = Gpu(Twin(), 1 << 30)
    matrix = matrix_of(rows[: PLACE_ROWS_MIN + 50])
    placement = placed(gpu, matrix)
    assert placement.rows == PLACE_ROWS_MIN
    matrix.append(rows[PLACE_ROWS_MIN + 50 :])
    assert gpu.keep(matrix, placement) is placement
    assert placement.rows == ROWS // PLACE_ROWS * PLACE_ROWS
