"""Few rows by a byte an element: what is told of a row is right, and the best are those of all rows though most of them
are not read.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from memdb.index.flat import row_scores
from memdb.index.kernel import inner_products_address
from memdb.index.row_codes import MEASURES
from memdb.types.arrays import Array

pytest.importorskip("memdb_edge", reason="the native edge is not installed")

import memdb_edge

WIDTHS = (16, 48, 64, 80, 384, 1536)
LIMITS = (1, 2, 10, 40)
INNER_PRODUCTS = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t
)


def odd_rows(rng: np.random.Generator, count: int, width: int) -> Array:
    """Unit rows and what no unit row is: equal, opposite, of few values, of one, next to nothing, zeros, long."""
    rows = rng.standard_normal((count, width))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    kinds = rng.integers(0, 12, count)
    for row in range(count):
        other = rows[rng.integers(0, count)]
        match kinds[row]:
            case 0:
                rows[row] = other
            case 1:
                rows[row] = -other
            case 2:
                rows[row] = np.sign(rows[row]) / np.sqrt(width)
            case 3:
                rows[row] = 0
                rows[row, rng.integers(0, width)] = rng.choice([1, -1])
            case 4:
                rows[row] *= rng.choice([1e-44, 1e-38, 1e-30, 1e-12, 1e6])
            case 5:
                rows[row] = 0
            case 6:
                rows[row] = rows[row] ** 5 * 100  # one element is most of it
            case 7:
                rows[row] = other + rng.standard_normal(width) * 1e-8  # in the order of rounding
    return rows.astype(np.float32)


def odd_query(rng: np.random.Generator, rows: Array) -> Array:
    """Near to a row, or to none."""
    query = rows[rng.integers(0, len(rows))] * rng.integers(0, 2)
    if rng.random() < 0.2:
        query = np.zeros(rows.shape[1], np.float32)
        query[rng.integers(0, rows.shape[1])] = 1
    scale = rng.choice([0, 1e-3, 1])
    query = (query + rng.standard_normal(rows.shape[1]) * scale).astype(np.float32)
    return query if np.linalg.norm(query) > 1e-20 else np.ones(rows.shape[1], np.float32)


def sketched(rows: Array) -> tuple[Array, Array]:
    codes = np.empty(rows.shape, np.uint8)
    measures = np.empty((len(rows), MEASURES), np.float32)
    memdb_edge.sketch_rows(rows, codes, measures)
    return codes, measures


def few(
    rows: Array,
    listed: Array | None = None,
    address: int | None = None,
    codes: tuple[Array, Array] | None = None,
) -> memdb_edge.Few:
    width = rows.shape[1]
    listed = np.arange(len(rows)) if listed is None else listed
    address = inner_products_address() if address is None else address
    assert address is not None
    streams = [(np.full(width, 1e-3), 0.1, 20.0), (np.arange(width) / width, 0.2, 30.0)]
    return memdb_edge.Few(
        address, np.exp, width, rows, listed, listed % 2, streams, *(codes or (None, None))
    )


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_score_is_farther_from_that_of_the_code_than_is_told(width: int, plain: bool) -> None:
    rng = np.random.default_rng(width)
    for _ in range(20):
        rows = odd_rows(rng, 60, width)
        query = odd_query(rng, rows)
        told = memdb_edge.sketched_products(*sketched(rows), query, plain)
        assert told is not None
        products, bounds = told
        assert (np.abs(row_scores(rows, query) - products) <= bounds).all()
        # And as much nearer than that as makes it worth it: a unit row is within a fiftieth.
        unit = np.abs(np.linalg.norm(rows.astype(np.float64), axis=1) - 1) < 1e-3
        flat = np.abs(rows).max(axis=1) < 6 / np.sqrt(width)
        length = np.linalg.norm(query)
        assert (bounds[unit & flat] < 0.02 * length).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e20])
def test_of_a_row_that_is_no_number_nothing_is_told(wrong: float) -> None:
    rows = np.ones((30, 16), np.float32)
    rows[7, 3] = wrong
    assert memdb_edge.sketched_products(*sketched(rows), np.ones(16, np.float32), False) is None


@pytest.mark.parametrize("width", WIDTHS)
def test_the_best_are_those_of_all_rows(width: int) -> None:
    rng = np.random.default_rng(width + 1)
    for count in (1, 23, 24, 25, 100, 256):
        for _ in range(6):
            rows = odd_rows(rng, count, width)
            chosen = np.flatnonzero(rng.random(count) < rng.choice([0.5, 1]))
            listed = chosen if len(chosen) else np.arange(count)
            plain, quick = few(rows, listed), few(rows, listed, codes=sketched(rows))
            for limit in (*LIMITS, count + 5):
                query = odd_query(rng, rows)
                assert quick.best(query, limit) == plain.best(query, limit)


def test_where_all_rows_are_equal_the_first_are_the_best() -> None:
    rows = np.full((50, 48), 48**-0.5, np.float32)
    found = few(rows, codes=sketched(rows)).best(np.ones(48, np.float32), 5)
    assert found is not None
    assert found[0] == [0, 1, 2, 3, 4]


def test_most_rows_are_not_read() -> None:
    rng = np.random.default_rng(9)
    rows = rng.standard_normal((200, 1536)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    read: list[int] = []

    def counted(out: int, query: int, block: int, dim: int, count: int) -> None:
        read.append(count)
        vectors = np.ctypeslib.as_array((ctypes.c_float * (dim * count)).from_address(block))
        asked = np.ctypeslib.as_array((ctypes.c_float * dim).from_address(query))
        found = np.ctypeslib.as_array((ctypes.c_float * count).from_address(out))
        found[:] = row_scores(vectors.reshape(count, dim), asked)

    kept: Any = INNER_PRODUCTS(counted)
    address = ctypes.cast(kept, ctypes.c_void_p).value
    query = rng.standard_normal(1536).astype(np.float32)
    wanted = few(rows, address=address).best(query, 10)
    assert sum(read) == 200
    read.clear()
    assert few(rows, address=address, codes=sketched(rows)).best(query, 10) == wanted
    assert 10 <= sum(read) < 60


@pytest.mark.parametrize("shape", [(20, 16), (30, 32), (30,)])
def test_codes_of_other_rows_are_refused(shape: tuple[int, ...]) -> None:
    rows = np.ones((30, 16), np.float32)
    codes, measures = sketched(rows)
    for wrong in (
        (np.zeros(shape, np.uint8), measures),
        (codes, measures[:20]),
        (codes, None),
        (None, measures),
    ):
        with pytest.raises(ValueError, match=r"codes|measures"):
            few(rows, codes=wrong)  # type: ignore[arg-type]  # that is what is refused
