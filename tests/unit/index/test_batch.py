"""Questions asked together get what each gets alone, to the last bit, however alike, large or small the
rows are."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memdb.index import batch, flat
from tests.unit.index.test_flat import KINDS, matrix_of, rows_of


@pytest.mark.property
@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    count=st.one_of(st.integers(1, 300), st.integers(500, 1500)),
    dim=st.sampled_from([1, 3, 16, 31, 96, 384]),
    limit=st.integers(1, 60),
    questions=st.integers(1, 40),
    share=st.sampled_from([None, 0.0, 0.02, 0.5, 1.0]),
    scale=st.sampled_from([1.0, 1e-20, 1e15]),
    seed=st.integers(0, 2**32 - 1),
)
def test_questions_together_are_questions_alone(
    kind: str,
    count: int,
    dim: int,
    limit: int,
    questions: int,
    share: float | None,
    scale: float,
    seed: int,
) -> None:
    rows = rows_of(kind, count, dim, seed)
    count = len(rows)
    matrix = matrix_of(rows)
    rng = np.random.default_rng(seed + 1)
    queries = (rng.standard_normal((questions, dim)) * scale).astype(np.float32)
    queries[rng.integers(questions)] = rows[rng.integers(count)]
    allowed = None if share is None else rng.random(count) < share

    with np.errstate(over="ignore", invalid="ignore"):
        alone = [flat.search(matrix, count, query, limit, allowed) for query in queries]
        together = batch.search_many(matrix, count, queries, limit, allowed)

    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one[0], other[0])
        assert np.array_equal(one[1].view(np.uint32), other[1].view(np.uint32))


def test_products_that_round_otherwise_leave_nobody_out() -> None:
    # Every row is within rounding of every other: which are the best, only the kernel says.
    rng = np.random.default_rng(5)
    scene = rng.standard_normal(384).astype(np.float32)
    rows = scene + np.float32(1e-7) * rng.standard_normal((4000, 384)).astype(np.float32)
    matrix = matrix_of(rows)
    queries = np.stack([scene + np.float32(0.01 * n) for n in range(32)])

    together = batch.search_many(matrix, len(rows), queries, 10, None)

    for query, (numbers, scores) in zip(queries, together, strict=True):
        one = flat.search(matrix, len(rows), query, 10, None)
        assert np.array_equal(one[0], numbers)
        assert np.array_equal(one[1], scores)


def test_many_rows_are_taken_some_questions_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_PRODUCTS_BYTES_MAX", 4 * 3000 * 17)
    matrix = matrix_of(rows_of("free", 3000, 32, 1))
    queries = rows_of("free", 40, 32, 2)

    together = batch.search_many(matrix, 3000, queries, 5, None)

    for query, (numbers, _) in zip(queries, together, strict=True):
        assert np.array_equal(flat.search(matrix, 3000, query, 5, None)[0], numbers)


@pytest.mark.parametrize("bytes_max", [4 * 16 * 3, 4 * 16 * 40, 4 * 16 * 600])
def test_candidates_are_held_in_parts(monkeypatch: pytest.MonkeyPatch, bytes_max: int) -> None:
    # Of the first questions all rows are candidates, of the others few: too many for one, or for all of them.
    monkeypatch.setattr(batch, "_CANDIDATES_BYTES_MAX", bytes_max)
    rng = np.random.default_rng(7)
    rows = rows_of("free", 600, 16, 3)
    rows[:, 8:] = 1.0
    queries = np.zeros((40, 16), np.float32)
    queries[:20, 8:] = rng.standard_normal((20, 8))
    queries[20:] = rng.standard_normal((20, 16))
    matrix = matrix_of(rows)

    together = batch.search_many(matrix, 600, queries, 5, None)

    for query, (numbers, scores) in zip(queries, together, strict=True):
        one = flat.search(matrix, 600, query, 5, None)
        assert np.array_equal(one[0], numbers)
        assert np.array_equal(one[1], scores)


def test_rows_that_are_all_alike_are_not_all_held() -> None:
    rows = np.repeat(rows_of("free", 1, 384, 1), 60_000, axis=0)
    matrix = matrix_of(rows)
    queries = rows_of("free", 16, 384, 2)

    tracemalloc.start()
    try:
        batch.search_many(matrix, len(rows), queries, 4, None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # All of them as float32, twice, are 184 MB.
    assert peak < 64e6
