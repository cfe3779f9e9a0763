"""Columns beside a matrix: what filters ask of a row, as growing numpy arrays.

Readers hold views of the first n entries; growth copies, so their views stay as they were.  The
only entry ever changed in place is ``death``, and only from `ALIVE` to a revision later than any
published one, so a reader at an earlier revision decides the same before and after.
"""

from __future__ import annotations

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
        if self.rows + count > self._capacity:
            while self.rows + count > self._capacity:
                self._capacity *= 2
            self._arrays = {name: self._grown(array) for name, array in self._arrays.items()}
        for name, array in self._arrays.items():
            array[self.rows : self.rows + count] = values[name]
        self.rows += count

    def set(self, name: str, row: int, value: int) -> None:
        """Change one entry in place (see the module on ``death``)."""
        self._arrays[name][row] = value

    def views(self) -> dict[str, Array]:
        """Every column, as views of the rows there are now."""
        return {name: array[: self.rows] for name, array in self._arrays.items()}

    def _grown(self, array: Array) -> Array:
        grown = np.empty(self._capacity, array.dtype)
        grown[: self.rows] = array[: self.rows]
        return grown
