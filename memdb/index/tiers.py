"""How the rows of one matrix are searched: exactly, unless a question may be answered approximately; what
changes otherwise is how much is read.

=========  ==============================================  =====================================
tier       serves                                          reads of 1536-d rows
=========  ==============================================  =====================================
whole      every row of a matrix of up to 256              6,144 bytes a row (`memdb.index.flat`)
heads      every row of a larger one, at once              3,072 bytes a row (`memdb.index.flat`)
sketch     rows that have codes, where bounds tell enough; 128 bytes a row, or 256
           else the tier before                            (`memdb.index.pruned`)
GPU        the largest matrices that fit, where there is   nothing here (`memdb.index.gpu`)
           one; else the tiers before
lists      `approximate` alone: large matrices of which     256 bytes of a row in some hundred, as a
           some lists are measured to be enough            rule (`memdb.index.ivf`)
near       `approximate` alone: the largest of those, on a  nothing here (`memdb.index.gpu_near`)
           GPU, in the place of lists
=========  ==============================================  =====================================

Nothing waits for a tier: codes and lists are made in the background (`maintain`), of what is asked about, and
a question uses what there is.  All tiers of `search` give the same answer to the last bit, so neither the
age of an index, nor a restart, nor the way in which a revision is named can change one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from memdb.index import flat, pruned
from memdb.index.basis import CODE_BYTES_MAX, DIM_PER_BYTE, SAMPLE_ROWS, code_bytes, fit
from memdb.index.gpu import Gpu
from memdb.index.gpu_flat import FlatPlacement
from memdb.index.indexed import Approximation, Indexed, Ready
from memdb.index.learned import Learned
from memdb.index.matrix import Matrix
from memdb.index.pruned import Found
from memdb.index.recall import Sample
from memdb.index.sketch import Sketch
from memdb.types.arrays import Array

SKETCH_ROWS_MIN: Final = 2048
SKETCH_BYTES_MIN: Final = 8 << 20
"""Allowed rows whose heads are fewer bytes are read sooner than bounded."""
QUESTIONS_MIN: Final = 4
"""Who asks seldom pays for no codes."""
BLOCK_ROWS: Final = 256
"""Rows that get codes at once."""
LATE_ROWS: Final = 64
"""Rows that may wait for codes: each is read whole for every question until it has one."""
REFIT_GROWTH: Final = 4
"""A basis of so many times fewer rows is fitted anew: scenes come that it has not seen."""
TRIED_MIN: Final = 16
"""Questions after which it is judged whether codes tell enough."""
_TOLD_SHARE: Final = 0.75
_SCORED_MAX: Final = 96
"""Rows that are scored whole for a question, on average, beyond which longer codes are cheaper."""
REST_QUESTIONS: Final = 256
"""For so many questions codes that tell too little are left alone, then twice as many, and so on."""
_REST_MAX: Final = 65_536


class Tiers:
    """The ways to search one matrix.  Any readers; `maintain` by one thread at a time."""

    def __init__(self, matrix: Matrix, *, bytes_min: int = SKETCH_BYTES_MIN) -> None:
        self._matrix = matrix
        self._rows_min = max(SKETCH_ROWS_MIN, bytes_min // (2 * matrix.width))
        self._sketch: Sketch | None = None
        self._code_bytes = code_bytes(matrix.dim)
        self._fitted_rows = 0
        """How many there were when a basis was last fitted, or tried to be."""
        self._gpu: Gpu | None = None
        self._placement: FlatPlacement | None = None
        self._awaits_gpu = False
        """Whether a GPU is yet to hear of the rows."""
        self.indexed = Indexed(matrix)
        self._maintaining = threading.Lock()
        # Counters that readers race for: what is lost of them matters to nobody.
        self._asked = 0
        self._tried = 0
        self._told = 0
        self._scored = 0
        self._rest = 0
        self._rest_next = REST_QUESTIONS

    def search(
        self, rows: int, query: Array, limit: int, allowed: Array | None
    ) -> tuple[Array, Array]:
        """`memdb.index.flat.search` of the first ``rows`` rows, to the last bit."""
        if rows >= self._rows_min:
            self._asked += 1
            placement = self._flat
            if placement is not None:
                found = self._on_gpu(placement, rows, query, limit, allowed)
                if found is not None:
                    return found.numbers, found.scores
            sketch = self._sketch
            if sketch is not None and self._worth(sketch, rows, allowed):
                found = pruned.search(self._matrix, sketch, rows, query, limit, allowed)
                self._tried += 1
                if found is not None:
                    self._told += 1
                    self._scored += found.scored
                if self._tried >= TRIED_MIN:
                    self._judge()
                if found is not None:
                    return found.numbers, found.scores
        return flat.search(self._matrix, rows, query, limit, allowed)

    def approximate(
        self, rows: int, query: Array, limit: int, allowed: Array | None, alive: Array | None
    ) -> Found | None:
        """About what `search` gives, with its scores; None where that is to be asked.

        alive: what would be allowed without a filter.
        """
        # An exact search on the GPU is as quick as lists here.
        is_quick = self._flat is not None
        found = self.indexed.search(rows, query, limit, allowed, alive, is_quick=is_quick)
        if found is not None:
            self._asked += 1
        return found

    @property
    def learned(self) -> Learned | None:
        """What there is to know of the rows, for a matrix that begins with the same; None where that is nothing."""
        sketch = self._sketch
        if sketch is None:
            return None
        rows = sketch.rows
        lists, breadth, trained_rows = self.indexed.lists_of(sketch)
        return Learned(sketch, rows, self._fitted_rows, trained_rows, lists, breadth)

    def learn(self, learned: Learned) -> None:
        """Begin with what was learned of the rows before; while nobody asks yet."""
        self._sketch = learned.sketch
        self._code_bytes = learned.sketch.basis.code_bytes
        self._fitted_rows = learned.fitted_rows
        self.indexed.begin_with(learned.lists, learned.breadth, learned.trained_rows)

    def await_gpu(self) -> None:
        """Have a GPU hear of the rows in the first `maintain`, which nothing else may call for where codes are those of
        before.
        """
        self._awaits_gpu = True

    def ready(self, rows: int) -> Ready | None:
        """What `approximate` uses for questions to the first ``rows`` rows; None where it leaves them to `search`."""
        if not self._is_on_cpu or not self.indexed.is_wanted(rows):
            return None
        return self.indexed.ready

    def was_asked(self, count: int, samples: Sequence[Sample]) -> None:
        """See `Indexed.was_asked`."""
        self._asked += count
        self.indexed.was_asked(count, samples)

    @property
    def has_lists(self) -> bool:
        """Whether `approximate` answers questions without a filter, by lists."""
        return self._is_on_cpu and self.indexed.is_ready

    @property
    def _is_on_cpu(self) -> bool:
        return self._flat is None and self.indexed.on_gpu.near is None

    @property
    def _flat(self) -> FlatPlacement | None:
        """Where all rows are on a GPU: not where they had to make room, or it failed."""
        placement = self._placement
        return placement if placement is not None and placement.rows else None

    def is_quick(self, rows: int, allowed: Array | None, questions: int) -> bool:
        """Whether so many questions are answered sooner one by one than by one pass over the rows."""
        if rows < self._rows_min:
            return False
        self._asked += questions
        sketch = self._sketch
        if self._flat is not None:
            return True
        return sketch is not None and self._rest == 0 and self._is_large(sketch, rows, allowed)

    @property
    def is_due(self) -> bool:
        """Whether `maintain` has something to do, for questions that want it."""
        if self._asked < QUESTIONS_MIN:
            return False
        sketch = self._sketch
        late = sketch is not None and self._matrix.rows - sketch.rows >= LATE_ROWS
        if late or self._awaits_gpu or self._wants_basis():
            return True
        return self.indexed.is_due(sketch, is_on_cpu=self._is_on_cpu)

    @property
    def coded_rows(self) -> int:
        """Rows that a question need not read whole."""
        sketch = self._sketch
        return 0 if sketch is None else sketch.rows

    def put_off(self) -> None:
        """`maintain` failed: not to be tried again with every question, but after `REST_QUESTIONS` more."""
        self._asked = -REST_QUESTIONS

    def maintain(
        self,
        stop: Callable[[], bool],
        gpu: Gpu | None = None,
        approximation: Approximation | None = None,
    ) -> None:
        """Bring the codes, the lists and what is on the GPU up to date, beside readers and the writer.

        stop: asked between steps of some milliseconds (to fit a basis is one of half a second, a round of
        `memdb.index.lists` some seconds for a million rows) whether to leave the rest to another time.
        """
        if not self._maintaining.acquire(blocking=False):
            return
        try:
            if approximation is not None and 0 < approximation.rows_min <= self._matrix.rows:
                # Lists are as good as what codes tell of where a row is.
                self._have_longest()
            if self._wants_basis():
                self._fit(stop)
            sketch = self._sketch
            if sketch is not None and not self._code(sketch, stop):
                # The rows have become others: without codes until there are many more of them.
                self._sketch = None
            self._awaits_gpu = False
            if gpu is not None:
                self._gpu = gpu
                is_spare = self.indexed.on_gpu.near is not None
                self._placement = gpu.keep(
                    self._matrix, self._placement, is_spare=is_spare, stop=stop
                )
                if approximation is not None:
                    self.indexed.maintain_on_gpu(
                        gpu, self._placement, self.search, approximation, stop
                    )
            if approximation is not None and self._is_on_cpu:
                self.indexed.maintain(self._sketch, self.search, approximation, stop)
        finally:
            self._maintaining.release()

    def _on_gpu(
        self, placement: FlatPlacement, rows: int, query: Array, limit: int, allowed: Array | None
    ) -> Found | None:
        try:
            return placement.search(self._matrix, rows, query, limit, allowed)
        except RuntimeError as error:
            gpu, self._placement = self._gpu, None
            if gpu is not None:
                gpu.lose(error)
            return None

    def _worth(self, sketch: Sketch, rows: int, allowed: Array | None) -> bool:
        if self._rest > 0:
            self._rest -= 1
            return False
        return self._is_large(sketch, rows, allowed)

    def _is_large(self, sketch: Sketch, rows: int, allowed: Array | None) -> bool:
        coded = min(rows, sketch.rows)
        if allowed is not None:
            coded = int(np.count_nonzero(allowed[:coded]))
        return coded >= self._rows_min

    def _judge(self) -> None:
        """When codes tell too little: have them of a new basis, or longer; or leave them alone."""
        useful = self._told >= _TOLD_SHARE * self._tried
        may_be_longer = 2 * self._code_bytes <= self._code_bytes_max
        if useful and (self._scored <= _SCORED_MAX * self._told or not may_be_longer):
            self._rest_next = REST_QUESTIONS
        elif self._matrix.rows >= 2 * self._fitted_rows:
            self._fitted_rows = 0
        elif may_be_longer:
            self._code_bytes *= 2
            self._fitted_rows = 0
        else:
            self._rest = self._rest_next
            self._rest_next = min(2 * self._rest_next, _REST_MAX)
        self._tried = self._told = self._scored = 0

    @property
    def _code_bytes_max(self) -> int:
        return min(CODE_BYTES_MAX, self._matrix.dim // DIM_PER_BYTE)

    def _have_longest(self) -> None:
        if 2 * self._code_bytes <= self._code_bytes_max:
            while 2 * self._code_bytes <= self._code_bytes_max:
                self._code_bytes *= 2
            self._fitted_rows = 0

    def _wants_basis(self) -> bool:
        return self._matrix.rows >= max(self._rows_min, REFIT_GROWTH * self._fitted_rows)

    def _fit(self, stop: Callable[[], bool]) -> None:
        rows, width = self._matrix.rows, self._code_bytes
        self._fitted_rows = rows
        sample = np.linspace(0, rows - 1, min(rows, SAMPLE_ROWS)).astype(np.int64)
        basis = fit(self._matrix.take_padded(sample), width)
        if basis is None:
            return
        sketch = Sketch(basis)
        if self._code(sketch, stop) and not stop():
            self._sketch = sketch
            self._rest, self._rest_next = 0, REST_QUESTIONS
            self._tried = self._told = self._scored = 0

    def _code(self, sketch: Sketch, stop: Callable[[], bool]) -> bool:
        """Give codes to the rows that are there now, block by block; False when they do not suit them."""
        rows = self._matrix.rows
        while sketch.rows < rows and not stop():
            if not sketch.extend(self._matrix, min(rows - sketch.rows, BLOCK_ROWS)):
                return False
        return True
