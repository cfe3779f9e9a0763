"""The approximate tier of one matrix on a GPU: when it gets lists or a graph there, and how much is looked at.

As of `memdb.index.indexed`, to which it belongs: nothing is approximate until it was measured, and what does not find
enough is exact until the matrix has doubled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from memdb.eventlog import event_log
from memdb.index.breadth import Trial
from memdb.index.gpu import Gpu
from memdb.index.gpu_near import NearPlacement
from memdb.index.gpu_placed import Placed
from memdb.index.matrix import Matrix
from memdb.index.pruned import Found
from memdb.types.arrays import Array

_RETRY_GROWTH: Final = 2

log = event_log("memdb.index")


class IndexedOnGpu:
    """Of one matrix.  Any readers; `maintain` by one thread at a time."""

    def __init__(self, matrix: Matrix) -> None:
        self._matrix = matrix
        self._gpu: Gpu | None = None
        self._near: NearPlacement | None = None
        self._failed_rows = 0
        """How many there were when it was last tried, and did not find enough."""

    @property
    def near(self) -> NearPlacement | None:
        """Where it is searched; None where it is not, on a GPU."""
        near = self._near
        return near if near is not None and near.rows else None

    def search(
        self, rows: int, query: Array, limit: int, allowed: Array | None, alive: Array | None
    ) -> Found | None:
        """`NearPlacement.search`; None as well where the GPU fails, which is not asked again."""
        near, gpu = self.near, self._gpu
        if near is None or gpu is None:
            return None
        try:
            return near.search(self._matrix, rows, query, limit, allowed, alive)
        except RuntimeError as error:
            gpu.lose(error)
            return None

    @property
    def is_due(self) -> bool:
        """Whether `maintain` would make something, with questions to try it with."""
        return self._gpu is not None and self._wanted(self._gpu) is not None

    def maintain(
        self,
        gpu: Gpu,
        flat: Placed | None,
        trial: Callable[[], Trial | None],
        stop: Callable[[], bool],
    ) -> None:
        """Have it where ``gpu`` wants it, once there are questions to try it with.

        flat: where its rows are as well.  trial: gives None where there are no such questions yet.
        """
        self._gpu = gpu
        if gpu.is_lost or gpu.near_kind(self._matrix) is None:
            self._drop()
            return
        kind = self._wanted(gpu)
        try:
            if kind is None:
                self._extend(stop)
                return
            tried = trial()
            if tried is not None:
                self._train(gpu, kind, flat, tried, stop)
        except RuntimeError as error:
            gpu.lose(error)

    def widen(self, factor: float) -> bool:
        """Look at so much more from now on; False where that is no use, and it is exact again."""
        near = self.near
        if near is None:
            return False
        if near.widen(factor):
            return True
        self._failed_rows = self._matrix.rows
        self._drop()
        return False

    def _wanted(self, gpu: Gpu) -> str | None:
        """What is to be made; None where nothing is."""
        kind, near = gpu.near_kind(self._matrix), self.near
        if kind is None or self._matrix.rows < _RETRY_GROWTH * self._failed_rows:
            return None
        return kind if near is None or near.is_outgrown(self._matrix.rows) else None

    def _extend(self, stop: Callable[[], bool]) -> None:
        near = self.near
        if near is not None and not near.extend(self._matrix, stop):
            self._drop()

    def _drop(self) -> None:
        near, self._near = self._near, None
        if near is not None:
            near.drop()

    def _train(
        self, gpu: Gpu, kind: str, flat: Placed | None, trial: Trial, stop: Callable[[], bool]
    ) -> None:
        before = self.near
        rows = self._matrix.rows
        beside = [placed for placed in (flat, before) if placed is not None]
        near = gpu.keep_near(self._matrix, kind, beside, stop)
        if near is not None:

            def look(rows: int, query: Array, limit: int, alive: Array | None) -> Found | None:
                assert near is not None
                return near.search(self._matrix, rows, query, limit, alive, alive)

            if near.find_reach(trial, look, stop):
                self._near, self._failed_rows = near, 0
                if before is not None:
                    before.drop()
                told = {"rows": rows, "kind": kind, "looked_at": near.reach}
                log.info("searched approximately on the GPU", extra={"fields": told})
                return
            near.drop()
        if stop() or gpu.is_lost:
            return
        self._failed_rows = rows
        self._drop()
        log.info("not searched approximately on the GPU", extra={"fields": {"rows": rows}})
