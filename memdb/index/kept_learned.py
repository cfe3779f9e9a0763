"""What was learned of rows (`memdb.index.learned`) as blocks of a checkpoint: of a space none, one of directions, one
of codes, and one of lists where there are some, in that order.

::

    block of directions  recipe u64, fitted rows u64, trained rows u64, directions f32 (k, dim padded to 16),
                         steps f32 (k); its rows are k, its two numbers the step of bounds and the skew
    block of codes       codes u8 (rows, k + 2) of the first rows, then u64 numbers of those that no code bounds
    block of lists       lists looked at u64, candidates u64, 1 by distance u64, list u32 of each of the first
                         rows, centres f32 (lists, k)

Rows are those of the space that the checkpoint keeps: of one that is gone it has no code.  The recipe is a number of
all that codes and a breadth depend on beside the rows: what another release made otherwise is passed over and made
anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import xxhash

from memdb.index.basis import BOUND_BYTES, CODE_LIMIT, CODE_ZERO, Basis
from memdb.index.breadth import RECALL_TRAINED
from memdb.index.ivf import LIMIT_MEASURED, LISTS_SHARE_MAX, Breadth
from memdb.index.learned import KeptLearned, KeptLists, Learned, is_whole
from memdb.index.lists import Lists
from memdb.index.matrix import Matrix
from memdb.index.planes import padded
from memdb.types.arrays import Array

DIRECTIONS: Final = 3
CODES: Final = 4
LISTS: Final = 5
KINDS: Final = (DIRECTIONS, CODES, LISTS)
_MADE: Final = 1
"""To be raised when codes are computed otherwise."""
_DEPENDS: Final = (
    *(_MADE, CODE_LIMIT, CODE_ZERO, BOUND_BYTES),
    *(LIMIT_MEASURED, RECALL_TRAINED, LISTS_SHARE_MAX),
)
RECIPE: Final = xxhash.xxh3_64_intdigest(repr(_DEPENDS).encode())
_HEAD_BYTES: Final = 3 * 8


class BadBlock(Exception):
    """A block is none of its kind; the message says why."""


class Block(NamedTuple):
    """One to be written."""

    kind: int
    rows: int
    numbers: tuple[float, float]
    pieces: Iterator[bytes]


def learned_bytes(learned: Learned | None, rows: int) -> int:
    """Bytes that its blocks take at most, of a matrix of so many rows."""
    if learned is None:
        return 0
    basis, lists = learned.sketch.basis, learned.lists
    size = 2 * _HEAD_BYTES + basis.directions.nbytes + basis.steps.nbytes
    size += min(learned.rows, rows) * basis.code_bytes + 8 * len(learned.sketch.unbounded)
    return size if lists is None else size + 4 * lists.rows + lists.centres.places.nbytes


def blocks_of(learned: Learned | None, matrix: Matrix, places: Array) -> list[Block]:
    """Of those rows of a matrix that are kept, ascending; none where none of them has a code."""
    if learned is None:
        return []
    coded = places[: int(np.searchsorted(places, learned.rows))]
    if not len(coded):
        return []
    basis = learned.sketch.basis
    blocks = [
        Block(
            DIRECTIONS,
            len(basis.steps),
            (basis.bound_step, basis.skew),
            iter((_directions(learned, basis),)),
        ),
        Block(CODES, len(coded), (0.0, 0.0), _codes(learned, matrix, coded)),
    ]
    if learned.lists is not None and learned.breadth is not None:
        listed = coded[: int(np.searchsorted(coded, learned.lists.rows))]
        pieces = iter((_lists(learned.lists, learned.breadth, listed),))
        blocks.append(Block(LISTS, len(listed), (0.0, 0.0), pieces))
    return blocks


def _directions(learned: Learned, basis: Basis) -> bytes:
    head = np.array([RECIPE, learned.fitted_rows, learned.trained_rows], "<u8")
    return (
        head.tobytes()
        + basis.directions.astype("<f4").tobytes()
        + basis.steps.astype("<f4").tobytes()
    )


def _codes(learned: Learned, matrix: Matrix, coded: Array) -> Iterator[bytes]:
    for codes in learned.sketch.codes_of(matrix, coded):
        yield codes.tobytes()
    unbounded = np.flatnonzero(np.isin(coded, learned.sketch.unbounded))
    yield unbounded.astype("<u8").tobytes()


def _lists(lists: Lists, breadth: Breadth, listed: Array) -> bytes:
    head = np.array([breadth.lists, breadth.candidates, breadth.by_distance], "<u8")
    homes = lists.homes[listed].astype("<u4")
    return head.tobytes() + homes.tobytes() + lists.centres.places.astype("<f4").tobytes()


class LearnedReader:
    """Makes of the blocks of one space what was learned; each is asked for, filled, and taken."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._basis: Basis | None = None
        self._codes: Array = np.empty((0, 0), np.uint8)
        self._unbounded: Array = np.empty(0, np.int64)
        self._lists: KeptLists | None = None
        self._head: Array = np.zeros(3, "<u8")
        self._seen = 0

    def arrays(self, kind: int, rows: int, length: int) -> list[Array] | None:
        """What to read a block of ``length`` bytes into; None for one to pass over.

        Raises `BadBlock` for one of another length, or out of its order.
        """
        if kind != DIRECTIONS + self._seen:
            raise BadBlock("what was learned is out of its order")
        self._seen += 1
        if kind == DIRECTIONS:
            width = padded(self._dim)
            if length != _HEAD_BYTES + 4 * rows * (width + 1):
                raise BadBlock("directions of another length than their number")
            return [np.empty(3, "<u8"), np.empty((rows, width), "<f4"), np.empty(rows, "<f4")]
        if self._basis is None:
            return None  # of another recipe
        if kind == CODES:
            rest = length - rows * self._basis.code_bytes
            if rest < 0 or rest % 8:
                raise BadBlock("codes of another length than their number")
            codes = np.empty((rows, self._basis.code_bytes), np.uint8)
            return [codes, np.empty(rest // 8, "<i8")]
        each = 4 * len(self._basis.steps)
        rest = length - _HEAD_BYTES - 4 * rows
        if rest <= 0 or rest % each:
            raise BadBlock("lists of another length than their number")
        places = np.empty((rest // each, len(self._basis.steps)), "<f4")
        return [np.empty(3, "<u8"), np.empty(rows, "<u4"), places]

    def take(self, kind: int, numbers: tuple[float, float], arrays: list[Array]) -> None:
        """A block that was read, and matched its checksum."""
        if kind == DIRECTIONS:
            self._head, directions, steps = arrays
            if int(self._head[0]) == RECIPE:
                self._basis = Basis(directions, steps, *numbers)
        elif kind == CODES:
            self._codes, self._unbounded = arrays
        else:
            looked_at, candidates, by_distance = arrays[0].tolist()
            breadth = Breadth(looked_at, candidates, bool(by_distance))
            self._lists = KeptLists(arrays[2], arrays[1], breadth)

    def learned(self, rows: int) -> KeptLearned | None:
        """All of it, of so many rows that are kept; None where nothing was, or by another recipe.

        Raises `BadBlock` where it cannot be of them.
        """
        if self._basis is None:
            return None
        _, fitted_rows, trained_rows = self._head.tolist()
        found = KeptLearned(
            self._basis, fitted_rows, trained_rows, self._codes, self._unbounded, self._lists
        )
        if not 0 < len(found.codes) <= rows or not is_whole(found):
            raise BadBlock("what was learned is not of these rows")
        return found
