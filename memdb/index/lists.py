"""The codes of a matrix's rows, those of neighbouring rows together: what an inverted file (IVF) reads.

Rows belong to the list of the nearest of some centres, which k-means finds among the codes themselves:
a code says where a row is in the few directions in which rows differ most (`memdb.index.basis`), and in
so few k-means is quick.  Later rows join the lists of the same centres when enough of them have come;
until then they are searched beside the lists.

Whatever centres are is no matter of right and wrong: a search that looks at some lists only looks at
whole rows in the end, and how many lists that takes is measured (`memdb.index.breadth`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from memdb.index import faiss_later as faiss
from memdb.index.basis import BOUND_BYTES, CODE_ZERO, Basis
from memdb.index.matrix import Matrix
from memdb.index.nearby import Nearby
from memdb.index.sketch import Sketch
from memdb.types.arrays import Array

_LISTS_PER_ROOT: Final = 1.6
"""Lists for each square root of the rows: 506 of 100,000, 1,600 of a million."""
LISTS_MIN: Final = 16
_SAMPLE_PER_LIST: Final = 64
_ROUNDS: Final = 8
_SEED: Final = 1967
_BLOCK_ROWS: Final = 8192
"""Rows that are assigned at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Centres:
    """Where the rows of the lists are."""

    places: Array
    """(lists, directions) float32."""
    halves: Array
    """(lists,) float32, half of the squared length of each."""

    @classmethod
    def of(cls, places: Array) -> Self:
        """places: (lists, directions) float32."""
        return cls(places, np.einsum("ij,ij->i", places, places) / np.float32(2))

    def nearest(self, places: Array) -> Array:
        """(n,) uint32 the list of each of (n, directions) places."""
        return np.asarray((places @ self.places.T - self.halves).argmax(axis=1), np.uint32)


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """The first `rows` rows with codes of a sketch, by list; immutable."""

    sketch: Sketch
    centres: Centres
    nearby: Nearby
    """What tells which of them a question is near."""
    homes: Array
    """(rows,) uint32, the list of each row."""
    offsets: Array
    """(lists + 1,) int64: where each list begins in what follows."""
    numbers: Array
    """(rows,) int64 row numbers, ascending within a list."""
    codes: Array
    """(rows, code_bytes) u8."""

    @property
    def rows(self) -> int:
        """So many rows are in lists."""
        return len(self.homes)

    @property
    def count(self) -> int:
        """Lists."""
        return len(self.centres.halves)

    def part(self, which: int) -> tuple[Array, Array]:
        """(codes, row numbers) of one list, as views."""
        rows = slice(*self.offsets[which : which + 2].tolist())
        return self.codes[rows], self.numbers[rows]

    def size_of(self, which: Array) -> int:
        """Rows of some lists."""
        return int((self.offsets[which + 1] - self.offsets[which]).sum())


def places_of(codes: Array, basis: Basis) -> Array:
    """(n, directions) float32: where rows are, as their codes tell."""
    return (codes[:, :-BOUND_BYTES].astype(np.float32) - CODE_ZERO) * basis.steps


def find_centres(matrix: Matrix, sketch: Sketch, stop: Callable[[], bool]) -> Centres | None:
    """Centres of the rows that have codes; None where there are too few of them, or ``stop`` said so.

    On the calling thread alone, a second or some for 100,000 rows and half a minute for a million: ``stop`` is
    asked before each of `_ROUNDS`.
    """
    rows = sketch.rows
    count = int(_LISTS_PER_ROOT * rows**0.5)
    if count < LISTS_MIN:
        return None
    chosen = np.linspace(0, rows - 1, min(rows, _SAMPLE_PER_LIST * count)).astype(np.int64)
    sample = np.empty((len(chosen), len(sketch.basis.steps)), np.float32)
    done = first = 0
    for codes, _ in sketch.parts(matrix, 0, rows):
        end = int(np.searchsorted(chosen, first + len(codes)))
        sample[done:end] = places_of(codes[chosen[done:end] - first], sketch.basis)
        done, first = end, first + len(codes)
    clustering = faiss.Clustering(sample.shape[1], count)
    clustering.niter = 1
    clustering.seed = _SEED
    clustering.min_points_per_centroid = 1
    clustering.max_points_per_centroid = _SAMPLE_PER_LIST
    # Which is set for this thread alone: questions have the other processors.
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        index = faiss.IndexFlatL2(sample.shape[1])
        for _ in range(_ROUNDS):
            if stop():
                return None
            clustering.train(sample, index)  # from the centres of the round before
    finally:
        faiss.omp_set_num_threads(threads)
    places = faiss.vector_to_array(clustering.centroids).reshape(count, -1).copy()
    return Centres.of(places)


def grouped(
    matrix: Matrix,
    sketch: Sketch,
    centres: Centres,
    stop: Callable[[], bool],
    before: Lists | None = None,
) -> Lists | None:
    """The rows that have codes now, by list; None when ``stop`` said so.

    before: of the same sketch and centres, of fewer rows, which stay where they are.
    """
    rows = sketch.rows
    homes = np.empty(rows, np.uint32)
    done = 0
    if before is not None:
        done = before.rows
        homes[:done] = before.homes
    for codes, _ in sketch.parts(matrix, done, rows):
        for begin in range(0, len(codes), _BLOCK_ROWS):
            if stop():
                return None
            block = codes[begin : begin + _BLOCK_ROWS]
            homes[done : done + len(block)] = centres.nearest(places_of(block, sketch.basis))
            done += len(block)
    return arranged(matrix, sketch, centres, homes, stop, None if before is None else before.nearby)


def arranged(
    matrix: Matrix,
    sketch: Sketch,
    centres: Centres,
    homes: Array,
    stop: Callable[[], bool] = lambda: False,
    nearby: Nearby | None = None,
) -> Lists | None:
    """The first rows, of which the list of each is known, by list; None when ``stop`` said so.

    homes: (rows,) uint32, of rows that have codes.  nearby: that of the same centres, where there is one.
    """
    rows = len(homes)
    if nearby is None:
        nearby = Nearby.of(sketch.basis, centres.places, centres.halves)
    numbers = np.argsort(homes, kind="stable")
    sizes = np.bincount(homes, minlength=len(centres.halves))
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    place = np.empty(rows, np.int64)
    place[numbers] = np.arange(rows)
    by_list = np.empty((rows, sketch.basis.code_bytes), np.uint8)
    for codes, its_numbers in sketch.parts(matrix, 0, rows):
        if stop():
            return None
        by_list[place[its_numbers]] = codes
    return Lists(sketch, centres, nearby, homes, offsets, numbers, by_list)
