"""The native edge's arithmetic for the engine, where the edge is installed and gives what Python gives, to the bit.

The engine does all without it.  It is for users of few rows, whose questions are otherwise some dozens of calls
for products, an order and relevances: one here.  FAISS's function and numpy's loop of exponentials are those
that the process has loaded; the other sums are in numpy's order, which is tried before anything rests on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from memdb.engine.relevance import mean_score, relevances
from memdb.eventlog import event_log
from memdb.index.directions import unit_rows, unit_rows_by, unit_vector
from memdb.index.kernel import inner_products_address
from memdb.index.matrix import Matrix
from memdb.index.planes import padded, split, split_by
from memdb.index.row_codes import RowCodes
from memdb.native import is_installed
from memdb.store.idents import IdKind, ids_by, make_ids, numbered
from memdb.store.plain_clips import stage_by
from memdb.store.rows import stretches_by
from memdb.types import arrays
from memdb.types.arrays import Array

if TYPE_CHECKING:
    import memdb_edge

CODED_MIN: Final = 24
"""``kSketchedMin`` of ``edge/src/best.cc``."""

log = event_log("memdb.engine")


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """That of the edge."""

    inner_products: int
    """The address of FAISS's function."""

    def few(
        self,
        dim: int,
        block: Array,
        listed: Array,
        stream: Array,
        streams: Sequence[tuple[Array, float, float]],
        codes: RowCodes | None,
    ) -> memdb_edge.Few:
        """See `memdb_edge.Few`; codes: of the block, if there are any."""
        import memdb_edge  # noqa: PLC0415 - it need not be there

        its = (None, None) if codes is None else (codes.codes, codes.measures)
        return memdb_edge.Few(
            self.inner_products, np.exp, dim, block, listed, stream, list(streams), *its
        )

    def codes(self, matrix: Matrix, rows: int, answering: int) -> RowCodes | None:
        """See `Matrix.coded`; None also where so few rows answer that all of them are scored sooner."""
        import memdb_edge  # noqa: PLC0415 - it need not be there

        return matrix.coded(rows, memdb_edge.sketch_rows) if answering >= CODED_MIN else None


@cache
def lend() -> None:
    """Have the edge look through the elements of float16 arrays, make what is stored of plain clips, their ids, and
    rows for indexes, and find those that follow each other, wherever in this process that is to be done."""
    if not is_installed():
        return
    import memdb_edge  # noqa: PLC0415 - as above

    arrays.look_by(memdb_edge.are_finite)
    stage_by(memdb_edge.stage_plain)
    stretches_by(memdb_edge.stretches)
    if _makes_ids():
        ids_by(memdb_edge.make_ids)
    else:
        log.warning("the native edge's ids are not those of Python here: not used")
    if _makes_rows():
        unit_rows_by(memdb_edge.unit_rows)
        split_by(memdb_edge.split_rows)
    else:
        log.warning("the native edge's rows are not those of numpy here: not used")


def _makes_ids() -> bool:
    """Whether the edge's ids are those of Python, by trying."""
    import memdb_edge  # noqa: PLC0415 - as above

    # Of no key, of one as users have, of the longest.
    return all(
        memdb_edge.make_ids(bytes(range(length)), numbered(IdKind.CLIP, 254), 4)
        == make_ids(bytes(range(length)), IdKind.CLIP, 254, 4)
        for length in (0, 32, 64)
    )


def _makes_rows() -> bool:
    """Whether the edge's rows are those of Python here, by trying."""
    import memdb_edge  # noqa: PLC0415 - as above

    for dim in (7, 100, 384, 1536):
        for dtype in ("<f2", "<f4"):
            vectors = _numbers(3 * dim).reshape(3, dim).astype(dtype)
            rows = unit_rows(vectors)
            found = memdb_edge.unit_rows(list(vectors))
            if found is None or found.tobytes() != rows.tobytes():
                return False
        ours, theirs = (
            (np.zeros((3, padded(dim)), np.uint16), np.zeros((3, padded(dim)), np.int16))
            for _ in range(2)
        )
        wanted = split(rows, *ours)
        lengths = memdb_edge.split_rows(rows, *theirs)
        if any(one.tobytes() != other.tobytes() for one, other in zip(ours, theirs, strict=True)):
            return False
        if not np.allclose(lengths, wanted, rtol=1e-5):
            return False
    return True


@cache
def arithmetic() -> Arithmetic | None:
    """None where there is none, or it is not Python's."""
    if not is_installed():
        return None
    address = inner_products_address()
    if address is None or not _agrees():
        log.warning("the native edge's arithmetic is not that of the libraries here: not used")
        return None
    return Arithmetic(address)


def _numbers(count: int, first: int = 0) -> Array:
    """(count,) float64 in [-1, 1), as good as drawn: numpy's own generators take 10 ms to load, at each start."""
    mixed = (np.arange(count, dtype=np.uint64) + np.uint64(first)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((mixed ^ (mixed >> np.uint64(31))) * 2.0**-63 - 1.0)


def _agrees() -> bool:
    """Whether the edge's arithmetic is numpy's here, by trying."""
    import memdb_edge  # noqa: PLC0415 - as above

    for dim in (7, 100, 384, 768, 1536, 4000):
        vector = _numbers(dim).astype(np.float32)
        unit = unit_vector(vector)
        mean = _numbers(dim, dim)
        found = memdb_edge.unit_vector(vector)
        if found is None or found.tobytes() != unit.tobytes():
            return False
        if memdb_edge.dot(mean, unit) != mean_score(mean, unit):
            return False
    for count in (1, 4, 10, 64):
        scores = _numbers(count, 1).astype(np.float32)
        means, spreads = _numbers(count, 2), np.abs(_numbers(count, 3)) + 0.01
        things = np.abs(40 * _numbers(count, 4))
        found = memdb_edge.relevances(np.exp, scores, means, spreads, things)
        if found.tobytes() != relevances(scores, means, spreads, things).tobytes():
            return False
    return True
