"""The rows of the largest matrices as float16 on a GPU, as far as a budget of bytes reaches.

A search there gives candidates and their scores in float16's precision; these are scored whole on
the CPU, and a bound tells whether anything was missed, as in `memdb.index.flat`.  So an answer is
the same with a GPU and without, to the last bit, and whatever goes wrong with one costs time alone:
the next search, and the one at hand, is done without it.

Questions that wait while one is searched for go together in the next call, for each matrix.

Needs a build of FAISS with GPU support (extra ``gpu``); `find_gpu` finds none otherwise.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

import numpy as np

from memdb.errors import FailedPrecondition
from memdb.eventlog import event_log
from memdb.index import faiss_later as faiss
from memdb.index import flat
from memdb.index.matrix import Matrix
from memdb.index.pruned import Found, bounded_best, others_best
from memdb.types.arrays import Array

PLACE_ROWS_MIN: Final = 16_384
"""Smaller matrices are searched on the CPU before the GPU has heard of it."""
PLACE_ROWS: Final = 4096
"""Rows that go to the GPU at once; as many may wait for it."""
CANDIDATES_MAX: Final = 2048
"""What FAISS selects on a GPU at most."""
_CANDIDATES_PER_HIT: Final = 4
_CANDIDATES_EXTRA: Final = 28
_BUDGET_SHARE: Final = 0.8
"""Of the free memory, where no budget is given."""
_ELEMENT_MAX: Final = 60_000.0
"""float16 ends at 65,504."""
_UNIT_ROUNDOFF: Final = 2.0**-24
_DEVICES: Final = ("nvidia", "dxg", "kfd")
"""How names in ``/dev`` begin: NVIDIA's, the same in Windows' Linux, AMD's."""
_NO_ROWS: Final = np.empty(0, np.int64)

IndexMaker = Callable[[int], Any]
"""A FAISS index of inner products over float16 rows of a width: ``add``, ``search``, ``ntotal``."""

log = event_log("memdb.index")


def find_gpu(device: str, bytes_max: int = 0) -> Gpu | None:
    """The first GPU, None where there is none or ``device`` is ``cpu``.

    bytes_max: of rows on it; 0: four fifths of what is free.  Raises `FailedPrecondition` (``NO_GPU``)
    where ``device`` is ``gpu``, and says why there is none.
    """
    if device == "cpu" or (device == "auto" and not _may_be_there()):
        return None
    why = _why_none()
    if why is not None:
        if device == "gpu":
            raise FailedPrecondition(why, reason="NO_GPU", field="index.device", value=device)
        return None

    # Not before something is placed: they take memory of the GPU, and most who open a database ask little.
    @cache
    def resources() -> Any:
        return faiss.StandardGpuResources()

    def make(width: int) -> Any:
        config = faiss.GpuIndexFlatConfig()
        config.useFloat16 = True
        config.device = 0
        return faiss.GpuIndexFlatIP(resources(), width, config)

    return Gpu(make, bytes_max, lambda: int(resources().getMemoryFree(0)))


def _why_none() -> str | None:
    """Why FAISS has no GPU; None where it has one."""
    if not hasattr(faiss, "StandardGpuResources"):
        return 'FAISS was built without GPUs here: it needs the extra "memdb[gpu]"'
    try:
        count = faiss.get_num_gpus()
    except RuntimeError as error:  # a driver that is too old, say
        reason = str(error).strip().rpartition("\n")[2]
        log.warning("FAISS cannot use a GPU", extra={"fields": {"error": reason}})
        return f"FAISS cannot use a GPU: {reason}"
    if count < 1:
        return (
            "FAISS sees no GPU: there is none, its driver is not loaded, "
            "this process may not use it, or CUDA_VISIBLE_DEVICES hides it"
        )
    return None


def _may_be_there() -> bool:
    """Whether the system knows of a device by which FAISS could reach one, so that it is worth to load it and ask."""
    try:
        devices = [device.name for device in Path("/dev").iterdir()]
    except OSError:
        return True  # FAISS will know
    return any(name.startswith(_DEVICES) for name in devices)


