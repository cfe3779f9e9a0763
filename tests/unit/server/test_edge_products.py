"""Products by which the native edge tells which rows are worth reading: near enough, on any processor."""

from __future__ import annotations

import numpy as np
import pytest

from memdb.index.planes import split

pytest.importorskip("memdb_edge", reason="the native edge is not installed")

import memdb_edge


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("width", [1, 63, 64, 80, 128, 256, 1536, 4096])
def test_products_of_codes_are_as_near_as_they_say(width: int, plain: bool) -> None:
    rng = np.random.default_rng(width)
    codes = rng.integers(0, 256, (30, width), np.uint8)
    codes[0], codes[1] = 0, 255
    for values in (
        rng.standard_normal(width),
        np.ones(width),
        -np.ones(width),
        np.zeros(width),
        rng.standard_normal(width) * 1e-20,
        rng.standard_normal(width) ** 9 * 1e6,
    ):
        weights = values.astype(np.float32)
        found, slack = memdb_edge.code_products(codes, weights, plain)
        exact = (codes.astype(np.float64) - 128) @ weights.astype(np.float64)
        rounding = 1e-5 * np.abs(weights).sum() * 128
        assert (np.abs(found - exact) <= slack + rounding).all()


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("width", [16, 48, 64, 384, 1536])
def test_products_of_heads(width: int, plain: bool) -> None:
    rng = np.random.default_rng(width)
    row, vector = rng.standard_normal((2, width)).astype(np.float32)
    head, tail = np.empty((1, width), np.uint16), np.empty((1, width), np.int16)
    split(row[None], head, tail)
    heads = (head[0].astype(np.uint32) << 16).view(np.float32)
    exact = float(heads.astype(np.float64) @ vector.astype(np.float64))
    lengths = float(np.linalg.norm(heads) * np.linalg.norm(vector))
    found = memdb_edge.head_product(head[0], vector, plain)
    assert abs(found - exact) <= width * 2.0**-24 * lengths
