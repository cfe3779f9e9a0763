"""What is approximate on a GPU is placed within its room, follows its matrix, and is left alone where anything fails.

That it finds what is there, under filters, with dead rows and later ones, is in `tests.unit.index.test_indexed`, as of
lists.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np
import pytest

from memdb.index import flat, gpu_flat, gpu_near, gpu_placed, indexed, ivf, tiers
from memdb.index import gpu as gpu_module
from memdb.index.gpu import Gpu
from memdb.index.gpu_near import NearPlacement
from memdb.index.indexed import RECENT_MIN, Approximation
from memdb.index.matrix import Matrix
from memdb.index.recall import Recall
from memdb.index.tiers import Tiers
from memdb.types.arrays import Array
from tests.unit.index.gpu_twin import Failing, GraphTwin, Twin, flat_twin, lists_twin
from tests.unit.index.test_flat import matrix_of
from tests.unit.index.test_indexed import LIMIT, ROWS, never, noise, recall, structured

KINDS = ("ivf", "cagra")
ROW_BYTES = 2 * 256


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ivf, "ALLOWED_MIN", 100)
    monkeypatch.setattr(gpu_module, "PLACE_ROWS_MIN", 100)
    monkeypatch.setattr(gpu_flat, "PLACE_ROWS_MIN", 100)
    monkeypatch.setattr(gpu_placed, "PLACE_ROWS", 64)
    monkeypatch.setattr(gpu_near, "NEAR_PLACE_ROWS", 64)
    monkeypatch.setattr(gpu_near, "LATE_MAX", 256)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def approximation() -> Approximation:
    return Approximation(100)


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


def test_each_has_room_for_what_it_takes_for_itself(kind: str) -> None:
    """Of many users with few rows that is the most of it."""
    matrices = [matrix_of(structured(ROWS, seed)) for seed in (1, 2, 3)]
    one = gpu_near.KINDS[kind].bytes_of(ROWS, 256)
    gpu = Gpu(Twin(own_bytes=5 * one), 12 * one, kind)
    kept = [gpu.keep_near(matrix, kind, (), never) for matrix in matrices]
    assert [near is not None for near in kept] == [True, True, False]
    assert gpu.bytes_used == 12 * one


def test_no_memory_to_make_it_leaves_the_gpu(kind: str, approximation: Approximation) -> None:
    matrix = matrix_of(structured(ROWS, 1))
    gpu = Gpu(failing("train", 0, MemoryError("no room")), 1 << 30, kind)
    index = begun(matrix, gpu, approximation)
    index.maintain(never, gpu, approximation)
    assert not gpu.is_lost
    assert gpu.bytes_used == ROWS // 64 * 64 * ROW_BYTES, "flat as before"
    check_exact(matrix, index)
    assert not index.is_due, "until it has doubled"


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
