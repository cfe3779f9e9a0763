"""Rows stay what they were, however they lie: whole while they are few, in planes from then on."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from memdb.index import flat
from memdb.index.matrix import WHOLE_ROWS_MAX, Matrix
from memdb.index.planes import Planes, split
from memdb.types.arrays import Array

DIM = 24


def rows_of(count: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)


def planes_of(rows: Array) -> Planes:
    matrix = Matrix(DIM)
    head = np.empty((len(rows), matrix.width), np.uint16)
    tail = np.empty((len(rows), matrix.width), np.int16)
    return Planes(head, tail, *split(rows, head, tail))


@pytest.mark.parametrize(
    "parts",
    [
        (1, WHOLE_ROWS_MAX - 1),
        (WHOLE_ROWS_MAX,),
        (WHOLE_ROWS_MAX + 1,),
        (1, WHOLE_ROWS_MAX),
        (WHOLE_ROWS_MAX, 1, 700),
        (3, 0, 5, 1000),
    ],
)
@pytest.mark.parametrize("adopted", [0, 1, 2])
def test_every_way_to_read_rows_gives_them_back(parts: tuple[int, ...], adopted: int) -> None:
    rows = rows_of(sum(parts))
    matrix = Matrix(DIM)
    done = 0
    for place, count in enumerate(parts):
        part = rows[done : done + count]
        # Planes come before what is written, as when a user is opened.
        if place < adopted:
            matrix.adopt(planes_of(part))
        else:
            matrix.append(part)
        done += count
    numbers = np.arange(done)
    planes = planes_of(rows)
    taken = matrix.take_planes(numbers)
    assert matrix.rows == done
    assert matrix.take(numbers[::-1]).tobytes() == rows[::-1].tobytes()
    assert matrix.take_ascending(numbers)[:, :DIM].tobytes() == rows.tobytes()
    assert (taken.head.tobytes(), taken.tail.tobytes()) == (
        planes.head.tobytes(),
        planes.tail.tobytes(),
    )
    assert matrix.heads(numbers).tobytes() == planes.head.tobytes()
    for first in (0, done // 2, done):
        chunks = list(matrix.chunks(done, first))
        assert [int(no) for chunk in chunks for no in chunk.numbers] == list(range(first, done))
        assert b"".join(chunk.head.tobytes() for chunk in chunks) == planes.head[first:].tobytes()
        assert matrix.take_run(first, done)[:, :DIM].tobytes() == rows[first:].tobytes()
    assert matrix.residual_max >= planes.residual_max
    assert matrix.norm_max >= planes.norm_max


def test_few_rows_take_no_more_than_they_did() -> None:
    matrix = Matrix(DIM)
    matrix.append(rows_of(WHOLE_ROWS_MAX))
    whole = matrix.whole(WHOLE_ROWS_MAX)
    assert whole is not None
    assert whole.nbytes == 4 * WHOLE_ROWS_MAX * matrix.width
    assert matrix.chunk_lengths() == []
    matrix.append(rows_of(1, 2))
    assert matrix.whole(1) is None


def test_readers_see_the_same_rows_while_these_are_split() -> None:
    rows = rows_of(WHOLE_ROWS_MAX + 1)
    query = rows_of(1, 3)[0]
    few = Matrix(DIM)
    few.append(rows[:-1])
    wanted = flat.search(few, WHOLE_ROWS_MAX, query, 5, None)
    wrong: list[object] = []
    for _ in range(30):
        matrix = Matrix(DIM)
        matrix.append(rows[:-1])
        grown = threading.Event()

        def read(matrix: Matrix = matrix, grown: threading.Event = grown) -> None:
            more = True
            while more:
                more = not grown.is_set()  # once more when it has grown
                found = flat.search(matrix, WHOLE_ROWS_MAX, query, 5, None)
                if not all(map(np.array_equal, found, wanted)):
                    wrong.append(found)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        matrix.append(rows[-1:])
        grown.set()
        for reader in readers:
            reader.join()
    assert wrong == []


def marked(rows: Array, codes: Array, measures: Array) -> None:
    """In the place of the native edge's."""
    codes[:] = (100 * rows).astype(np.int32).astype(np.uint8)
    measures[:] = rows[:, :3]


def test_codes_are_made_once_of_each_row() -> None:
    rows = rows_of(WHOLE_ROWS_MAX)
    matrix = Matrix(DIM)
    made: list[int] = []

    def make(block: Array, codes: Array, measures: Array) -> None:
        made.append(len(block))
        marked(block, codes, measures)

    known = []
    for begin, end in ((0, 20), (20, 50), (50, 64), (64, WHOLE_ROWS_MAX)):
        matrix.append(rows[begin:end])
        assert matrix.coded(end, make) is not None
        codes = matrix.coded(end, make)
        assert codes is not None
        known.append((end, codes))
    assert made == [20, 30, 14, WHOLE_ROWS_MAX - 64]
    for end, codes in known:
        whole = matrix.whole(end)
        assert whole is not None
        wanted = np.empty_like(codes.codes), np.empty_like(codes.measures)
        marked(whole, *wanted)
        assert (codes.codes == wanted[0]).all()
        assert (codes.measures == wanted[1]).all()
    fewer = matrix.coded(30, make)
    assert fewer is not None
    assert len(fewer.codes) == len(fewer.measures) == 30


def test_codes_go_with_their_rows() -> None:
    matrix = Matrix(DIM)
    matrix.append(rows_of(40))
    assert matrix.coded(40, marked) is not None
    matrix.wipe(np.array([3, 17]))
    codes = matrix.coded(40, marked)
    assert codes is not None
    assert not codes.codes[[3, 17]].any()
    assert codes.codes[[2, 4, 18]].any(axis=1).all()
    matrix.append(rows_of(WHOLE_ROWS_MAX, 2))
    assert matrix.coded(40, marked) is None
