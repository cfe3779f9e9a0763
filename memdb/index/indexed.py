"""The approximate tier of one matrix: when it gets lists, how much of them is read, and what that finds.

Nothing is approximate until it was measured: lists are made in the background of rows that have codes,
questions that were asked are put to them beside exact answers, and where they do not find
enough by reading a quarter of all, the matrix stays exact until it has doubled.  From then on a
sample of the questions is answered both ways (`memdb.index.recall`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from memdb.eventlog import event_log
from memdb.index import ivf
from memdb.index.breadth import Exact, Trial, found_of, widened
from memdb.index.gpu import Gpu
from memdb.index.gpu_indexed import IndexedOnGpu
from memdb.index.gpu_placed import Placed
from memdb.index.ivf import Breadth, lists_max
from memdb.index.lists import Lists, find_centres, grouped
from memdb.index.matrix import Matrix
from memdb.index.pruned import Found
from memdb.index.recall import Recall, Sample, Window
from memdb.index.sketch import Sketch
from memdb.types.arrays import Array

RECENT: Final = 64
"""Questions that are kept, to be measured with."""
RECENT_MIN: Final = 16
"""Questions before which there is nothing to measure with."""
RETRAIN_GROWTH: Final = 2
LATER_SHARE: Final = 1 / 64
"""Of the rows in lists; when so many came since they join them."""
LATER_MIN: Final = 512
SAMPLE_EVERY: Final = 256
"""Of so many questions one is compared."""
_SAMPLES_MAX: Final = 4
"""Questions that wait to be compared: each holds a mask of all rows."""
_WIDER: Final = 2.0

log = event_log("memdb.index")


@dataclass(frozen=True, slots=True)
class Approximation:
    """Whether, and where what it found is counted."""

    rows_min: int
    """Of a matrix that is searched approximately; 0: none is."""
    recall: Recall = field(default_factory=Recall)


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """What a question uses, changed as a whole."""

    lists: Lists
    breadth: Breadth


class Indexed:
    """Of one matrix.  Any readers; `maintain` by one thread at a time."""

    def __init__(self, matrix: Matrix) -> None:
        self._matrix = matrix
        self._approximation: Approximation | None = None
        self._ready: Ready | None = None
        self.on_gpu = IndexedOnGpu(matrix)
        """What is used before it, where there is one."""
        self._trained_rows = 0
        """How many there were when lists were last made, or tried to be."""
        # What readers race for: what is lost of it matters to nobody.
        self._recent: deque[Array] = deque(maxlen=RECENT)
        self._alive: Array | None = None
        self._asked = 0
        self._samples: deque[Sample] = deque(maxlen=_SAMPLES_MAX)
        self._window = Window()

    @property
    def rows(self) -> int:
        """Rows in lists that are in use."""
        ready = self._ready
        return 0 if ready is None else ready.lists.rows

    @property
    def ready(self) -> Ready | None:
        """What a question uses now; None where all is exact."""
        return self._ready

    @property
    def breadth(self) -> Breadth | None:
        """How much a question looks at now; None where all is exact."""
        ready = self._ready
        return None if ready is None else ready.breadth

    def is_wanted(self, rows: int) -> bool:
        """Whether so many rows are to be searched approximately."""
        approximation = self._approximation
        return approximation is not None and 0 < approximation.rows_min <= rows

    @property
    def is_ready(self) -> bool:
        """Whether there are lists to look in."""
        return self._ready is not None

    def approximate_by(self, approximation: Approximation) -> None:
        """Search as it says from now on, before the first `maintain`."""
        self._approximation = approximation

    def begin_with(self, lists: Lists | None, breadth: Breadth | None, trained_rows: int) -> None:
        """Use lists of an earlier process; while nobody asks yet.  trained_rows: `memdb.index.learned.Learned`."""
        self._trained_rows = trained_rows
        if lists is not None and breadth is not None:
            self._ready = Ready(lists, breadth)

    def lists_of(self, sketch: Sketch) -> tuple[Lists | None, Breadth | None, int]:
        """The lists of its codes that are in use, how much of them is looked at, and `Learned.trained_rows`."""
        ready = self._ready
        if ready is None:
            return None, None, self._trained_rows
        if ready.lists.sketch is not sketch:
            return None, None, 0
        return ready.lists, ready.breadth, self._trained_rows

    @property
    def trained(self) -> tuple[int, Breadth | None]:
        """Of how many rows lists were last made, or tried to be, and `breadth`: other ones are news."""
        return self._trained_rows, self.breadth

    def search(
        self,
        rows: int,
        query: Array,
        limit: int,
        allowed: Array | None,
        alive: Array | None,
        *,
        is_quick: bool = False,
    ) -> Found | None:
        """`memdb.index.ivf.search`; None where the question is to be answered exactly.

        is_quick: whether that is so on a GPU, which lists of the CPU are no use beside.
        """
        if not self.is_wanted(rows):
            return None
        self._asked += 1
        ready = self._ready
        # Each sixteenth tells enough of what is asked, once there are some.
        if len(self._recent) < RECENT_MIN or self._asked % RECENT_MIN == 0:
            self._recent.append(np.array(query, np.float32))
            self._alive = alive
        if self.on_gpu.near is not None:
            found = self.on_gpu.search(rows, query, limit, allowed, alive)
        elif ready is None or is_quick:
            return None
        else:
            found = ivf.search(
                self._matrix, ready.lists, ready.breadth, rows, query, limit, allowed, alive
            )
        approximation = self._approximation
        if found is None or approximation is None:
            return None
        approximation.recall.add(approximate=1)
        if self._asked % SAMPLE_EVERY == 0 and len(self._samples) < _SAMPLES_MAX:
            self._samples.append(Sample(rows, query.copy(), limit, allowed, found.scores))
        return found

    def was_asked(self, count: int, samples: Sequence[Sample]) -> None:
        """So many questions were answered by what `ready` is, by somebody else (`memdb.engine.listed`), these among
        them, which are to be compared.
        """
        if self._approximation is not None:
            self._approximation.recall.add(approximate=count)
        for sample in samples:
            self._recent.append(sample.query)
            self._alive = sample.allowed
            if len(self._samples) < _SAMPLES_MAX:
                self._samples.append(sample)

    def is_due(self, sketch: Sketch | None, *, is_on_cpu: bool = True) -> bool:
        """Whether `maintain_on_gpu` has something to do, or, where that is asked for, `maintain`."""
        approximation = self._approximation
        if approximation is None or not self.is_wanted(self._matrix.rows):
            return False
        if self._samples and approximation.recall.may_compare:
            return True
        if self.on_gpu.is_due and len(self._recent) >= RECENT_MIN:
            return True
        if sketch is None or not is_on_cpu:
            return False
        ready = self._ready
        if ready is not None and ready.lists.sketch is sketch and self._is_late(ready.lists):
            return True
        return self._wants_training(sketch)

    def maintain(
        self,
        sketch: Sketch | None,
        exact: Exact,
        approximation: Approximation,
        stop: Callable[[], bool],
    ) -> None:
        """Make lists, put rows into them, compare; ``stop`` is asked as in `memdb.index.tiers`."""
        self._approximation = approximation
        if sketch is None or not self.is_wanted(self._matrix.rows):
            self._ready = None
            # Not that they were tried and found too little, which would be kept for later starts.
            self._trained_rows = 0
            return
        ready = self._ready
        if ready is not None and ready.lists.sketch is not sketch:
            # Codes of another basis are no codes of these lists.
            ready = self._ready = None
            self._trained_rows = 0
        if self._wants_training(sketch):
            self._train(sketch, exact, stop)
        elif ready is not None and self._is_late(ready.lists):
            lists = grouped(self._matrix, sketch, ready.lists.centres, stop, ready.lists)
            if lists is not None:
                self._ready = Ready(lists, ready.breadth)
        self._compare_all(exact, approximation, stop)

    def maintain_on_gpu(
        self,
        gpu: Gpu,
        flat: Placed | None,
        exact: Exact,
        approximation: Approximation,
        stop: Callable[[], bool],
    ) -> None:
        """The same for what is to be on a GPU; flat: where all rows are there."""
        self._approximation = approximation
        rows = self._matrix.rows
        if not self.is_wanted(rows):
            return

        def trial() -> Trial | None:
            enough = len(self._recent) >= RECENT_MIN
            return self._trial(rows, exact, stop) if enough else None

        self.on_gpu.maintain(gpu, flat, trial, stop)
        self._compare_all(exact, approximation, stop)

    def _compare_all(
        self, exact: Exact, approximation: Approximation, stop: Callable[[], bool]
    ) -> None:
        while self._samples and approximation.recall.may_compare and not stop():
            self._compare(self._samples.popleft(), exact, approximation.recall)

    def _is_late(self, lists: Lists) -> bool:
        later = lists.sketch.rows - lists.rows
        return later >= max(LATER_MIN, LATER_SHARE * lists.rows)

    def _wants_training(self, sketch: Sketch) -> bool:
        return (
            len(self._recent) >= RECENT_MIN and sketch.rows >= RETRAIN_GROWTH * self._trained_rows
        )

    def _trial(self, rows: int, exact: Exact, stop: Callable[[], bool]) -> Trial | None:
        """Questions of which it is known what is to be found; None where ``stop`` said so, or that is nothing."""
        alive = self._alive
        rows = rows if alive is None else min(rows, len(alive))
        trial = Trial(self._matrix, rows, None if alive is None else alive[:rows])
        return trial if trial.ask(exact, list(self._recent), stop) else None

    def _train(self, sketch: Sketch, exact: Exact, stop: Callable[[], bool]) -> None:
        trial = self._trial(sketch.rows, exact, stop)
        if trial is None:
            return
        centres = find_centres(self._matrix, sketch, stop)
        lists = None if centres is None else grouped(self._matrix, sketch, centres, stop)
        breadth = None if lists is None else trial.least(lists, stop)
        if stop():
            return
        self._trained_rows = sketch.rows
        self._window.clear()
        if lists is None or breadth is None or breadth.lists > lists_max(lists):
            self._ready = None
            told = {"rows": sketch.rows}
            log.info("lists do not find enough: searched exactly", extra={"fields": told})
            return
        self._ready = Ready(lists, breadth)
        told = {
            "rows": lists.rows,
            "lists": lists.count,
            "looked_at": breadth.lists,
            "candidates": breadth.candidates,
        }
        log.info("searched approximately", extra={"fields": told})

    def _compare(self, sample: Sample, exact: Exact, recall: Recall) -> None:
        begin_s = time.thread_time()
        _, scores = exact(sample.rows, sample.query, sample.limit, sample.allowed)
        found = found_of(sample.scores, scores)
        recall.add(compared=1, sought=len(scores), found=found)
        self._window.add(found, len(scores))
        recall.spent(time.thread_time() - begin_s)
        if self._window.is_low:
            self._widen(recall)

    def _widen(self, recall: Recall) -> None:
        ready = self._ready
        self._window.clear()
        self._samples.clear()
        if self.on_gpu.near is not None:
            self._widen_on_gpu(recall)
            return
        if ready is None:
            return
        breadth = widened(ready.breadth, _WIDER)
        breadth = Breadth(breadth.lists, 2 * breadth.candidates, breadth.by_distance)
        if breadth.lists > lists_max(ready.lists):
            self._ready = None
            recall.add(given_up=1)
            log.warning(
                "an approximate search found too little: searched exactly",
                extra={"fields": {"rows": ready.lists.rows}},
            )
            return
        self._ready = Ready(ready.lists, breadth)
        recall.add(widened=1)
        log.warning(
            "an approximate search found too little: it looks at more",
            extra={"fields": {"rows": ready.lists.rows, "looked_at": breadth.lists}},
        )

    def _widen_on_gpu(self, recall: Recall) -> None:
        told = {"rows": self._matrix.rows}
        if self.on_gpu.widen(_WIDER):
            recall.add(widened=1)
            log.warning(
                "a search on the GPU found too little: it looks at more", extra={"fields": told}
            )
        else:
            recall.add(given_up=1)
            log.warning(
                "a search on the GPU found too little: searched exactly", extra={"fields": told}
            )
