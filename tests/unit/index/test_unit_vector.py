"""One vector is made of unit length as a whole table is, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from memdb.index.directions import unit_rows, unit_vector


@pytest.mark.parametrize("dim", [1, 2, 7, 8, 9, 127, 129, 1536])
@pytest.mark.parametrize(
    ("dtype", "scale"), [("<f2", 1.0), ("<f2", 1e-5), ("<f4", 1e-30), ("<f4", 1e30), ("<f4", 1.0)]
)
def test_equals_its_row_of_a_table(dim: int, dtype: str, scale: float) -> None:
    rows = (np.random.default_rng(dim).standard_normal((9, dim)) * scale).astype(dtype)
    table = unit_rows(rows)
    for row, expected in zip(rows, table, strict=True):
        assert unit_vector(row).tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["<f2", "<f4"])
def test_a_zero_vector_stays_zero(dtype: str) -> None:
    zero = np.zeros(5, dtype)
    assert unit_vector(zero).dtype == np.float32
    assert unit_vector(zero).tobytes() == unit_rows(zero[None]).tobytes()
