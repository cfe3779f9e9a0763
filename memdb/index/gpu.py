"""The rows of the largest matrices on a GPU, as float16, as far as a budget of bytes reaches.

=========  =====================================================  =============================
placed     serves                                                 candidates are
=========  =====================================================  =============================
flat       exact answers, and approximate ones of matrices that   all rows (`memdb.index.gpu_flat`)
           are flat alone
ivf        approximate answers of larger ones                     rows of some lists (`memdb.index.gpu_lists`)
cagra      the same, where FAISS is built with cuVS               what a walk of a graph meets
                                                                  (`memdb.index.gpu_graph`)
=========  =====================================================  =============================

Candidates are scored whole on the CPU, and whatever goes wrong with a GPU costs time alone: the search at hand, and
the next ones, are done without it.  Questions that wait while one is searched for are answered together
(`memdb.index.gpu_turns`).

A matrix that is in lists or a graph is flat as well where nobody else wants the room: questions as of a revision, and
whatever else is exact, go there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Final
from weakref import WeakSet

from memdb.eventlog import event_log
from memdb.index.gpu_flat import PLACE_ROWS_MIN, FlatPlacement, flat_bytes
from memdb.index.gpu_graph import GraphOnGpu
from memdb.index.gpu_indexes import GpuIndexes
from memdb.index.gpu_lists import ListsOnGpu
from memdb.index.gpu_near import KINDS, NearPlacement
from memdb.index.gpu_placed import Placed, never
from memdb.index.gpu_turns import Turns
from memdb.index.matrix import Matrix

NEAR_BYTES_MIN: Final = 4 << 30
"""Of rows.  To score all of fewer takes a millisecond, where a GPU reads 4 TB/s: reckoned, not measured."""
GRAPH_BYTES_MAX: Final = 8 << 30
"""Of rows, which are in memory once more each time that a graph of them is made."""
_BUDGET_SHARE: Final = 0.8
"""Of the free memory, where no budget is given."""
_GROWING_SHARE: Final = 0.95
"""Of the free memory, with the rows that grow: FAISS has them twice then."""

log = event_log("memdb.index")


class Gpu:
    """What is placed on a GPU, within ``bytes_max``; `keep` and `keep_near` by one thread at a time.

    bytes_max: 0 for four fifths of what is free when something is first placed, of which the one that grows leaves as
    much again; so it does where a budget is given, which may be more than there is.  kind: ``flat``, ``ivf`` or
    ``cagra``, or ``auto`` for what suits the size of a matrix.
    """

    def __init__(self, indexes: GpuIndexes, bytes_max: int, kind: str = "flat") -> None:
        self._indexes = indexes
        self._bytes_max = bytes_max
        self._free_bytes = 0
        """When something was first placed; 0 where that is not told."""
        self._has_asked = False
        self._kind = kind
        self._turns = Turns()
        self._placed: WeakSet[Placed] = WeakSet()
        self._placing = threading.Lock()
        """Of who adds to it, and who looks at all: a set that grows cannot be gone through."""
        self.is_lost = False
        """Whether it failed once."""

    @property
    def bytes_used(self) -> int:
        """Of rows on the GPU."""
        return sum(placed.bytes for placed in self._all())

    def near_kind(self, matrix: Matrix) -> str | None:
        """How a matrix is searched approximately, where it may be; None where it is to be flat alone."""
        if self.is_lost or self._kind == "flat" or matrix.rows < PLACE_ROWS_MIN:
            return None
        if self._kind != "auto":
            return self._kind
        size = flat_bytes(matrix.rows, matrix.width)
        if size < NEAR_BYTES_MIN:
            return None
        has_graph = self._indexes.has_graphs and size <= GRAPH_BYTES_MAX
        return GraphOnGpu.kind if has_graph else ListsOnGpu.kind

    def keep(
        self,
        matrix: Matrix,
        placement: FlatPlacement | None,
        *,
        is_spare: bool = False,
        stop: Callable[[], bool] = never,
    ) -> FlatPlacement | None:
        """Place a matrix, or the rows that came to it, if it is among the largest that fit.

        is_spare: only where there is room that nobody else wants.  stop: see `Placed.extend`.  Returns where it is
        now, which the caller keeps as long as the matrix.
        """
        if self.is_lost or matrix.rows < PLACE_ROWS_MIN:
            return None
        try:
            self._find_budget()
            if not self._make_room(flat_bytes(matrix.rows, matrix.width), placement, is_spare):
                if placement is not None:
                    placement.drop()
                return None
            if placement is None or not placement.rows:
                with self._turns.lock, self._turns:
                    index = self._indexes.flat(matrix.width)
                placement = FlatPlacement(index, matrix.width, self._turns)
                del index
                self._add(placement)
            placement.is_spare = is_spare
            if placement.extend(matrix, stop) and not self.is_lost:
                return placement
            placement.drop()
        except Exception as error:
            # Whatever it is, the rows are where they were.
            self.lose(error)
        return None

    def keep_near(
        self,
        matrix: Matrix,
        kind: str,
        beside: Collection[Placed],
        stop: Callable[[], bool],
    ) -> NearPlacement | None:
        """Place a matrix anew, to be searched approximately; None where that cannot be.

        beside: where its rows are already, which make room before others do.  stop: asked between steps, the longest of
        which is to make lists or a graph.  Whether it finds enough is not known yet.
        """
        if self.is_lost:
            return None
        try:
            self._find_budget()
            way = KINDS[kind]
            own_bytes = self._indexes.own_bytes
            needed = own_bytes + way.bytes_of(matrix.rows, matrix.width)
            if not self._make_room(needed, beside=beside):
                return None
            index = way.build(self._indexes, matrix, stop)
            if index is None:
                return None
            placement = NearPlacement(index, matrix.width, self._turns, own_bytes)
            del index
            self._add(placement)
            if not self.is_lost:
                return placement
            placement.drop()
        except MemoryError as error:  # ours: rows are held once more for a while
            log.warning("no memory to place rows on the GPU", exc_info=error)
        except Exception as error:
            # Whatever FAISS or CUDA say: it is told, and the CPU answers.
            self.lose(error)
        return None

    def lose(self, error: Exception) -> None:
        """It failed: everything is searched without it from now on.

        What is being placed meanwhile finds that out in the end, and goes as well.
        """
        self.is_lost = True
        self.clear()
        log.error("the GPU failed; searching without it", exc_info=error)

    def clear(self) -> None:
        """Give everything back."""
        for placed in self._all():
            placed.drop()

    def _add(self, placed: Placed) -> None:
        with self._placing:
            self._placed.add(placed)

    def _all(self) -> list[Placed]:
        with self._placing:
            return list(self._placed)

    def _find_budget(self) -> None:
        if self._has_asked:
            return
        try:
            with self._turns.lock, self._turns:
                self._free_bytes = self._indexes.free_bytes()
        except RuntimeError:
            # Who gave a budget knows it.
            if not self._bytes_max:
                raise
        self._has_asked = True
        if not self._bytes_max:
            self._bytes_max = int(self._free_bytes * _BUDGET_SHARE)

    def _make_room(
        self,
        needed: int,
        mine: Placed | None = None,
        is_spare: bool = False,
        beside: Collection[Placed] = (),
    ) -> bool:
        """Drop others until this one fits: what is ``beside`` it, what is spare, then smaller ones, the smallest first;
        none if it cannot.
        """

        def rank(placed: Placed) -> tuple[bool, bool, int]:
            return (placed not in beside, not placed.is_spare, placed.bytes)

        others = sorted((placed for placed in self._all() if placed is not mine), key=rank)
        room = self._bytes_max
        if self._free_bytes:
            room = min(room, int(self._free_bytes * _GROWING_SHARE) - needed)
        free = room - sum(placed.bytes for placed in others)
        dropped: list[Placed] = []
        for placed in others:
            may_go = placed in beside or placed.is_spare or placed.bytes < needed
            if free >= needed or is_spare or not may_go:
                break
            free += placed.bytes
            dropped.append(placed)
        if free < needed:
            return False
        for placed in dropped:
            placed.drop()
        return True
