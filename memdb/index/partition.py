"""The clips of one user in one space: exact search under filters, at any revision.

A row is one *version* of a clip, alive in revisions [birth, death).  Rows are only ever appended,
in the order (birth, clip number), so that a rebuilt partition is equal to the one that grew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memdb.index import flat
from memdb.index.columns import ALIVE, Columns
from memdb.index.directions import unit_vector
from memdb.index.matrix import Matrix
from memdb.types.arrays import Array


@dataclass(frozen=True, slots=True)
class ClipRows:
    """Versions of clips to be added: columns of one length, in (birth, clip number) order."""

    clip_no: Array
    stream_no: Array
    epoch: Array
    seq: Array
    start_ns: Array
    end_ns: Array
    sealed: Array
    birth: Array
    death: Array
    vectors: Array
    """(n, dim) float32 from `memdb.index.directions.prepared_rows`."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows may answer; None does not restrict."""

    stream_nos: tuple[int, ...] | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    sealed_only: bool = False

    @property
    def empty(self) -> bool:
        """Whether it restricts nothing."""
        return (
            self.stream_nos is None
            and self.start_ns is None
            and self.end_ns is None
            and not self.sealed_only
        )


@dataclass(frozen=True, slots=True)
class PartitionView:
    """A partition as of one commit; immutable, searched without a lock."""

    dim: int
    cosine: bool
    rows: int
    matrix: Matrix
    columns: dict[str, Array]
    head_alive: Array | None
    """(rows,) bool at the view's revision; None when every row is alive."""

    def allowed(self, which: Filter, as_of: int | None) -> Array | None:
        """(rows,) bool of the rows that ``which`` admits at ``as_of`` (None: at the view's own
        revision).
        """
        column = self.columns
        mask: Array | None
        if as_of is None:
            mask = self.head_alive
        else:
            mask = (column["birth"] <= np.uint64(as_of)) & (column["death"] > np.uint64(as_of))
        if which.empty:
            return mask
        mask = np.ones(self.rows, bool) if mask is None else mask.copy()
        if which.stream_nos is not None:
            mask &= np.isin(column["stream_no"], np.array(which.stream_nos, np.uint32))
        if which.end_ns is not None:
            mask &= column["start_ns"] < which.end_ns
        if which.start_ns is not None:
            # A clip of no length counts as a point.
            mask &= (column["end_ns"] > which.start_ns) | (column["start_ns"] >= which.start_ns)
        if which.sealed_only:
            mask &= column["sealed"]
        return mask

    def unit(self, vector: Array) -> Array:
        """(dim,) float32 query, of unit length in a cosine space."""
        return unit_vector(vector) if self.cosine else np.ascontiguousarray(vector, np.float32)

    def search(self, query: Array, limit: int, allowed: Array | None) -> tuple[Array, Array]:
        """(rows, scores) of the ``limit`` best allowed rows, best first; ``query`` from `unit`."""
        return flat.search(self.matrix, self.rows, query, limit, allowed)

    def scores(self, query: Array, allowed: Array | None) -> tuple[Array, Array]:
        """(rows, scores) of every allowed row, in row order."""
        return flat.allowed_scores(self.matrix, self.rows, query, allowed)


class Partition:
    """The growing side; one writer."""

    def __init__(self, dim: int, metric: str) -> None:
        self._cosine = metric == "cosine"
        self._matrix = Matrix(dim)
        self._columns = Columns(
            clip_no=np.uint64,
            stream_no=np.uint32,
            epoch=np.uint32,
            seq=np.uint64,
            start_ns=np.int64,
            end_ns=np.int64,
            sealed=np.bool_,
            birth=np.uint64,
            death=np.uint64,
        )
        self._open_rows: dict[int, int] = {}
        self._head_alive: Array | None = None

    def extend(self, added: ClipRows) -> None:
        """Add versions; a version of a clip that is still open ends the version before it."""
        first = self._columns.rows
        superseded: list[int] = []
        death = added.death.copy()
        for offset, (clip_no, sealed) in enumerate(
            zip(added.clip_no.tolist(), added.sealed.tolist(), strict=True)
        ):
            if clip_no in self._open_rows:
                row = self._open_rows.pop(clip_no)
                birth = int(added.birth[offset])
                if row < first:
                    self._columns.set("death", row, birth)
                else:
                    death[row - first] = birth
                superseded.append(row)
            if not sealed:
                self._open_rows[clip_no] = first + offset
        self._columns.append(
            clip_no=added.clip_no,
            stream_no=added.stream_no,
            epoch=added.epoch,
            seq=added.seq,
            start_ns=added.start_ns,
            end_ns=added.end_ns,
            sealed=added.sealed,
            birth=added.birth,
            death=death,
        )
        self._matrix.append(added.vectors)
        if superseded or self._head_alive is not None:
            alive = np.ones(self._columns.rows, bool)
            if self._head_alive is not None:
                alive[: len(self._head_alive)] = self._head_alive
            alive[superseded] = False
            self._head_alive = alive

    def view(self) -> PartitionView:
        """What readers may use from now on."""
        return PartitionView(
            self._matrix.dim,
            self._cosine,
            self._columns.rows,
            self._matrix,
            self._columns.views(),
            self._head_alive,
        )


__all__ = ["ALIVE", "ClipRows", "Filter", "Partition", "PartitionView"]
