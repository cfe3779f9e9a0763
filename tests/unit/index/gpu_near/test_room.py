"""The memory of a GPU: what is approximate takes the room of its own rows first, and has to go for a larger one."""

from __future__ import annotations

from memdb.index import gpu_near, tiers
from memdb.index.gpu import Gpu
from memdb.index.indexed import RECENT_MIN, Approximation
from memdb.index.tiers import Tiers
from tests.unit.index.gpu_near.trained import ROW_BYTES, begun, check_exact, trained
from tests.unit.index.gpu_twin import Twin
from tests.unit.index.test_flat import matrix_of
from tests.unit.index.test_indexed import LIMIT, ROWS, never, recall, structured


def test_each_has_room_for_what_it_takes_for_itself(kind: str) -> None:
    """Of many users with few rows that is the most of it."""
    matrices = [matrix_of(structured(ROWS, seed)) for seed in (1, 2, 3)]
    one = gpu_near.KINDS[kind].bytes_of(ROWS, 256)
    gpu = Gpu(Twin(own_bytes=5 * one), 12 * one, kind)
    kept = [gpu.keep_near(matrix, kind, (), never) for matrix in matrices]
    assert [near is not None for near in kept] == [True, True, False]
    assert gpu.bytes_used == 12 * one


def test_exact_answers_stay_on_the_gpu_where_there_is_room(
    kind: str, approximation: Approximation
) -> None:
    matrix = matrix_of(structured(ROWS, 1))
    gpu = Gpu(Twin(), 1 << 30, kind)
    index, near = trained(matrix, gpu, approximation)
    placement = index._placement
    assert placement is not None
    assert gpu.bytes_used == near.bytes + placement.bytes
    index.maintain(never, gpu, approximation)
    assert (placement.is_spare, near.is_spare) == (True, False)
    # Somebody smaller needs the room: what is spare goes, and does not come back.
    other = matrix_of(structured(500, 2))
    gpu._bytes_max = gpu.bytes_used
    kept = gpu.keep(other, None)
    assert kept is not None
    assert (placement.rows, near.rows) == (0, ROWS)
    index.maintain(never, gpu, approximation)
    assert kept.rows
    assert index.indexed.on_gpu.near is near
    assert recall(matrix, index, ROWS) >= 0.99


def test_it_takes_the_room_of_its_own_rows_before_that_of_others(
    kind: str, approximation: Approximation
) -> None:
    matrix, other = matrix_of(structured(ROWS, 1)), matrix_of(structured(500, 2))
    needed = gpu_near.KINDS[kind].bytes_of(ROWS, 256)
    gpu = Gpu(Twin(), needed + 500 * ROW_BYTES, kind)
    kept = gpu.keep(other, None)
    assert kept is not None
    index, near = trained(matrix, gpu, approximation)
    assert kept.rows
    assert index._placement is not None
    assert index._placement.rows == 0
    assert not index.has_lists
    # One that has no room has lists of the CPU.
    small = Gpu(Twin(), needed - 1, kind)
    elsewhere = begun(matrix, small, approximation)
    elsewhere.maintain(never, small, approximation)
    elsewhere.maintain(never, small, approximation)
    assert elsewhere.indexed.on_gpu.near is None
    assert not small.is_lost
    assert near.rows == ROWS


def test_who_made_room_for_a_larger_one_is_searched_on_the_cpu(
    kind: str, approximation: Approximation
) -> None:
    matrix = matrix_of(structured(ROWS, 1))
    gpu = Gpu(Twin(), 3 * ROWS * ROW_BYTES, kind)
    index, near = trained(matrix, gpu, approximation)
    larger = gpu.keep(matrix_of(structured(3 * ROWS, 2)), None)
    assert larger is not None
    assert near.rows == 0
    check_exact(matrix, index)
    index.maintain(never, gpu, approximation)
    assert index.has_lists
    assert larger.rows


def test_lists_of_the_cpu_answer_as_soon_as_rows_made_room(approximation: Approximation) -> None:
    matrix = matrix_of(structured(ROWS, 1))
    index = Tiers(matrix, bytes_min=0)
    index.is_quick(ROWS, None, tiers.QUESTIONS_MIN)
    index.maintain(never, None, approximation)
    for question in structured(2 * RECENT_MIN, 90):
        index.approximate(ROWS, question, LIMIT, None, None)
    index.maintain(never, None, approximation)
    gpu = Gpu(Twin(), 3 * ROWS * ROW_BYTES, "flat")
    index.maintain(never, gpu, approximation)
    assert not index.has_lists
    assert index.ready(ROWS) is None
    check_exact(matrix, index)
    assert not index.is_due
    larger = gpu.keep(matrix_of(structured(3 * ROWS, 2)), None)
    assert larger is not None
    assert index.has_lists
    assert index.ready(ROWS) is not None
    assert recall(matrix, index, ROWS) >= 0.99