@dataclass(eq=False)
class _Asked:
    """One question of a call."""

    query: Array
    wanted: int
    done: bool = False
    answer: tuple[Array, Array] | None = None
    """Numbers and scores; None where nothing is placed any more."""
    error: RuntimeError | None = None


class _Turns:
    """FAISS's calls on a GPU, which come one at a time: the making and the end of an index included, since all
    of them share what FAISS has of the GPU.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: deque[Any] = deque()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._left.clear()
        self._lock.release()

    def leave(self, placement: Placement) -> None:
        """Give up the index of a placement that nobody has any more: now, or with the call under way.

        It may be the collector who comes by, in the middle of a call: nobody is waited for.
        """
        self._left.append(placement._index)
        placement._index = None  # the last name of it but ours
        if self._lock.acquire(blocking=False):
            self.__exit__()


class Placement:
    """The first `rows` rows of a matrix on a GPU; one who adds, any who ask.

    Every call is given the matrix, which this does not keep alive.
    """

    def __init__(self, index: Any, width: int, turns: _Turns) -> None:
        self._index: Any | None = index
        self._width = width
        self._turns = turns
        self._queue_lock = threading.Lock()
        self._queue: list[_Asked] = []
        self._residual_max = 0.0
        self.rows = 0

    def __del__(self) -> None:
        if self._index is not None:
            self._turns.leave(self)

    @property
    def bytes(self) -> int:
        """On the GPU."""
        return self.rows * self._width * 2

    def drop(self) -> None:
        """Give the memory back; nothing is found here any more."""
        with self._turns:
            self._index = None
            self.rows = 0

    def extend(self, matrix: Matrix) -> bool:
        """Place further rows, as far as they fill calls; False when they do not fit float16.

        Raises `RuntimeError` where the GPU fails.
        """
        while matrix.rows - self.rows >= PLACE_ROWS:
            rows = matrix.take_padded(np.arange(self.rows, self.rows + PLACE_ROWS))
            if not np.abs(rows).max() < _ELEMENT_MAX:
                return False
            residual = rows.astype(np.float16).astype(np.float64) - rows
            longest = float(np.linalg.norm(residual, axis=1).max())
            with self._turns:
                if self._index is None:
                    return True
                self._index.add(rows)
                self._residual_max = max(self._residual_max, longest)
                self.rows += PLACE_ROWS
        return True

    def search(
        self, matrix: Matrix, rows: int, query: Array, limit: int, allowed: Array | None
    ) -> Found | None:
        """`flat.search` of the first ``rows`` rows; None where this does not tell it.

        Raises `RuntimeError` where the GPU fails.
        """
        placed = min(rows, self.rows)
        count = placed if allowed is None else int(np.count_nonzero(allowed[:placed]))
        if count < PLACE_ROWS_MIN:
            return None
        # It knows no filter: so many more that enough of them are allowed, as a rule.
        wanted = (_CANDIDATES_PER_HIT * limit + _CANDIDATES_EXTRA) * self.rows // count
        query = flat.padded_query(query, matrix.width)
        bound = self._bound(query, matrix.norm_max)
        if wanted > CANDIDATES_MAX or not np.isfinite(bound):
            return None
        answer = self._ask(query, wanted)
        if answer is None:
            return None
        numbers, scores = answer
        highest = float(scores.min()) + bound
        kept = numbers < placed
        if allowed is not None:
            kept[kept] = allowed[numbers[kept]]
        numbers, bounds = numbers[kept], scores[kept] + np.float64(bound)
        others = others_best(matrix, placed, _NO_ROWS, rows, query, limit, allowed)
        best = bounded_best(matrix, query, numbers, bounds, others, limit)
        told = len(best.scores) == limit and float(best.scores[-1]) > highest
        return best if told else None

    def _bound(self, query: Array, longest: float) -> float:
        """How far a score may be from that of the whole row: what float16 took from row and query,
        and the rounding of two sums, whose order is the GPU's to choose.
        """
        if not np.abs(query).max() < _ELEMENT_MAX:
            return float("inf")
        length = float(np.linalg.norm(query.astype(np.float64)))
        lost = float(np.linalg.norm(query.astype(np.float16).astype(np.float64) - query))
        rounding = 4 * self._width * _UNIT_ROUNDOFF * length * longest
        return length * self._residual_max + lost * (longest + self._residual_max) + rounding

    def _ask(self, query: Array, wanted: int) -> tuple[Array, Array] | None:
        """Candidates of one question, with those who ask meanwhile in one call."""
        mine = _Asked(query, wanted)
        with self._queue_lock:
            self._queue.append(mine)
        with self._turns:
            if not mine.done:
                with self._queue_lock:
                    asked, self._queue = self._queue, []
                self._answer(asked)
        if mine.error is not None:
            raise mine.error
        return mine.answer

    def _answer(self, asked: list[_Asked]) -> None:
        index = self._index
        try:
            if index is not None:
                wanted = min(max(one.wanted for one in asked), index.ntotal)
                scores, numbers = index.search(np.stack([one.query for one in asked]), wanted)
                for one, its_numbers, its_scores in zip(asked, numbers, scores, strict=True):
                    one.answer = its_numbers, its_scores
        except Exception as error:
            # Whatever it is: none of them may wait for ever, and each is asked of the CPU then.
            failure = RuntimeError(f"a search on the GPU failed: {error}")
            failure.__cause__ = error
            for one in asked:
                one.error = failure
        for one in asked:
            one.done = True


class Gpu:
    """What is placed on a GPU, within ``bytes_max``; `keep` by one thread at a time.

    bytes_max: 0 for four fifths of what ``free_bytes`` tells when something is first placed.
    """

    def __init__(
        self,
        make_index: IndexMaker,
        bytes_max: int,
        free_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        self._make_index = make_index
        self._bytes_max = bytes_max
        self._free_bytes = free_bytes
        self._turns = _Turns()
        self._placements: WeakSet[Placement] = WeakSet()
        self.is_lost = False
        """Whether it failed once."""

    @property
    def bytes_used(self) -> int:
        """Of rows on the GPU."""
        return sum(placement.bytes for placement in self._placements)

    def keep(self, matrix: Matrix, placement: Placement | None) -> Placement | None:
        """Place a matrix, or the rows that came to it, if it is among the largest that fit.

        Returns where it is now, which the caller keeps as long as the matrix.
        """
        if self.is_lost or matrix.rows < PLACE_ROWS_MIN:
            return None
        try:
            if not self._bytes_max:
                with self._turns:
                    self._bytes_max = int(self._free_bytes() * _BUDGET_SHARE)
            if not self._make_room(matrix, placement):
                if placement is not None:
                    placement.drop()
                return None
            if placement is None or not placement.rows:
                with self._turns:
                    index = self._make_index(matrix.width)
                placement = Placement(index, matrix.width, self._turns)
                del index
                self._placements.add(placement)
            if placement.extend(matrix):
                return placement
            placement.drop()
        except RuntimeError as error:
            self.lose(error)
        return None

    def lose(self, error: RuntimeError) -> None:
        """It failed: everything is searched without it from now on."""
        self.is_lost = True
        for placement in list(self._placements):
            placement.drop()
        log.error("the GPU failed; searching without it", exc_info=error)

    def _make_room(self, matrix: Matrix, placement: Placement | None) -> bool:
        """Drop smaller ones, the smallest first, until this one fits; none if it cannot."""
        needed = matrix.rows * matrix.width * 2
        others = sorted((p for p in self._placements if p is not placement), key=lambda p: p.bytes)
        free = self._bytes_max - sum(other.bytes for other in others)
        dropped: list[Placement] = []
        for other in others:
            if free >= needed or other.bytes >= needed:
                break
            free += other.bytes
            dropped.append(other)
        if free < needed:
            return False
        for other in dropped:
            other.drop()
        return True
