"""Codes never bound a row too low, and a search by them gives what a search of all rows gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memdb.index import flat, pruned
from memdb.index.basis import CODE_ZERO, Basis, fit
from memdb.index.sketch import Sketch
from memdb.types.arrays import Array
from tests.unit.index.test_flat import KINDS, matrix_of, rows_of

CODE_BYTES = 64
COMMON = {
    "dim": st.sampled_from([128, 200, 384]),
    "kind": st.sampled_from(["scenes", *KINDS]),
    "later": st.sampled_from(["scenes", *KINDS]),
    "scale": st.sampled_from([1.0, 1e-20, 1e-5, 1e15]),
    "seed": st.integers(0, 2**32 - 1),
}


def made(kind: str, count: int, dim: int, seed: int) -> Array:
    if kind != "scenes":
        return rows_of(kind, count, dim, seed)
    rng = np.random.default_rng(seed)
    scenes = rng.standard_normal((20, dim)).astype(np.float32)
    noise = rng.standard_normal((count, dim)).astype(np.float32)
    rows = scenes[rng.integers(20, size=count)] + np.float32(0.4) * noise
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def basis_of(kind: str, dim: int, seed: int) -> Basis | None:
    with np.errstate(all="ignore"):
        return fit(matrix_of(made(kind, 400, dim, seed)).take_padded(np.arange(400)), CODE_BYTES)


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(**COMMON)
def test_no_code_bounds_its_row_too_low(
    dim: int, kind: str, later: str, scale: float, seed: int
) -> None:
    basis = basis_of(kind, dim, seed)
    if basis is None:
        return
    rows = np.concatenate([made(kind, 200, dim, seed), made(later, 200, dim, seed + 1)])
    matrix = matrix_of(rows)
    with np.errstate(all="ignore"):
        rows = matrix.take_padded(np.arange(len(rows)))
        query = (np.random.default_rng(seed).standard_normal(dim) * scale).astype(np.float32)
        # Of a row itself as well: nothing scores higher.
        for asked in (query, np.array(rows[seed % len(rows)][:dim])):
            weighed = basis.query(flat.padded_query(asked, matrix.width), matrix.norm_max)
            if weighed is None:
                continue
            weights, rounding = weighed
            codes, bounded = basis.encode(rows)
            bounds = (codes.astype(np.float32) - CODE_ZERO) @ weights + np.float64(rounding)
            scores = flat.row_scores(rows, flat.padded_query(asked, matrix.width))
            assert (bounds[bounded] >= scores[bounded]).all()


@pytest.mark.property
@settings(max_examples=100, deadline=None)
@given(
    **COMMON,
    limit=st.sampled_from([1, 4, 30]),
    share=st.sampled_from([None, 0.0, 0.3, 0.9]),
    rows=st.integers(700, 1600),
)
def test_a_search_by_codes_is_a_search_of_all_rows_or_none(
    dim: int,
    kind: str,
    later: str,
    scale: float,
    seed: int,
    limit: int,
    share: float | None,
    rows: int,
) -> None:
    basis = basis_of(kind, dim, seed)
    if basis is None:
        return
    matrix = matrix_of(
        np.concatenate([made(kind, 900, dim, seed), made(later, 700, dim, seed + 1)])
    )
    sketch = Sketch(basis)
    with np.errstate(all="ignore"):
        while matrix.rows - sketch.rows >= 250 and sketch.extend(matrix, 250):
            pass
        rng = np.random.default_rng(seed)
        allowed = None if share is None else rng.random(rows) < share
        queries = [rng.standard_normal(dim) * scale, matrix.take(np.array([seed % rows]))[0]]
        for query in (np.asarray(query, np.float32) for query in queries):
            found = pruned.search(matrix, sketch, rows, query, limit, allowed)
            if found is None:
                continue
            numbers, scores = flat.search(matrix, rows, query, limit, allowed)
            assert found.numbers.tolist() == numbers.tolist()
            assert found.scores.tobytes() == scores.tobytes()


def test_codes_of_scenes_tell_enough() -> None:
    rows = made("scenes", 3000, 384, seed=5)
    matrix = matrix_of(rows)
    basis = fit(matrix.take_padded(np.arange(2000)), CODE_BYTES)
    assert basis is not None
    sketch = Sketch(basis)
    assert sketch.extend(matrix, 2900)
    assert len(sketch.unbounded) == 0
    for row in range(0, 3000, 300):
        query = rows[row] + np.float32(0.01)
        found = pruned.search(matrix, sketch, 3000, query, 4, None)
        assert found is not None
        numbers, scores = flat.search(matrix, 3000, query, 4, None)
        assert found.numbers.tolist() == numbers.tolist()
        assert found.scores.tobytes() == scores.tobytes()


def test_a_row_unlike_the_sample_is_scored_all_the_same() -> None:
    rows = made("scenes", 2000, 384, seed=6)
    rows[1234] = np.random.default_rng(1).standard_normal(384).astype(np.float32) * 50
    matrix = matrix_of(rows)
    basis = fit(np.delete(rows, 1234, axis=0), CODE_BYTES)
    assert basis is not None
    sketch = Sketch(basis)
    assert sketch.extend(matrix, 2000)
    assert sketch.unbounded.tolist() == [1234]
    query = rows[1234] / np.float32(50)
    found = pruned.search(matrix, sketch, 2000, query, 1, None)
    assert found is not None
    assert found.numbers.tolist() == [1234]
    # Its code is all zeros, which may not bring it in a second time.
    found = pruned.search(matrix, sketch, 2000, query, 4, None)
    assert found is None or len(set(found.numbers.tolist())) == 4


@pytest.mark.parametrize(
    "sample",
    [
        np.zeros((500, 384), np.float32),
        np.full((500, 384), np.nan, np.float32),
        np.full((500, 384), 1e30, np.float32),
        np.ones((100, 384), np.float32),
        np.ones((500, 64), np.float32),
    ],
    ids=["zeros", "no numbers", "too large", "few rows", "few dimensions"],
)
def test_a_sample_that_tells_nothing_gives_no_basis(sample: Array) -> None:
    assert fit(sample, CODE_BYTES) is None


def test_a_fit_is_the_same_every_time() -> None:
    rows = made("scenes", 1000, 128, seed=1)
    first, second = fit(rows, CODE_BYTES), fit(rows, CODE_BYTES)
    assert first is not None
    assert second is not None
    assert first.directions.tobytes() == second.directions.tobytes()
    assert first.skew < 1e-5
