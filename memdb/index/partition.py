"""The clips of one user in one space: exact search under filters, at any revision.

A row is one *version* of a clip, alive in revisions [birth, death).  Rows are only ever appended,
in the order (birth, clip number), so that a rebuilt partition is equal to the one that grew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np

from memdb.index import flat
from memdb.index.born import rows_born
from memdb.index.columns import ALIVE, Columns
from memdb.index.directions import unit_vector
from memdb.index.learned import KeptLearned
from memdb.index.matrix import CHUNK_ROWS_MAX, Matrix
from memdb.index.names import ClipNames, Names
from memdb.index.planes import Planes
from memdb.index.tiers import Tiers
from memdb.index.time_blocks import TimeBlocks
from memdb.types.arrays import Array
from memdb.types.label_filter import LabelFilter

REMOVED_ROWS_MAX: Final = 4096
"""Rows that are gone and still take memory, at least; more than half of all are cleared away."""


_FILTERED: Final = ("stream_no", "sealed", "birth", "death")
_STREAMS_FEW: Final = 4


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
    short_memory_bytes: Array
    keyframe_bytes: Array
    vectors: Array | Planes
    """(n, dim) float32 from `memdb.index.directions.prepared_rows`, or such that were split already."""
    content: Array | None = None
    """xxh3_64 of each vector's bytes in the store, 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows may answer; None does not restrict."""

    stream_nos: tuple[int, ...] | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    sealed_only: bool = False
    labels: LabelFilter = ()

    @property
    def empty(self) -> bool:
        """Whether it restricts nothing."""
        return (
            self.stream_nos is None
            and self.start_ns is None
            and self.end_ns is None
            and not self.sealed_only
            and not self.labels
        )


