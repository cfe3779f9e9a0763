"""How many rows of a partition there were at a revision.

Rows are appended in the order of their births, so those of a revision are the first so many.  A row that was
removed has no birth any more (`ALIVE` stands in its place): it says nothing about those beside it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from memdb.index.columns import ALIVE
from memdb.types.arrays import Array

_LOOK_ROWS: Final = 64
"""Rows behind a removed one that are looked at first; then twice as many, and so on."""


def rows_born(birth: Array, revision: int) -> int:
    """How many of the first rows hold all that were born at ``revision`` or before; a binary search."""
    low, high = 0, len(birth)
    while low < high:
        middle = (low + high) // 2
        there = _first_there(birth, middle, high)
        if there < high and int(birth[there]) <= revision:
            low = there + 1
        else:
            high = middle
    return low


def _first_there(birth: Array, begin: int, end: int) -> int:
    """The first row from ``begin`` on that was not removed, ``end`` where there is none."""
    if begin < end and birth[begin] != ALIVE:
        return begin
    step = _LOOK_ROWS
    while begin < end:
        part = np.flatnonzero(birth[begin : min(begin + step, end)] != ALIVE)
        if len(part):
            return begin + int(part[0])
        begin += step
        step *= 2
    return end
