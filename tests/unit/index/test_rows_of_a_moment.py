"""Which rows a moment and a time concern, without a look at all: against a look at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memdb.index import flat
from memdb.index.born import rows_born
from memdb.index.columns import ALIVE
from memdb.index.matrix import Matrix
from memdb.index.partition import ClipRows, Filter, Partition
from memdb.index.time_blocks import BLOCK_ROWS
from memdb.types.arrays import Array

DIM = 8


def rows_of(rng: np.random.Generator, first: int, count: int, birth: int) -> ClipRows:
    start_ns = 1000 * first + rng.integers(-5000, 5000, count).cumsum()
    length = rng.choice([0, 1, 900, 20_000], count)
    return ClipRows(
        clip_no=np.arange(first, first + count, dtype=np.uint64),
        stream_no=rng.integers(0, 3, count).astype(np.uint32),
        epoch=np.zeros(count, np.uint32),
        seq=np.arange(first, first + count, dtype=np.uint64),
        start_ns=start_ns,
        end_ns=start_ns + length,
        sealed=rng.random(count) < 0.9,
        birth=np.full(count, birth, np.uint64),
        death=np.full(count, ALIVE, np.uint64),
        short_memory_bytes=np.zeros(count, np.uint32),
        keyframe_bytes=np.zeros(count, np.uint32),
        vectors=rng.standard_normal((count, DIM)).astype(np.float32),
    )


def plainly_allowed(columns: dict[str, Array], which: Filter, as_of: int) -> Array:
    mask = (columns["birth"] <= as_of) & (columns["death"] > as_of)
    if which.stream_nos is not None:
        mask &= np.isin(columns["stream_no"], which.stream_nos)
    if which.end_ns is not None:
        mask &= columns["start_ns"] < which.end_ns
    if which.start_ns is not None:
        mask &= (columns["end_ns"] > which.start_ns) | (columns["start_ns"] >= which.start_ns)
    return mask


@pytest.mark.parametrize("seed", range(8))
def test_a_filter_admits_what_a_look_at_all_admits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    partition = Partition(DIM, "dot")
    count, birth = 0, 0
    views: list[Any] = []
    while count < 9 * BLOCK_ROWS:
        birth += int(rng.integers(1, 4))
        more = int(rng.choice([1, 7, 300, 1500]))
        partition.extend(rows_of(rng, count, more, birth))
        count += more
        if rng.random() < 0.3:
            partition.remove(rng.choice(count, int(rng.integers(1, 900))).astype(np.uint64))
        views.append((birth, partition.view()))
    for newest, view in views:  # also those from before the partition grew
        for _ in range(12):
            as_of = int(rng.integers(0, newest + 2))
            begin, end = np.sort(rng.integers(-10_000, 1000 * count, 2)).tolist()
            which = Filter(
                (1, 2) if rng.random() < 0.5 else None,
                begin if rng.random() < 0.8 else None,
                end if rng.random() < 0.8 else None,
            )
            plain = plainly_allowed(view.columns, which, as_of)
            assert np.array_equal(view.allowed(which, as_of), plain)
            until = view.until(as_of)
            assert np.array_equal(until.allowed(which, as_of), plain[: until.rows])
            assert not plain[until.rows :].any()
            query = rng.standard_normal(DIM).astype(np.float32)
            for one, two in zip(
                view.search(query, 5, plain),
                until.search(query, 5, plain[: until.rows]),
                strict=True,
            ):
                assert np.array_equal(one, two)


def test_what_lies_outside_a_time_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = Matrix(DIM)
    matrix.append(np.random.default_rng(1).standard_normal((50_000, DIM)).astype(np.float32))
    allowed = np.zeros(50_000, bool)
    allowed[20_000:20_100] = True
    scanned: list[int] = []
    chunks = Matrix.chunks

    def counted(self: Matrix, rows: int, first: int = 0) -> Any:
        for chunk in chunks(self, rows, first):
            scanned.append(len(chunk.numbers))
            yield chunk

    monkeypatch.setattr(Matrix, "chunks", counted)
    query = np.ones(DIM, np.float32)
    rows, scores = flat.search(matrix, 50_000, query, 4, allowed)
    assert sum(scanned) == 100
    everything = flat.all_scores(matrix, 50_000, query)
    best = np.argsort(-everything[20_000:20_100], kind="stable")[:4] + 20_000
    assert rows.tolist() == best.tolist()
    assert np.array_equal(scores, everything[best])


def test_removed_rows_have_no_birth() -> None:
    birth = np.repeat(np.arange(1, 201, dtype=np.uint64), 3)
    for seed in range(50):
        rng = np.random.default_rng(seed)
        holed = birth.copy()
        begin, end = np.sort(rng.integers(0, 600, 2))
        holed[begin:end] = ALIVE
        for revision in range(0, 202, 5):
            there = np.flatnonzero(holed <= revision)
            rows = rows_born(holed, revision)
            assert rows >= (there[-1] + 1 if len(there) else 0)
            later = np.flatnonzero((holed > revision) & (holed != ALIVE))
            assert not len(later) or rows <= later[0]


def test_a_filter_that_admits_everything_is_none() -> None:
    """A search looks at a mask row by row, and takes whoever has one for a question about a part."""
    rng = np.random.default_rng(1)
    partition = Partition(DIM, "dot")
    count = 6 * BLOCK_ROWS + 5
    partition.extend(rows_of(rng, 0, count, 1))
    view = partition.view()
    first, last = int(view.columns["start_ns"].min()), int(view.columns["start_ns"].max())
    assert view.allowed(Filter((0, 1, 2)), None) is None
    assert view.allowed(Filter(None, first, last + 1), None) is None
    assert view.allowed(Filter((0, 1, 2), first), None) is None
    assert view.allowed(Filter(None, first + 100_000), None) is not None
    partition.remove(np.arange(7, dtype=np.uint64))
    later = partition.view()
    assert later.head_alive is not None
    for which in (Filter(), Filter((2, 1, 0)), Filter((0, 1, 2), first, last + 1)):
        assert later.allowed(which, None) is later.head_alive
        assert view.allowed(which, None) is None
