"""Rows by number: dense or not, the row of the number or none."""

from __future__ import annotations

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memdb.index.rows_by_number import RowsByNumber


@given(
    numbers=st.one_of(
        st.lists(st.integers(0, 60), unique=True, max_size=30),
        st.lists(st.integers(0, 2**40), unique=True, max_size=30),
    ),
    others=st.lists(st.integers(0, 2**40), max_size=10),
)
def test_the_row_of_a_number_or_none(numbers: list[int], others: list[int]) -> None:
    rows = [3 * place for place in range(len(numbers))]
    known = dict(zip(numbers, rows, strict=True))
    asked = [*numbers, *others, *range(20)]

    found = RowsByNumber(np.array(numbers, np.uint64), np.array(rows, np.int64))

    expected = [known.get(number, -1) for number in asked]
    assert found.find(np.array(asked, np.uint64)).tolist() == expected


def test_what_was_given_up_takes_nothing() -> None:
    numbers = np.array([5, 300_000_000], np.uint64)
    tracemalloc.start()
    try:
        RowsByNumber(numbers, np.arange(2)).find(numbers)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1e6
