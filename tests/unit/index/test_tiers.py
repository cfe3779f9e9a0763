"""Whatever the tiers do in the background, answers stay those of a search of all rows."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from memdb.index import flat, pruned, tiers
from memdb.index.matrix import Matrix
from memdb.index.tiers import BLOCK_ROWS, LATE_ROWS, QUESTIONS_MIN, REST_QUESTIONS, TRIED_MIN, Tiers
from memdb.types.arrays import Array
from tests.unit.index.test_flat import matrix_of
from tests.unit.index.test_sketch import made

DIM = 384


def never() -> bool:
    return False


def check(matrix: Matrix, index: Tiers, query: Array, limit: int = 4) -> None:
    rows = matrix.rows
    found, expected = (
        index.search(rows, query, limit, None),
        flat.search(matrix, rows, query, limit, None),
    )
    assert found[0].tolist() == expected[0].tolist()
    assert found[1].tobytes() == expected[1].tobytes()


def asked(matrix: Matrix, index: Tiers) -> None:
    for query in made("scenes", QUESTIONS_MIN, DIM, seed=99):
        check(matrix, index, query)


def test_codes_come_with_questions() -> None:
    matrix = matrix_of(made("scenes", 4000, DIM, seed=1))
    index = Tiers(matrix, bytes_min=0)
    assert not index.is_due, "nobody has asked"
    asked(matrix, index)
    assert index.is_due
    index.maintain(never)
    assert not index.is_due
    assert index.coded_rows == 4000, "the last ones too: who has no code is read whole"
    for query in made("scenes", 20, DIM, seed=2):
        check(matrix, index, query)
    check(matrix, index, made("free", 1, DIM, seed=2)[0])


def test_few_rows_get_no_codes() -> None:
    matrix = matrix_of(made("scenes", tiers.SKETCH_ROWS_MIN - 1, DIM, seed=1))
    index = Tiers(matrix, bytes_min=0)
    asked(matrix, index)
    assert not index.is_due


def test_rows_that_come_later_are_found_before_and_after_they_get_codes() -> None:
    matrix = matrix_of(made("scenes", 3000, DIM, seed=1))
    index = Tiers(matrix, bytes_min=0)
    asked(matrix, index)
    index.maintain(never)
    later = made("scenes", 700, DIM, seed=3)
    for begin in range(0, 700, 100):
        matrix.append(later[begin : begin + 100])
        check(matrix, index, later[begin])
        assert index.search(matrix.rows, later[begin], 1, None)[0].tolist() == [3000 + begin]
    assert index.is_due
    index.maintain(never)
    assert index.coded_rows == matrix.rows
    matrix.append(later[: LATE_ROWS - 1])
    assert not index.is_due, "a few may wait"
    matrix.append(later[:1])
    assert index.is_due
    for query in later[::100]:
        check(matrix, index, query)
    # An older view does not see them.
    assert (index.search(3000, later[0], 10, None)[0] < 3000).all()


def test_four_times_the_rows_get_a_new_basis() -> None:
    matrix = matrix_of(made("scenes", 2100, DIM, seed=1))
    index = Tiers(matrix, bytes_min=0)
    asked(matrix, index)
    index.maintain(never)
    first = index._sketch
    assert first is not None
    matrix.append(made("scenes", 4 * 2100, DIM, seed=2))
    index.maintain(never)
    assert index._sketch is not None
    assert index._sketch.basis is not first.basis
    check(matrix, index, made("scenes", 1, DIM, seed=2)[0])


def test_a_stop_leaves_the_rest_to_another_time() -> None:
    matrix = matrix_of(made("scenes", 3000, DIM, seed=1))
    index = Tiers(matrix, bytes_min=0)
    asked(matrix, index)
    index.maintain(never)
    matrix.append(made("scenes", 2000, DIM, seed=2))
    steps = iter([False, False, True])
    index.maintain(lambda: next(steps))
    assert index.coded_rows == 3000 + 2 * BLOCK_ROWS
    check(matrix, index, made("scenes", 1, DIM, seed=2)[0])
    assert index.is_due


def test_codes_that_tell_too_little_get_longer_and_then_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matrix = matrix_of(made("free", 5000, 768, seed=1))
    index = Tiers(matrix, bytes_min=0)
    queries = made("free", 2 * TRIED_MIN + 40, 768, seed=2)
    tried: list[int] = []
    real = pruned.search

    def counted(*args: object) -> object:
        tried.append(1)
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(pruned, "search", counted)
    for query in queries[-QUESTIONS_MIN:]:
        check(matrix, index, query)
    index.maintain(never)
    short = index._sketch
    assert short is not None
    for query in queries[:TRIED_MIN]:
        check(matrix, index, query)
    assert index.is_due, "longer codes are wanted"
    index.maintain(never)
    assert index._sketch is not None
    assert index._sketch.basis.code_bytes == 2 * short.basis.code_bytes
    for query in queries[TRIED_MIN : 2 * TRIED_MIN]:
        check(matrix, index, query)
    assert len(tried) == 2 * TRIED_MIN
    for query in queries[2 * TRIED_MIN :]:
        check(matrix, index, query)
    assert len(tried) == 2 * TRIED_MIN, "they rest"
    for _ in range(REST_QUESTIONS - 40):
        index.search(5000, queries[0], 4, None)
    check(matrix, index, queries[0])
    assert len(tried) == 2 * TRIED_MIN + 1, "and are tried again"


def test_rows_that_have_become_others_lose_their_codes() -> None:
    matrix = matrix_of(made("scenes", 3000, DIM, seed=1))
    index = Tiers(matrix, bytes_min=0)
    asked(matrix, index)
    index.maintain(never)
    matrix.append(made("large", 1000, DIM, seed=2))
    index.maintain(never)
    assert index.coded_rows == 0
    check(matrix, index, made("scenes", 1, DIM, seed=2)[0])


def test_readers_a_writer_and_the_upkeep_at_once() -> None:
    rows = made("scenes", 9000, DIM, seed=1)
    matrix = matrix_of(rows[:2500])
    index = Tiers(matrix, bytes_min=0)
    asked(matrix, index)
    ended = threading.Event()
    failures: list[BaseException] = []

    def run(work: object) -> threading.Thread:
        def guarded() -> None:
            try:
                while not ended.is_set():
                    work()  # type: ignore[operator]
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=guarded)
        thread.start()
        return thread

    rng = np.random.default_rng(1)

    def read() -> None:
        seen = matrix.rows
        query = rows[int(rng.integers(seen))]
        found, expected = (
            index.search(seen, query, 5, None),
            flat.search(matrix, seen, query, 5, None),
        )
        assert found[0].tolist() == expected[0].tolist()
        assert found[1].tobytes() == expected[1].tobytes()

    threads = [run(read), run(lambda: index.maintain(ended.is_set))]
    for begin in range(2500, 9000, 50):
        matrix.append(rows[begin : begin + 50])
    index.maintain(never)
    ended.set()
    for thread in threads:
        thread.join()
    assert not failures
    check(matrix, index, rows[0])
