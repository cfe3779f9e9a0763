"""Columns beside a matrix: what filters ask of a row, as growing numpy arrays.

Readers hold views of the first n entries; growth copies, so their views stay as they were.  Changed
in place is only ``death``, from `ALIVE` to a revision later than any published one, so a reader at
an earlier revision decides the same before and after.  A removal, which changes what was at every
revision, copies: a view that a reader holds stays of one piece.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any, Final

import numpy as np

from memdb.types.arrays import Array

ALIVE: Final = np.iinfo(np.uint64).max
"""``death`` of a version that is current."""


class Columns:
    """Named columns of equal length."""

    __slots__ = ("_arrays", "_capacity", "rows")

    def __init__(self, **dtypes: Any) -> None:
        self.rows = 0
        self._capacity = 64
        self._arrays: dict[str, Array] = {
            name: np.empty(self._capacity, dtype) for name, dtype in dtypes.items()
        }

    def append(self, **values: Any) -> None:
        """Add one or more rows; every column must be given, as scalars or as arrays of one length."""
        count = next((len(value) for value in values.values() if isinstance(value, np.ndarray)), 1)
        self._make_room(count)
        place = slice(self.rows, self.rows + count)
        for name, array in self._arrays.items():
            array[place] = values[name]
        self.rows += count

    def append_row(self, **values: Any) -> None:
        """`append` of one row of scalars, in a third of the time."""
        self._make_room(1)
        row = self.rows
        for name, array in self._arrays.items():
            array[row] = values[name]
        self.rows += 1

    def get(self, name: str, row: int) -> int:
        """One entry."""
        return int(self._arrays[name][row])

    def set(self, name: str, row: Any, value: int) -> None:
        """Change one entry, or those at an array of rows, in place (see the module)."""
        self._arrays[name][row] = value

    def end_ever(self, rows: Array) -> None:
        """Make rows such that were never there, at any revision; views stay as they are."""
        self._arrays |= {name: self._arrays[name].copy() for name in ("birth", "death")}
        self.set("death", rows, 0)
        self.set("birth", rows, int(ALIVE))

    def take_versions(
        self, name: str, rows: Array, versions: Collection[tuple[int, int, int]]
    ) -> Array:
        """`end_ever` for versions, (number, birth, death) each, among the given rows; the version
        before one lasts until the one after it.  Which rows ended.

        name: the column of numbers.
        """
        self._arrays["death"] = self._arrays["death"].copy()
        columns = self.views()
        # Looked up, not searched for: a clip that stays open for a day has a version for each second.
        born: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        ending: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for row, number, birth, death in zip(
            rows.tolist(),
            columns[name][rows].tolist(),
            columns["birth"][rows].tolist(),
            columns["death"][rows].tolist(),
            strict=True,
        ):
            born[number, birth].append(row)
            ending[number, death].append(row)
        taken: list[int] = []
        for number, birth, death in sorted(versions):
            taken += born.get((number, birth), ())
            before = ending.pop((number, birth), [])
            for row in before:
                self.set("death", row, death)
            ending[number, death] += before
        ended = np.array(taken, np.int64)
        self.end_ever(ended)
        return ended

    def kept(self, rows: Array) -> Columns:
        """New columns of the given rows."""
        kept = Columns(**{name: array.dtype for name, array in self._arrays.items()})
        kept.append(**{name: array[rows] for name, array in self.views().items()})
        return kept

    def views(self) -> dict[str, Array]:
        """Every column, as views of the rows there are now."""
        there = slice(self.rows)
        return {name: array[there] for name, array in self._arrays.items()}

    def reserve(self, count: int) -> None:
        """Have room for so many more, for who adds them piece by piece."""
        self._make_room(count)

    def _make_room(self, count: int) -> None:
        if self.rows + count > self._capacity:
            while self.rows + count > self._capacity:
                self._capacity *= 2
            self._arrays = {name: self._grown(array) for name, array in self._arrays.items()}

    def _grown(self, array: Array) -> Array:
        grown = np.empty(self._capacity, array.dtype)
        grown[: self.rows] = array[: self.rows]
        return grown
