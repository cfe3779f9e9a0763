"""Gaps as rows of numbers: of a great many the newest are found and all are counted, and `Gap`s are made of few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from memdb.engine.told_gaps import NO_GAPS, UNKNOWN_NS, ToldGaps
from memdb.types.arrays import Array
from memdb.types.limits import GAPS_TOLD_MAX
from memdb.types.stream import Gap

if TYPE_CHECKING:
    from memdb.engine.coverage import Missing

_FIRST, _LAST, _START, _END, _BIRTH = range(5)
_NO_START: Final = UNKNOWN_NS
_NO_END: Final = (1 << 63) - 1
"""Beyond all times, so that they compare as a beginning and an end that are not known."""


@dataclass(frozen=True, slots=True, eq=False)
class GapRows:
    """Gaps of one epoch, by number."""

    stream: str
    epoch: int
    rows: Array
    """As `gap_rows` made them, at least one."""


def gap_rows(gaps: Sequence[Missing]) -> Array:
    """(n, 5) int64 of gaps: first and last number, start and end in ns, birth."""
    rows = np.empty((len(gaps), 5), np.int64)
    for place, gap in enumerate(gaps):
        start_ns, end_ns = gap.times
        rows[place] = (
            gap.first_seq,
            gap.last_seq,
            _NO_START if start_ns is None else start_ns,
            _NO_END if end_ns is None else end_ns,
            gap.birth,
        )
    return rows


def newest_of(
    epochs: Sequence[GapRows], revision: int, start_ns: int | None, end_ns: int | None
) -> ToldGaps:
    """What is told of gaps of epochs, by stream and epoch, that were born by ``revision`` and touch
    [start_ns, end_ns); see `memdb.engine.coverage.Missing.touches`.
    """
    if not epochs:
        return NO_GAPS
    rows = np.concatenate([one.rows for one in epochs])
    start, end = rows[:, _START], rows[:, _END]
    wanted = rows[:, _BIRTH] <= revision
    if end_ns is not None:
        wanted &= start < end_ns
    if start_ns is not None:
        wanted &= (end > start_ns) | ((start == start_ns) & (end == start_ns))
    begins = np.cumsum([0, *(len(one.rows) for one in epochs[:-1])])
    places = np.flatnonzero(wanted)
    newest = _newest(np.where(end == _NO_END, start, end)[places])
    places, left_out = places[newest], len(places) - len(newest)
    owners = np.searchsorted(begins, places, "right") - 1
    gaps = tuple(
        _gap(epochs[owner], row)
        for owner, row in zip(owners.tolist(), rows[places].tolist(), strict=True)
    )
    return ToldGaps(gaps, left_out, _missing(epochs, rows, wanted, begins))


def _newest(ages: Array) -> Array:
    """Places of the `GAPS_TOLD_MAX` largest, ascending; of equal ones the last."""
    left_out = len(ages) - GAPS_TOLD_MAX
    if left_out <= 0:
        return np.arange(len(ages))
    least = np.partition(ages, left_out)[left_out]
    newer, alike = np.flatnonzero(ages > least), np.flatnonzero(ages == least)
    return np.sort(np.concatenate([newer, alike[len(alike) + len(newer) - GAPS_TOLD_MAX :]]))


def _missing(
    epochs: Sequence[GapRows], rows: Array, wanted: Array, begins: Array
) -> dict[str, int]:
    """By stream the numbers that are missing."""
    # Gaps of an epoch are apart from each other: all its numbers together are no more than a uint64 holds.
    counts = (rows[:, _LAST] - rows[:, _FIRST]).astype(np.uint64) + np.uint64(1)
    counts[~wanted] = 0
    missing: dict[str, int] = {}
    for one, count in zip(epochs, np.add.reduceat(counts, begins).tolist(), strict=True):
        if count:
            missing[one.stream] = missing.get(one.stream, 0) + count
    return missing


def _gap(owner: GapRows, row: list[int]) -> Gap:
    first, last, start_ns, end_ns, _ = row
    return Gap(
        owner.stream,
        owner.epoch,
        first,
        last,
        None if start_ns == _NO_START else start_ns,
        None if end_ns == _NO_END else end_ns,
    )
