"""Which rows of the texts are facts about a thing: the answer to a filter by ``about``, made before the search.

Rows only grow, and a reader looks at none beyond those of its view.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import numpy as np

from memdb.types.arrays import Array


class Things:
    """The things that facts are about; one writer adds, any readers ask."""

    def __init__(self) -> None:
        self._rows: dict[str, array[int]] = {}
        """Of each thing, ascending.  Readers copy an array in one step, so that the writer may append to it."""

    def add(self, row: int, about: Iterable[str]) -> None:
        """A fact of a row behind all others."""
        for thing in dict.fromkeys(about):
            rows = self._rows.get(thing)
            if rows is None:
                rows = self._rows[thing] = array("q")
            rows.append(row)

    def rows(self, about: Iterable[str], documents: int) -> Array:
        """(n,) int64, ascending: of the first ``documents`` rows, those about one of some things."""
        found = [self._rows_of(thing) for thing in about]
        rows = np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)
        return rows[: np.searchsorted(rows, documents)]

    def known(self, documents: int) -> dict[str, list[int]]:
        """Of each thing, the rows among the first ``documents``."""
        there = {thing: self.rows([thing], documents).tolist() for thing in list(self._rows)}
        return {thing: rows for thing, rows in there.items() if rows}

    def forget(self, gone: Array, about: Iterable[str]) -> None:
        """Lose some rows, which are about these things, and what only they are about."""
        for thing in about:
            rows = self._rows_of(thing)
            self._keep(thing, rows[~np.isin(rows, gone)].tolist())

    def without(self, there: Array, places: Array) -> Things:
        """Of the rows that are ``there``, (n,) bool, numbered anew by ``places``."""
        kept = Things()
        for thing in self._rows:
            rows = self._rows_of(thing)
            kept._keep(thing, places[rows[there[rows]]].tolist())
        return kept

    def _keep(self, thing: str, rows: list[int]) -> None:
        # Another array: a reader may be about to copy the old one.
        if rows:
            self._rows[thing] = array("q", rows)
        else:
            self._rows.pop(thing, None)

    def _rows_of(self, thing: str) -> Array:
        rows = self._rows.get(thing)
        return np.frombuffer(b"" if rows is None else rows.tobytes(), np.int64)
