"""What is approximate on a GPU is made, follows its matrix, is made anew and given up.

That it finds what is there, under filters, with dead rows and later ones, is in `tests.unit.index.test_indexed`, as of
lists.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from memdb.index import flat, indexed
from memdb.index import gpu as gpu_module
from memdb.index.gpu import Gpu
from memdb.index.indexed import Approximation
from memdb.index.recall import Recall
from memdb.types.arrays import Array
from tests.unit.index.gpu_near.trained import ERROR, ROW_BYTES, begun, check_exact, trained
from tests.unit.index.gpu_twin import Failing, GraphTwin, Twin, flat_twin, lists_twin
from tests.unit.index.test_flat import matrix_of
from tests.unit.index.test_indexed import LIMIT, ROWS, never, noise, recall, structured


def test_rows_that_float16_does_not_hold_are_not_placed(
    kind: str, approximation: Approximation
) -> None:
    matrix = matrix_of(structured(ROWS, 1) * np.float32(1e6))
    gpu = Gpu(Twin(), 1 << 30, kind)
    index = begun(matrix, gpu, approximation)
    index.maintain(never, gpu, approximation)
    assert not gpu.is_lost
    assert gpu.bytes_used == 0
    assert index.indexed.on_gpu.near is None
    near = gpu.keep_near(matrix_of(structured(ROWS, 1)), kind, (), never)
    assert near is not None
    later = matrix_of(np.concatenate([structured(ROWS, 1), structured(64, 2) * np.float32(1e6)]))
    assert not near.extend(later)
    query = structured(1, 3)[0]
    assert near.search(matrix, ROWS, query * np.float32(1e6), LIMIT, None, None) is None


def test_which_kind_it_is_says_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_module, "NEAR_BYTES_MIN", 200 * ROW_BYTES)
    monkeypatch.setattr(gpu_module, "GRAPH_BYTES_MAX", 400 * ROW_BYTES)
    few, middle, many = (matrix_of(structured(count, 1)) for count in (150, 400, 500))
    told = {
        (kind, has_graphs): [
            Gpu(Twin(has_graphs=has_graphs), 1 << 30, kind).near_kind(matrix)
            for matrix in (few, middle, many)
        ]
        for kind in ("auto", "flat", "ivf", "cagra")
        for has_graphs in (True, False)
    }
    assert told["auto", True] == [None, "cagra", "ivf"]
    assert told["auto", False] == [None, "ivf", "ivf"]
    assert told["flat", True] == [None] * 3
    assert told["ivf", True] == ["ivf"] * 3
    assert told["cagra", True] == ["cagra"] * 3
    assert Gpu(Twin(), 1 << 30, "ivf").near_kind(matrix_of(structured(50, 1))) is None


def test_a_graph_that_is_outgrown_is_made_anew(approximation: Approximation) -> None:
    made: list[int] = []

    def graph(width: int) -> Any:
        made.append(width)
        return GraphTwin(width)

    matrix = matrix_of(structured(ROWS, 1))
    gpu = Gpu(Twin(graph=graph), 1 << 30, "cagra")
    index, near = trained(matrix, gpu, approximation)
    matrix.append(structured(ROWS // 8 - 100, 4))
    index.maintain(never, gpu, approximation)
    assert index.indexed.on_gpu.near is near
    assert near.rows > ROWS
    for _ in range(2):
        assert recall(matrix, index, matrix.rows) >= 0.99
        assert recall(matrix, index, ROWS) >= 0.99, "an older view"
    matrix.append(structured(200, 5))
    assert index.is_due
    index.maintain(never, gpu, approximation)
    assert len(made) == 2
    assert index.indexed.on_gpu.near is not near
    assert near.rows == 0
    assert recall(matrix, index, matrix.rows) >= 0.99


def test_a_stop_leaves_it_to_another_time(kind: str, approximation: Approximation) -> None:
    matrix = matrix_of(structured(ROWS, 1))
    for after in (0, 80, 81, 82):
        gpu = Gpu(Twin(), 1 << 30, kind)
        index = begun(matrix, gpu, approximation)
        asked = iter(range(after))
        index.maintain(lambda left=asked: next(left, None) is None, gpu, approximation)  # type: ignore[misc]
        assert index.indexed.on_gpu.near is None
        assert index.is_due, "it is tried again"


def test_others_are_searched_while_it_is_made(kind: str, approximation: Approximation) -> None:
    """To make it takes seconds, and nobody waits for its turn so long."""
    other = matrix_of(structured(500, 2))
    placed: list[Any] = []
    answered: list[bool] = []

    def ask() -> None:
        found = placed[0].search(other, 500, structured(1, 3)[0], LIMIT, None)
        answered.append(found is not None)

    def asks_meanwhile(index: Any) -> Any:
        real = index.train

        class Asking(Failing):
            def train(self, *arguments: Any, **options: Any) -> None:
                thread = threading.Thread(target=ask)
                thread.start()
                thread.join(20)
                real(*arguments, **options)

        return Asking(index, "", 0, ERROR)

    twin = Twin(
        lists=lambda width, count: asks_meanwhile(lists_twin(width, count)),
        graph=lambda width: asks_meanwhile(GraphTwin(width)),
    )
    gpu = Gpu(twin, 1 << 30, kind)
    placed.append(gpu.keep(other, None))
    trained(matrix_of(structured(ROWS, 1)), gpu, approximation)
    assert answered == [True]


def test_what_finds_too_little_looks_at_more_and_is_given_up_in_the_end(
    kind: str, approximation: Approximation, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = matrix_of(structured(ROWS, 1))
    gpu = Gpu(Twin(), 1 << 30, kind)
    index, near = trained(matrix, gpu, approximation)
    monkeypatch.setattr(indexed, "SAMPLE_EVERY", 1)
    monkeypatch.setattr(Recall, "may_compare", True)
    # As if what is asked had moved away from what was measured, and no more may be looked at than that.
    near.reach, near._reach_max = 1, 2
    near._index = Blind(near._index)
    for _ in range(60):
        for question in noise(8, 5):
            index.approximate(ROWS, question, LIMIT, None, None)
        index.maintain(never, gpu, approximation)
        if index.indexed.on_gpu.near is None:
            break
    counts = approximation.recall.counts
    assert counts.widened >= 1
    assert counts.given_up == 1
    check_exact(matrix, index)
    index.maintain(never, gpu, approximation)
    assert index.indexed.on_gpu.near is None, "until it has doubled"


class Blind:
    """Of two rows, it finds one."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @property
    def ntotal(self) -> int:
        return int(self._index.ntotal)

    def search(self, queries: Array, wanted: int, reach: int) -> tuple[Array, Array]:
        scores, numbers = self._index.search(queries, wanted, reach)
        numbers[numbers % 2 == 1] = -1
        return scores, numbers


