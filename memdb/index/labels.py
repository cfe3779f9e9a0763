"""Which rows have a label: the answer to a filter by labels, exact and made before the search.

What one version of a clip is labelled is one string, its keys and values one after the other with `SEPARATOR`
between them, which is also what words are counted in (`memdb.index.names`).  Strings wait as they came, and the
first filter splits all that wait: a memory that is never filtered by labels holds a reference for each clip.
Rows only grow, and a reader looks at none beyond those of its view.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from memdb import deadline
from memdb.types.arrays import Array
from memdb.types.label_filter import LabelFilter, Not, values_of

SEPARATOR: Final = "\ud800"
"""A lone surrogate: no text that was taken has one (`memdb.types.checks.check_text`), and no word."""
_SPLIT_AT_ONCE: Final = 4096
"""Strings, between two looks at the deadline."""
_FEW_ROWS: Final = 64
"""Looked for one by one: to copy the numbers would take longer."""


def joined(labels: Mapping[str, str]) -> str:
    """The labels of one clip as one string."""
    return SEPARATOR.join(part for pair in sorted(labels.items()) for part in pair)


class LabelRows:
    """The labels of growing rows; one writer adds, any readers ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts: list[str] = []
        """One for each row; empty once it is split."""
        self._rows = 0
        """Of which `_having` tells."""
        self._having: defaultdict[str, defaultdict[str, array[int]]] = defaultdict(_values)
        """key -> value -> rows, ascending."""

    def add(self, labels: Iterable[str]) -> None:
        """What the rows that come next are labelled, each by `joined`."""
        self._texts.extend(labels)

    def mask(self, wanted: LabelFilter, rows: int) -> Array:
        """(rows,) bool of the first ``rows`` rows that have one of the values of each key, or none where it is
        a `Not`.

        Raises `DeadlineExceeded`; what was split by then is kept.
        """
        mask = np.ones(rows, bool)
        with self._lock:
            self._split_until(rows)
            for key, values in wanted:
                having = np.zeros(rows, bool)
                for value in values_of(values):
                    having[self._rows_of(key, value, rows)] = True
                mask &= ~having if isinstance(values, Not) else having
        return mask

    def among(self, wanted: LabelFilter, rows: Array) -> Array:
        """(n,) bool of some rows: `mask` without a look at the others."""
        chosen = np.ones(len(rows), bool)
        if not len(rows):
            return chosen
        with self._lock:
            self._split_until(int(rows.max()) + 1)
            for key, values in wanted:
                having = np.zeros(len(rows), bool)
                for value in values_of(values):
                    numbers = self._numbers_of(key, value)
                    # None yet where whoever split the first row of it was interrupted.
                    if numbers:
                        having |= _are_among(numbers, rows)
                chosen &= ~having if isinstance(values, Not) else having
        return chosen

    def labels(self, rows: int) -> list[tuple[str, str]]:
        """The (key, value) that one of the first ``rows`` rows, or of those added since, has; raises as `mask`."""
        with self._lock:
            self._split_until(rows)
            return [(key, value) for key, values in self._having.items() for value in values]

    def count(self, label: tuple[str, str], rows: int, allowed: Array | None) -> int:
        """How many of the first ``rows`` rows, which `labels` was asked about, have a label; allowed: (rows,) bool of
        those that count.
        """
        with self._lock:
            found = self._rows_of(*label, rows)
        return len(found) if allowed is None else int(np.count_nonzero(allowed[found]))

    def rows(self, rows: int) -> dict[tuple[str, str], Array]:
        """Of the first ``rows`` rows, those that have each label."""
        with self._lock:
            self._split_some(max(rows - self._rows, 0))
            return {
                (key, value): self._rows_of(key, value, rows)
                for key, values in self._having.items()
                for value in values
            }

    def without(self, there: Array, places: Array) -> LabelRows:
        """The labels of the rows that are ``there``, (n,) bool, numbered anew by ``places``."""
        kept = LabelRows()
        for (key, value), rows in self.rows(len(there)).items():
            left = places[rows[there[rows]]]
            if len(left):
                kept._having[key][value] = array("q", left.astype(np.int64).tobytes())
        kept._rows = int(there.sum())
        kept._texts = [""] * kept._rows
        return kept

    def _rows_of(self, key: str, value: str, rows: int) -> Array:
        """Of the first ``rows`` rows, those that have a label."""
        numbers = self._numbers_of(key, value)
        # A copy: an array cannot grow while somebody looks at it.
        found = np.array(() if numbers is None else numbers, np.int64)
        return found[: np.searchsorted(found, rows)]

    def _numbers_of(self, key: str, value: str) -> array[int] | None:
        values = self._having.get(key)
        return None if values is None else values.get(value)

    def _split_until(self, rows: int) -> None:
        while self._rows < rows:
            deadline.check()
            self._split_some(min(rows - self._rows, _SPLIT_AT_ONCE))

    def _split_some(self, count: int) -> None:
        """Split the next strings that wait.

        Whoever asks may be interrupted (Ctrl-C): rows that were not counted are looked at again, and told once all
        the same.
        """
        first, end = self._rows, self._rows + count
        texts = self._texts[first:end]
        different = set(texts)
        if 2 * len(different) > count:
            self._note_each(texts, first)
        else:
            self._note_alike(texts, first, different)
        self._texts[first:end] = [""] * count
        self._rows = end

    def _note_each(self, texts: list[str], first: int) -> None:
        for row, text in enumerate(texts, first):
            if text:
                parts = text.split(SEPARATOR)
                for key, value in zip(parts[::2], parts[1::2], strict=True):
                    numbers = self._having[key][value]
                    if not numbers or numbers[-1] < row:
                        numbers.append(row)

    def _note_alike(self, texts: list[str], first: int, different: set[str]) -> None:
        """`_note_each`, where most texts are one of a few ``different`` ones."""
        rows_of: dict[str, list[int]] = {text: [] for text in different}
        for row, text in enumerate(texts, first):
            rows_of[text].append(row)
        having: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for text in filter(None, different):
            parts = text.split(SEPARATOR)
            for label in zip(parts[::2], parts[1::2], strict=True):
                having[label] += rows_of[text]
        for (key, value), rows in having.items():
            rows.sort()
            numbers = self._having[key][value]
            if numbers and numbers[-1] >= first:
                rows = rows[bisect_right(rows, numbers[-1]) :]
            numbers.extend(rows)


def _are_among(numbers: array[int], rows: Array) -> Array:
    """(n,) bool: which of some rows are among the ascending numbers, of which there is at least one."""
    if len(rows) <= _FEW_ROWS:
        places = [bisect_left(numbers, row) for row in rows.tolist()]
        return np.array(
            [
                place < len(numbers) and numbers[place] == row
                for place, row in zip(places, rows.tolist(), strict=True)
            ],
            np.bool_,
        )
    # A copy: an array cannot grow while somebody looks at it.
    known = np.array(numbers, np.int64)
    nearest = np.minimum(np.searchsorted(known, rows), len(known) - 1)
    return np.asarray(known[nearest] == rows)


def _numbers() -> array[int]:
    return array("q")


def _values() -> defaultdict[str, array[int]]:
    return defaultdict(_numbers)