@dataclass(frozen=True, slots=True)
class PartitionView:
    """A partition as of one commit; immutable, searched without a lock."""

    dim: int
    cosine: bool
    rows: int
    matrix: Matrix
    tiers: Tiers
    """The ways to search the matrix."""
    columns: dict[str, Array]
    head_alive: Array | None
    """(rows,) bool at the view's revision; None when every row is alive."""
    names: Names
    nulls: dict[tuple[int, int | None], Any] = field(default_factory=dict)
    """What was made of the rows of a stream (number) at a revision, for the questions to come."""
    times: TimeBlocks = field(default_factory=TimeBlocks)
    """Where in the rows a time is."""

    def allowed(
        self, which: Filter, as_of: int | None, *, every_version: bool = False
    ) -> Array | None:
        """(rows,) bool of the rows that ``which`` admits at ``as_of`` (None: at the view's own
        revision; with ``every_version``: at any).
        """
        if which.labels:
            others = self.allowed(replace(which, labels=()), as_of, every_version=every_version)
            labelled = self.names.labelled.mask(which.labels, self.rows)
            return labelled if others is None else labelled & others
        if which.start_ns is None and which.end_ns is None:
            return self._allowed(which, as_of, every_version, 0, self.rows)
        starts, ends = self.columns["start_ns"], self.columns["end_ns"]
        first, last, partly = self.times.hull(starts, ends, which.start_ns, which.end_ns)
        inside = self._allowed(which, as_of, every_version, first, last)
        mask = np.zeros(self.rows, bool)
        mask[first:last] = True
        for begin, end in partly:
            run = mask[begin:end]
            if which.end_ns is not None:
                run &= starts[begin:end] < which.end_ns
            if which.start_ns is not None:
                # A clip of no length counts as a point.
                run &= (ends[begin:end] > which.start_ns) | (starts[begin:end] >= which.start_ns)
        if last - first == self.rows and mask.all():
            return inside
        if inside is not None:
            mask[first:last] &= inside
        return mask

    def _allowed(
        self, which: Filter, as_of: int | None, every_version: bool, first: int, last: int
    ) -> Array | None:
        """`allowed` of rows [first, last), whatever their time and labels; None where all of them are."""
        mask: Array | None = None
        is_free = which.stream_nos is None and not which.sealed_only
        if as_of is None and not every_version:
            mask = self.head_alive
            # Itself where it is all of it: a search tells by that whether a filter chose the rows.
            if mask is not None and last - first < self.rows:
                mask = mask[first:last]
            if is_free:
                return mask
        column = {name: self.columns[name][first:last] for name in _FILTERED}
        if every_version:
            mask = column["birth"] != ALIVE
        elif as_of is not None:
            mask = (column["birth"] <= np.uint64(as_of)) & (column["death"] > np.uint64(as_of))
        if which.stream_nos is not None:
            of_streams = _is_any(column["stream_no"], which.stream_nos)
            # A user's only camera, named, is no filter.
            if not of_streams.all():
                mask = of_streams if mask is None else mask & of_streams
        if which.sealed_only:
            mask = column["sealed"].copy() if mask is None else mask & column["sealed"]
        return mask

    def until(self, as_of: int) -> Self:
        """Without the rows of later commits, which cannot answer: to ask as of a revision costs what it
        did then, however much was written since.
        """
        rows = rows_born(self.columns["birth"], as_of)
        if rows == self.rows:
            return self
        return replace(
            self,
            rows=rows,
            columns={name: column[:rows] for name, column in self.columns.items()},
            head_alive=None if self.head_alive is None else self.head_alive[:rows],
        )

    def narrowed(self, by: Any, make: Callable[[], Array]) -> Array:
        """A mask that ``make`` narrows further; ``by``: what tells it from any other of this partition."""
        return make()

    def unit(self, vector: Array) -> Array:
        """(dim,) float32 query, of unit length in a cosine space."""
        return unit_vector(vector) if self.cosine else np.ascontiguousarray(vector, np.float32)

    def search(self, query: Array, limit: int, allowed: Array | None) -> tuple[Array, Array]:
        """(rows, scores) of the ``limit`` best allowed rows, best first; ``query`` from `unit`."""
        return self.tiers.search(self.rows, query, limit, allowed)

    @property
    def is_whole(self) -> bool:
        """Whether there are so few rows that all are scored, which takes no time worth a thought."""
        return self.rows == 0 or self.matrix.whole(self.rows) is not None

    def near(self, query: Array, limit: int, allowed: Array | None) -> tuple[Array, Array] | None:
        """About what `search` gives, with its scores, in a fraction of its time; None where that is to be asked.

        Only for questions about the view's own revision, ``allowed`` from `allowed` with ``as_of`` None.
        """
        found = self.tiers.approximate(self.rows, query, limit, allowed, self.head_alive)
        return None if found is None else (found.numbers, found.scores)

    def scores_of(self, query: Array, rows: Array) -> Array:
        """(n,) float32 scores of some rows."""
        return flat.row_scores(
            self.matrix.take_padded(rows), flat.padded_query(query, self.matrix.width)
        )

    def scores(self, query: Array, allowed: Array | None) -> tuple[Array, Array]:
        """(rows, scores) of every allowed row, in row order."""
        return flat.allowed_scores(self.matrix, self.rows, query, allowed)


def _is_any(column: Array, numbers: tuple[int, ...]) -> Array:
    """(n,) bool: which of the stream numbers of a column are among some."""
    if len(numbers) > _STREAMS_FEW:
        return np.isin(column, np.array(numbers, np.uint32))
    # Each in a tenth of the time of `numpy.isin`.
    found = np.zeros(len(column), bool)
    for number in numbers:
        found |= column == np.uint32(number)
    return found