def test_who_asks_meanwhile_of_whatever_users_is_answered_in_one_turn(
    kind: str, approximation: Approximation
) -> None:
    calls: list[tuple[str, int]] = []
    go_on, begun_one = threading.Event(), threading.Event()

    def watched(name: str, index: Any) -> Any:
        class Watched(Failing):
            def search(self, queries: Array, *arguments: Any, **options: Any) -> Any:
                calls.append((name, len(queries)))
                if calls[-1] == ("first", 1):
                    begun_one.set()
                    assert go_on.wait(20)
                return index.search(queries, *arguments, **options)

        return Watched(index, "", 0, ERROR)

    names = iter(["first", "second"])
    gpu = Gpu(Twin(lambda width: watched(next(names), flat_twin(width))), 1 << 30, kind)
    rows = structured(ROWS, 1)
    matrices = [matrix_of(rows), matrix_of(rows[::-1])]
    placements = [gpu.keep(matrix, None) for matrix in matrices]
    near = gpu.keep_near(matrix_of(rows), kind, (), never)
    assert near is not None
    near.reach = near._reach_max
    near._index = watched("near", near._index)
    questions = structured(7, 3)
    answers: dict[int, Any] = {}

    def ask(number: int) -> None:
        place = number % 3
        if place == 2:
            answers[number] = near.search(matrices[0], ROWS, questions[number], LIMIT, None, None)
        else:
            placement = placements[place]
            assert placement is not None
            answers[number] = placement.search(
                matrices[place], ROWS, questions[number], LIMIT, None
            )

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(7)]
    threads[0].start()
    assert begun_one.wait(20)
    for waiting, thread in enumerate(threads[1:], 1):
        thread.start()
        while gpu._turns.waiting < waiting:
            threading.Event().wait(0.001)
    go_on.set()
    for thread in threads:
        thread.join()
    assert calls == [("first", 1), ("second", 2), ("near", 2), ("first", 2)]
    for number, found in answers.items():
        place = number % 3 % 2
        expected = flat.search(matrices[place], ROWS, questions[number], LIMIT, None)
        assert found.scores.tobytes() == expected[1].tobytes()
