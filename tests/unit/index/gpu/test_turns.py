"""One call of a GPU at a time: who waits goes in the next one, and nothing is made or dropped beside it."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest

from memdb.index import flat, gpu_placed
from memdb.index.gpu import Gpu
from memdb.index.gpu_flat import FlatPlacement
from memdb.index.gpu_placed import PLACE_ROWS
from memdb.index.gpu_turns import Turns
from memdb.index.tiers import Tiers
from memdb.types.arrays import Array
from tests.unit.engine.test_interrupted import entering
from tests.unit.index.gpu.placing import DIM, ROWS, Make, Watched, placed, same
from tests.unit.index.gpu_twin import Twin, flat_twin
from tests.unit.index.test_flat import matrix_of
from tests.unit.index.test_sketch import made


def test_who_asks_while_one_is_searched_for_goes_in_the_next_call(make: Make, rows: Array) -> None:
    watched = Watched(make(DIM))
    matrix = matrix_of(rows)
    gpu = Gpu(Twin(lambda _: watched), 1 << 30)
    placement = placed(gpu, matrix)
    queries = made("scenes", 6, DIM, seed=3)
    answers: dict[int, Any] = {}

    def ask(number: int) -> None:
        answers[number] = placement.search(matrix, ROWS, queries[number], 4 + number, None)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    watched.go_on.clear()
    threads[0].start()
    assert watched.begun.wait(20)
    for thread in threads[1:]:
        thread.start()
    while gpu._turns.waiting < 5:
        threading.Event().wait(0.001)
    watched.go_on.set()
    for thread in threads:
        thread.join()
    assert watched.calls == [1, 5]
    for number, found in answers.items():
        expected = flat.search(matrix, ROWS, queries[number], 4 + number, None)
        assert same((found.numbers, found.scores), expected)


@pytest.mark.parametrize(
    "function", [Turns.__enter__, Turns.__exit__, Turns.ask, FlatPlacement.answer]
)
def test_an_interrupt_takes_the_gpu_from_nobody(rows: Array, function: Any) -> None:
    """Ctrl-C of who asks, wherever it comes."""
    matrix = matrix_of(rows)
    gpu = Gpu(Twin(), 1 << 30)
    placement = placed(gpu, matrix)
    interrupt = entering(function)
    with interrupt.within():
        placement.search(matrix, ROWS, rows[0], 4, None)
    assert interrupt.came
    assert not gpu._turns.lock.locked()
    assert placement.search(matrix, ROWS, rows[0], 4, None) is not None


def test_whoever_closes_waits_for_a_call_at_most(
    rows: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To place the rows of the largest takes a minute, and a server that is stopped has fifteen seconds."""
    monkeypatch.setattr(gpu_placed, "block_of", lambda *_: PLACE_ROWS)
    gpu, matrix = Gpu(Twin(), 1 << 30), matrix_of(rows)
    steps = iter([False, False, True])
    placement = gpu.keep(matrix, None, stop=lambda: next(steps))
    assert placement is not None
    assert placement.rows == 2 * PLACE_ROWS
    index = Tiers(matrix)
    index._placement = placement
    index._rows_min = 1
    found = index.search(ROWS, rows[0], 4, None)
    assert same(found, flat.search(matrix, ROWS, rows[0], 4, None))
    assert gpu.keep(matrix, placement) is placement
    assert placement.rows == ROWS // PLACE_ROWS * PLACE_ROWS


class Ending:
    """An index that tells whether anybody else was in a call as it was made, and as it went."""

    def __init__(self, width: int, gpu: list[Gpu], alone: list[bool]) -> None:
        self.index = flat_twin(width)
        self._gpu = gpu
        self._alone = alone
        self._note()

    def _note(self) -> None:
        # Whose turn it is holds the lock: nobody else can have it.
        self._alone.append(self._gpu[0]._turns.lock.locked())

    @property
    def ntotal(self) -> int:
        return int(self.index.ntotal)

    def add(self, rows: Array) -> None:
        self.index.add(rows)

    def search(self, queries: Array, wanted: int) -> tuple[Array, Array]:
        scores, numbers = self.index.search(queries, wanted)
        return scores, numbers

    def __del__(self) -> None:
        self._note()


def test_an_index_is_made_and_goes_when_no_other_call_is_under_way(rows: Array) -> None:
    """As of a user who is closed or erased while somebody else asks."""
    alone: list[bool] = []
    gpus: list[Gpu] = []
    gpus.append(Gpu(Twin(lambda width: Ending(width, gpus, alone)), 1 << 30))
    (gpu,) = gpus
    matrix, other = matrix_of(rows), matrix_of(rows)
    kept, dropped = placed(gpu, matrix), placed(gpu, other)
    assert alone == [True, True]

    with gpu._turns.lock, gpu._turns:
        del dropped
        gc.collect()
        assert alone == [True, True]  # not in the middle of this one
    assert alone == [True, True, True]

    assert kept.search(matrix, matrix.rows, rows[0], 1, None) is not None
    del kept
    gc.collect()
    assert alone == [True] * 4
    assert gpu.bytes_used == 0
