"""Rows that the native edge makes and splits are those of Python, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from memdb.engine import native
from memdb.index import directions, planes
from memdb.index.directions import unit_rows
from memdb.index.planes import padded, split
from memdb.types.arrays import Array

edge = pytest.importorskip("memdb_edge")

DIMS = [1, 2, 3, 7, 8, 9, 100, 127, 129, 384, 1536, 4000]
KINDS = [("<f2", 1.0), ("<f2", 1e-5), ("<f2", 6e-8), ("<f4", 1.0), ("<f4", 1e-30), ("<f4", 1e30)]


@pytest.fixture
def pythons(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python makes by itself."""
    monkeypatch.setattr(directions, "_made_by", None)
    monkeypatch.setattr(planes, "_split_by", None)


def rows_of(dim: int, dtype: str, scale: float) -> Array:
    rows = (np.random.default_rng(dim).standard_normal((9, dim)) * scale).astype(dtype)
    rows[3], rows[4] = 0, -0.0
    return rows


@pytest.mark.usefixtures("pythons")
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize(("dtype", "scale"), KINDS)
def test_rows_of_length_one(dim: int, dtype: str, scale: float) -> None:
    rows = rows_of(dim, dtype, scale)
    wanted = unit_rows(rows).tobytes()
    for given in (rows, list(rows), [np.frombuffer(row.tobytes(), row.dtype) for row in rows]):
        made = edge.unit_rows(given)
        assert (made.dtype, made.shape) == (np.dtype(np.float32), rows.shape)
        assert made.tobytes() == wanted


@pytest.mark.usefixtures("pythons")
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize(("dtype", "scale"), KINDS)
def test_planes(dim: int, dtype: str, scale: float) -> None:
    rows = rows_of(dim, dtype, scale).astype(np.float32)
    shape = (len(rows), padded(dim))
    ours = np.full(shape, 7, np.uint16), np.full(shape, 7, np.int16)
    theirs = np.zeros(shape, np.uint16), np.zeros(shape, np.int16)
    lengths = edge.split_rows(rows, *ours)
    wanted = split(rows, *theirs)
    assert [plane.tobytes() for plane in ours] == [plane.tobytes() for plane in theirs]
    np.testing.assert_allclose(lengths, wanted, rtol=1e-5, atol=1e-37)
    # They bound what they are told of.
    exact = rows.astype(np.float64)
    heads = (ours[0][:, :dim].astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    for length, left in zip(lengths, (exact - heads, exact), strict=True):
        assert length >= np.linalg.norm(left, axis=1).max()


def test_an_element_next_to_the_largest_is_infinite_in_its_head() -> None:
    rows = np.full((1, 16), np.finfo(np.float32).max, np.float32)
    ours = np.zeros((1, 16), np.uint16), np.zeros((1, 16), np.int16)
    assert edge.split_rows(rows, *ours)[0] == np.inf
    assert set(ours[0].ravel().tolist()) == {0x7F80}


@pytest.mark.parametrize("plain", [False, True])
def test_every_float16_is_widened(plain: bool) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16)
    wanted = halves.view(np.float16).astype(np.float32)
    finite = np.isfinite(wanted)
    widened = edge.widen(halves, plain)
    assert widened[finite].tobytes() == wanted[finite].tobytes()
    assert not np.isfinite(widened[~finite]).any()


@pytest.mark.parametrize(
    "vectors",
    [
        [],
        np.zeros((0, 4), np.float32),
        np.zeros(4, np.float32),
        np.zeros((3, 4), np.float64),
        np.zeros((3, 4), ">f4"),
        np.zeros((4, 8), np.float32)[:, ::2],
        [np.frombuffer(bytes(17), np.float32, offset=1)],  # where no float may lie
        [np.zeros(4, np.float32), np.zeros(5, np.float32)],
        [np.zeros(4, np.float32), np.zeros(4, np.float16)],
        [np.zeros((1, 4), np.float32)],
        [[0.0, 1.0]],
        [np.array([1.0, np.nan], np.float32)],
        [np.array([1.0, np.inf], np.float16)],
    ],
)
def test_what_is_otherwise_is_left_to_python(vectors: object) -> None:
    assert edge.unit_rows(vectors) is None


def test_planes_of_another_shape_are_refused() -> None:
    rows = np.zeros((2, 20), np.float32)
    for shape in ((2, 16), (3, 32), (1, 32)):
        with pytest.raises(ValueError, match="shape"):
            edge.split_rows(rows, np.zeros(shape, np.uint16), np.zeros(shape, np.int16))


def test_it_is_used_where_it_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directions, "_made_by", None)
    monkeypatch.setattr(planes, "_split_by", None)
    native.lend.__wrapped__()
    assert directions._made_by is edge.unit_rows
    assert planes._split_by is edge.split_rows
    monkeypatch.setattr(directions, "_made_by", None)
    monkeypatch.setattr(planes, "_split_by", None)
    monkeypatch.setattr(edge, "unit_rows", lambda vectors: np.zeros((3, len(vectors[0])), "<f4"))
    native.lend.__wrapped__()
    assert directions._made_by is None
    assert planes._split_by is None