class Partition:
    """The growing side; one writer."""

    def __init__(self, dim: int, metric: str) -> None:
        self._cosine = metric == "cosine"
        self._matrix = Matrix(dim)
        self._tiers = Tiers(self._matrix)
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
            short_memory_bytes=np.uint32,
            keyframe_bytes=np.uint32,
            content=np.uint64,
        )
        self._names = Names()
        self._times = TimeBlocks()
        self._removed = 0
        """Rows that are no more there at any revision."""
        self._open_rows: dict[int, int] = {}
        self._head_alive: Array | None = None

    def reserve(self, count: int) -> None:
        """Have room beside the matrix for so many more versions, for who adds them piece by piece."""
        self._columns.reserve(count)

    def extend(self, added: ClipRows) -> None:
        """Add versions; a version of a clip that is still open ends the version before it."""
        first = self._columns.rows
        superseded: list[int] = []
        death = added.death.copy()
        # Of plain clips nothing else is: none ends another, and none will be ended.
        are_all_new = not self._open_rows and bool(added.sealed.all())
        numbered = [] if are_all_new else added.clip_no.tolist()
        for offset, (clip_no, sealed) in enumerate(
            zip(numbered, added.sealed.tolist() if numbered else (), strict=True)
        ):
            if clip_no in self._open_rows:
                row = self._open_rows.pop(clip_no)
                birth = int(added.birth[offset])
                # Unless a version between the two, which is not here since it is damaged, ended it.
                if row >= first:
                    death[row - first] = min(int(death[row - first]), birth)
                elif self._columns.get("death", row) > birth:
                    self._columns.set("death", row, birth)
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
            short_memory_bytes=added.short_memory_bytes,
            keyframe_bytes=added.keyframe_bytes,
            content=np.zeros(len(death), np.uint64) if added.content is None else added.content,
        )
        if isinstance(added.vectors, Planes):
            self._matrix.adopt(added.vectors)
        else:
            self._matrix.append(added.vectors)
        # Ended by a later one, or by one that is not here because it is damaged.
        ended = (death != ALIVE).nonzero()[0] + first
        self._end_rows([*superseded, *ended.tolist()])

    def add(
        self,
        *,
        clip_no: int,
        stream_no: int,
        epoch: int,
        seq: int,
        start_ns: int,
        end_ns: int,
        sealed: bool,
        birth: int,
        short_memory_bytes: int,
        keyframe_bytes: int,
        vector: Array,
        content: int,
    ) -> None:
        """`extend` by one version that is current, as a camera brings them: without an array for each of its columns,
        in half of the time.

        vector: (dim,) float32 from `memdb.index.directions.prepared_rows`.
        """
        row = self._columns.rows
        before = self._open_rows.pop(clip_no, None)
        if before is not None and self._columns.get("death", before) > birth:
            self._columns.set("death", before, birth)
        if not sealed:
            self._open_rows[clip_no] = row
        self._columns.append_row(
            clip_no=clip_no,
            stream_no=stream_no,
            epoch=epoch,
            seq=seq,
            start_ns=start_ns,
            end_ns=end_ns,
            sealed=sealed,
            birth=birth,
            death=ALIVE,
            short_memory_bytes=short_memory_bytes,
            keyframe_bytes=keyframe_bytes,
            content=content,
        )
        self._matrix.append(vector[None])
        self._end_rows([] if before is None else [before])

    def _end_rows(self, ended: list[int]) -> None:
        """Some rows are not current any more, and those that were added are."""
        if ended or self._head_alive is not None:
            alive = np.ones(self._columns.rows, bool)
            if self._head_alive is not None:
                alive[: len(self._head_alive)] = self._head_alive
            alive[ended] = False
            self._head_alive = alive

    def learn(self, kept: KeptLearned) -> None:
        """Take what was learned of the first rows before, once all of them are there."""
        learned = kept.of(self._matrix)
        if learned is not None:
            self._tiers.learn(learned)

    def settle(self, planes: Planes, make: Callable[[], Planes]) -> None:
        """`Matrix.settle` of rows that were added."""
        self._matrix.settle(planes, make)

    @property
    def columns(self) -> dict[str, Array]:
        """Views of the columns of all rows."""
        return self._columns.views()

    def open_start_ns(self, clip_no: int) -> int | None:
        """Where a clip that is still open begins, None where there is none."""
        row = self._open_rows.get(clip_no)
        return None if row is None else int(self._columns.get("start_ns", row))

    def first_start_ns(self, stream_no: int, epoch: int) -> int | None:
        """Where the earliest clip of an epoch begins, None where there is none."""
        columns = self._columns.views()
        chosen = (columns["stream_no"] == np.uint32(stream_no)) & (
            columns["epoch"] == np.uint32(epoch)
        )
        chosen &= (columns["death"] == ALIVE) & (columns["birth"] != ALIVE)
        starts = columns["start_ns"][chosen]
        return int(starts.min()) if len(starts) else None

    def forget_names(self) -> None:
        """Have no row named; views keep the names that they have."""
        self._names = Names()

    def name(self, names: Sequence[ClipNames]) -> None:
        """Say what the next rows that have no names yet are called."""
        self._names.add(names)

    def remove(self, clip_nos: Array) -> None:
        """Take every version of some clips away, at every revision."""
        self._take_away(np.isin(self._columns.views()["clip_no"], clip_nos))
        for clip_no in clip_nos.tolist():
            self._open_rows.pop(clip_no, None)

    def remove_versions(self, versions: Collection[tuple[int, int, int]]) -> None:
        """Take superseded versions away, (clip number, birth, death) each, at every revision; the
        version before one lasts until the one after it."""
        nos = np.array([no for no, _, _ in versions], np.uint64)
        rows = np.flatnonzero(np.isin(self._columns.views()["clip_no"], nos))
        self._took_away(self._columns.take_versions("clip_no", rows, versions))

    def thin(self, clip_nos: Array, name: str) -> None:
        """Note that clips hold no bytes of a kind any more."""
        rows = np.flatnonzero(np.isin(self._columns.views()["clip_no"], clip_nos))
        self._columns.set(name, rows, 0)

    def _take_away(self, chosen: Array) -> None:
        chosen = chosen & (self._columns.views()["birth"] != ALIVE)
        rows = np.flatnonzero(chosen)
        if not len(rows):
            return
        self._columns.end_ever(rows)
        self._took_away(rows)

    def _took_away(self, rows: Array) -> None:
        alive = np.ones(self._columns.rows, bool)
        if self._head_alive is not None:
            alive = self._head_alive.copy()
        alive[rows] = False
        self._head_alive = alive
        self._removed += len(rows)
        if self._removed > max(REMOVED_ROWS_MAX, self._columns.rows // 2):
            self._compact()

    def _compact(self) -> None:
        """Make everything anew without the rows that are gone; views keep the old."""
        kept = np.flatnonzero(self._columns.views()["birth"] != ALIVE)
        places = np.cumsum(self._columns.views()["birth"] != ALIVE) - 1
        self._names.fill(self._columns.rows)
        self._names = self._names.without(self._columns.views()["birth"] != ALIVE, places)
        matrix = Matrix(self._matrix.dim)
        for begin in range(0, len(kept), CHUNK_ROWS_MAX):
            matrix.append(self._matrix.take(kept[begin : begin + CHUNK_ROWS_MAX]))
        self._matrix = matrix
        self._tiers = Tiers(matrix)
        self._columns = self._columns.kept(kept)
        self._times = TimeBlocks()
        self._open_rows = {no: int(places[row]) for no, row in self._open_rows.items()}
        alive = self._columns.views()["death"] == ALIVE
        self._head_alive = None if alive.all() else alive
        self._removed = 0

    def view(self) -> PartitionView:
        """What readers may use from now on."""
        self._names.fill(self._columns.rows)
        columns = self._columns.views()
        self._times.grow(columns["start_ns"], columns["end_ns"])
        return PartitionView(
            self._matrix.dim,
            self._cosine,
            self._columns.rows,
            self._matrix,
            self._tiers,
            columns,
            self._head_alive,
            self._names,
            times=self._times,
        )


__all__ = ["ALIVE", "ClipRows", "Filter", "Partition", "PartitionView"]
