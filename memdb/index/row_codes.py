"""A byte an element of rows that are kept whole, by which the native edge knows most of them not to be the best.

A question to a user of few clips reads its rows from memory that no cache holds, and that takes longer than all else
of it; codes are a quarter of that.  What they are and what they tell is the edge's (`edge/src/sketch.h`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from memdb.types.arrays import Array

MEASURES: Final = 3
_ROOM: Final = 32
"""Rows for which room is made at once."""

MakeCodes = Callable[[Array, Array, Array], None]
"""``memdb_edge.sketch_rows``: of (n, width) float32 rows, written into (n, width) u8 and (n, `MEASURES`) float32."""


@dataclass(frozen=True, slots=True, eq=False)
class RowCodes:
    """Codes of the first rows of a matrix."""

    codes: Array
    """(rows, width) u8."""
    measures: Array
    """(rows, `MEASURES`) float32: what is known of each row beside its code."""

    @classmethod
    def with_room(cls, rows: int, width: int) -> Self:
        """Room for so many rows, or a few more."""
        room = -(-rows // _ROOM) * _ROOM
        return cls(np.empty((room, width), np.uint8), np.empty((room, MEASURES), np.float32))

    def part(self, first: int, last: int) -> RowCodes:
        """Those of rows [first, last), as views."""
        return RowCodes(self.codes[first:last], self.measures[first:last])
