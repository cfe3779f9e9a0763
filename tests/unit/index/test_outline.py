"""Outlines and scans of heads: no row that reaches 0 is left out, whatever its numbers are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from memdb.index import outline
from memdb.index.matrix import Matrix
from memdb.index.outline import Outline, carried_over, outlined
from memdb.index.passing import passing
from memdb.types.arrays import Array

ROWS, DIM = 500, 100


def alike(rng: np.random.Generator) -> Array:
    """Around a few directions."""
    return rng.normal(size=(ROWS, 6)) @ rng.normal(size=(6, DIM)) + 0.3 * rng.normal(
        size=(ROWS, DIM)
    )


def unit(rng: np.random.Generator) -> Array:
    made = alike(rng)
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True))


def uneven(rng: np.random.Generator) -> Array:
    """Of lengths from next to nothing to very large, and some of none."""
    made = unit(rng) * 10.0 ** rng.uniform(-5, 5, size=(ROWS, 1))
    made[::50] = 0
    return made


def without_likeness(rng: np.random.Generator) -> Array:
    return rng.normal(size=(ROWS, DIM))


KINDS = (alike, unit, uneven, without_likeness)


def exact(rows: Array, beside: Array, query: Array, weights: Array) -> Array:
    """(n,) of what outlines bound; in more digits than are stored."""
    wide = rows.astype(np.longdouble) @ query.astype(np.longdouble)
    return np.asarray(wide + beside.astype(np.longdouble) @ weights.astype(np.longdouble))


@pytest.fixture(autouse=True)
def few_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outline, "DIRECTIONS", 13)


def some(kind: Callable[[np.random.Generator], Array], seed: int) -> tuple[Array, Array, Array]:
    """(rows, beside, queries), some of which are close to rows; one of two columns is what a row is to reach."""
    rng = np.random.default_rng(seed)
    rows = kind(rng).astype(np.float32)
    queries = np.concatenate([kind(rng)[1:21], rows[5:200:10] + 0.1 * kind(rng)[:20]])
    queries = queries.astype(np.float32)
    # For each query the scores of some rows, to the last bit and by one more.
    scores = (rows.astype(np.float64) @ queries.T.astype(np.float64)).astype(np.float32)
    needed = scores[np.arange(ROWS), np.arange(ROWS) % len(queries)].astype(np.float64)
    needed[1::2] = np.quantile(scores, 0.98)
    return rows, np.column_stack([needed, rng.normal(size=ROWS) * 1e-3]), queries


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_reaches_0_is_found(
    kind: Callable[[np.random.Generator], Array], seed: int
) -> None:
    rows, beside, queries = some(kind, seed)
    made = outlined(rows, beside)
    assert made is not None
    matrix = Matrix(DIM + 2)
    stored = np.column_stack([rows, beside.astype(np.float32)])
    for begin in range(0, ROWS, 64):
        matrix.append(stored[begin : begin + 64])
    asked = np.arange(1, ROWS, 3)
    looked_at = 0

    for query in queries:
        weights = np.array([-1, 0.5], np.float32)
        reach = np.flatnonzero(exact(rows, stored[:, DIM:], query, weights) >= 0)
        every = set(reach.tolist())
        part = every & set(asked.tolist())
        found = made.reaching(query, weights, None)
        of_part = made.reaching(query, weights, asked)
        assert found is not None
        assert of_part is not None
        assert every <= set(found.tolist())
        assert part <= set(of_part.tolist())
        assert of_part.tolist() == sorted(set(found.tolist()) & set(asked.tolist()))
        looked_at += len(found)
        scanned = passing(matrix, np.append(query, weights))
        if scanned is not None:
            assert every <= set(scanned.tolist())
            assert (np.diff(scanned) > 0).all()
        scanned = passing(matrix, np.append(query, weights), asked)
        if scanned is not None:
            assert part <= set(scanned.tolist()) <= set(asked.tolist())
    if kind in (alike, unit):
        assert looked_at < ROWS * len(queries) / 2


def test_few_pass_a_scan_where_few_do() -> None:
    rows, beside, queries = some(unit, 0)
    beside[:, 0] = 0.9
    matrix = Matrix(DIM + 2)
    matrix.append(np.column_stack([rows, beside]).astype(np.float32))
    for query in queries:
        query /= np.linalg.norm(query)
        weights = np.array([-1, 0], np.float32)
        scanned = passing(matrix, np.append(query, weights))
        assert scanned is not None
        least = exact(rows, beside, query, weights)[scanned]
        assert (least >= -1e-3).all()


def test_what_was_carried_over_bounds_as_what_was_made_anew() -> None:
    rows, beside, queries = some(unit, 1)
    made = outlined(rows, beside)
    assert made is not None
    others, other_beside, _ = some(uneven, 2)
    new_rows = np.concatenate([others[:40], rows[::2], others[40:60]])
    new_beside = np.concatenate([other_beside[:40], beside[::2], other_beside[40:60]])
    places = np.concatenate([np.full(40, -1), np.arange(0, ROWS, 2), np.full(20, -1)])

    carried = carried_over(made, places, new_rows, new_beside)

    assert carried is not None
    assert np.array_equal(carried.rows[40:-20], made.rows[::2])
    weights = np.array([-1, 0.5], np.float32)
    for query in queries:
        reach = np.flatnonzero(exact(new_rows, new_beside.astype(np.float32), query, weights) >= 0)
        found = carried.reaching(query, weights, None)
        assert found is not None
        assert set(reach.tolist()) <= set(found.tolist())


def made_of(rows: Array) -> Outline | None:
    return outlined(rows.astype(np.float32), np.zeros((len(rows), 1)))


def test_it_says_so_where_it_has_nothing_to_tell() -> None:
    rng = np.random.default_rng(0)
    rows = without_likeness(rng)
    assert made_of(rows[:10]) is None
    assert made_of(rows[:, :10]) is None
    assert made_of(0 * rows) is None
    huge = rows.copy()
    huge[-1] = 1e30
    assert made_of(huge) is None
    made = made_of(rows)
    assert made is not None
    for scale in (0.0, 1e-30, 1e30):
        query = (scale * rows[0]).astype(np.float32)
        assert made.reaching(query, np.array([-1], np.float32), None) is None


def test_a_scan_says_so_where_a_sum_may_overflow_or_most_rows_pass() -> None:
    rng = np.random.default_rng(0)
    rows = without_likeness(rng).astype(np.float32)
    matrix = Matrix(DIM)
    matrix.append(rows)
    assert passing(matrix, np.full(DIM, 1e38, np.float32)) is None
    assert passing(matrix, np.zeros(DIM, np.float32)) is None
    assert passing(matrix, np.full(DIM, np.nan, np.float32)) is None
