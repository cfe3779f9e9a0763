"""Exact search against numpy, at every share of admitted rows, and views that do not move."""

from __future__ import annotations

import numpy as np
import pytest

from memdb.index import flat
from memdb.index.columns import ALIVE
from memdb.index.directions import prepared_rows
from memdb.index.matrix import CHUNK_ROWS_MIN, Matrix
from memdb.index.partition import ClipRows, Filter, Partition
from memdb.types.arrays import Array

DIM = 16


def vectors(rows: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((rows, DIM)).astype(np.float32)


def clip_rows(numbers: list[int], birth: int, *, sealed: bool = True, seed: int = 0) -> ClipRows:
    count = len(numbers)
    return ClipRows(
        clip_no=np.array(numbers, np.uint64),
        stream_no=np.array(numbers, np.uint32) % 3,
        epoch=np.zeros(count, np.uint32),
        seq=np.array(numbers, np.uint64),
        start_ns=np.array(numbers, np.int64) * 10,
        end_ns=np.array(numbers, np.int64) * 10 + 10,
        sealed=np.full(count, sealed),
        birth=np.full(count, birth, np.uint64),
        death=np.full(count, ALIVE, np.uint64),
        short_memory_bytes=np.full(count, 100, np.uint32),
        keyframe_bytes=np.full(count, 10, np.uint32),
        vectors=prepared_rows(vectors(count, seed), cosine=True),
    )


@pytest.mark.parametrize("rows", [1, CHUNK_ROWS_MIN - 1, CHUNK_ROWS_MIN, 3000])
@pytest.mark.parametrize("share", [None, 0.0, 0.01, 0.2, 0.5, 0.99, 1.0])
def test_the_best_admitted_rows_as_numpy_finds_them(rows: int, share: float | None) -> None:
    content = vectors(rows)
    matrix = Matrix(DIM)
    for begin in range(0, rows, 700):
        matrix.append(content[begin : begin + 700])
    query = vectors(1, seed=1)[0]
    allowed = None if share is None else np.random.default_rng(2).random(rows) < share
    found, scores = flat.search(matrix, rows, query, 10, allowed)
    truth = content @ query
    admitted = np.arange(rows) if allowed is None else np.flatnonzero(allowed)
    wanted = admitted[np.lexsort((admitted, -truth[admitted]))][:10]
    assert found.tolist() == wanted.tolist()
    assert np.allclose(scores, truth[wanted], atol=1e-4)
    assert np.allclose(flat.all_scores(matrix, rows, query), truth, atol=1e-4)


def test_a_view_does_not_see_what_comes_after_it() -> None:
    partition = Partition(DIM, "cosine")
    partition.extend(clip_rows(list(range(300)), 1))
    view = partition.view()
    query = view.unit(vectors(1, seed=5)[0])
    before = [part.tolist() for part in view.search(query, 5, view.allowed(Filter(), None))]
    for birth in range(2, 40):
        partition.extend(clip_rows(list(range(birth * 300, birth * 300 + 300)), birth, seed=birth))
    after = [part.tolist() for part in view.search(query, 5, view.allowed(Filter(), None))]
    assert after == before
    head = partition.view()
    mask = head.allowed(Filter(), 1)
    assert mask is not None
    assert [part.tolist() for part in head.search(query, 5, mask)] == before


def test_a_version_ends_when_the_next_begins() -> None:
    partition = Partition(DIM, "cosine")
    for birth, sealed in ((1, False), (2, False), (3, True)):
        partition.extend(clip_rows([7], birth, sealed=sealed, seed=birth))
    view = partition.view()
    for revision, row in ((0, []), (1, [0]), (2, [1]), (3, [2]), (9, [2])):
        mask = view.allowed(Filter(), revision)
        assert mask is not None
        assert np.flatnonzero(mask).tolist() == row
    head = view.allowed(Filter(), None)
    assert head is not None
    assert np.flatnonzero(head).tolist() == [2]
    sealed_only = view.allowed(Filter(sealed_only=True), 2)
    assert sealed_only is not None
    assert not sealed_only.any()


def test_versions_added_one_by_one_are_those_that_come_together() -> None:
    """Of clips that stay open, are sealed at once, or grow long after others have come."""
    rng = np.random.default_rng(3)
    one_by_one, together = Partition(DIM, "cosine"), Partition(DIM, "cosine")
    open_clips: set[int] = set()
    for birth in range(1, 400):
        fresh = birth if not open_clips or rng.random() < 0.5 else rng.choice(sorted(open_clips))
        sealed = bool(rng.random() < 0.7)
        (open_clips.discard if sealed else open_clips.add)(int(fresh))
        rows = clip_rows([int(fresh)], birth, sealed=sealed, seed=birth)
        together.extend(rows)
        names = [name for name in rows.__slots__ if name not in ("death", "vectors", "content")]
        values = {name: getattr(rows, name)[0].item() for name in names}
        one_by_one.add(**values, vector=rows.vectors[0], content=0)  # type: ignore[index]  # an array
        found, wanted = one_by_one.view(), together.view()
        assert found.rows == wanted.rows
        for name, column in wanted.columns.items():
            assert found.columns[name].dtype == column.dtype
            assert np.array_equal(found.columns[name], column), name
        assert np.array_equal(found.head_alive, wanted.head_alive)  # type: ignore[arg-type]  # None too
        assert one_by_one.open_start_ns(int(fresh)) == together.open_start_ns(int(fresh))
    every = np.arange(found.rows)
    assert np.array_equal(found.matrix.take(every), wanted.matrix.take(every))
    assert (found.matrix.norm_max, found.matrix.residual_max) == (
        wanted.matrix.norm_max,
        wanted.matrix.residual_max,
    )


def test_filters_are_anded() -> None:
    partition = Partition(DIM, "dot")
    partition.extend(clip_rows(list(range(30)), 1))
    mask = partition.view().allowed(Filter((0, 2), 100, 200), None)
    assert mask is not None
    assert np.flatnonzero(mask).tolist() == [n for n in range(10, 20) if n % 3 != 1]
