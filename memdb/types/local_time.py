"""The clock on the wall of a time zone, for many moments at once.

The zone's offset from UTC is constant between two transitions.  They are looked for in the years that are
asked for, day by day, and kept: the zone database says only what the offset is at a moment.  Two transitions
within one day that cancel each other would be missed; no zone has had any.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from memdb.errors import FailedPrecondition
from memdb.types.arrays import Array

SECOND_NS: Final = 1_000_000_000
DAY_S: Final = 86_400
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS_KEPT: Final = 1024
"""Years of zones."""


def offset_pieces(zone: str, years: tuple[int, ...]) -> tuple[Array, Array]:
    """The pieces of time with one offset, for moments in ``years`` (UTC, ascending).

    Returns (starts, offsets) in nanoseconds, int64: piece i is [starts[i], starts[i + 1]), its local time is
    UTC + offsets[i].

    Raises `FailedPrecondition` (``ZONE_UNKNOWN``): the zone database of this machine lacks the zone.
    """
    pieces = [piece for year in years for piece in _pieces_of_year(zone, year)]
    return (
        np.array([start for start, _ in pieces], np.int64) * SECOND_NS,
        np.array([offset for _, offset in pieces], np.int64) * SECOND_NS,
    )


@lru_cache(_YEARS_KEPT)
def _pieces_of_year(name: str, year: int) -> tuple[tuple[int, int], ...]:
    """(start, offset) in seconds of the pieces that begin in a year, the first with the year."""
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise FailedPrecondition(
            "the time zone database of this machine does not have the stream's zone",
            reason="ZONE_UNKNOWN",
            field="zone",
            value=name,
        ) from error
    first = _year_start_s(year)
    offset = _offset_s(zone, first)
    pieces = [(first, offset)]
    for begin in range(first, _year_start_s(year + 1), DAY_S):
        after = _offset_s(zone, begin + DAY_S)
        if after == offset:
            continue
        low, high = begin, begin + DAY_S
        while high - low > 1:
            middle = (low + high) // 2
            if _offset_s(zone, middle) == offset:
                low = middle
            else:
                high = middle
        pieces.append((high, after))
        offset = after
    return tuple(pieces)


def _year_start_s(year: int) -> int:
    return int((datetime(year, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds())


def _offset_s(zone: ZoneInfo, second: int) -> int:
    offset = (_EPOCH + timedelta(seconds=second)).astimezone(zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def years_of(start_ns: Array, end_ns: Array) -> tuple[int, ...]:
    """The years (UTC) that intervals touch, ascending; of intervals over more than two years, all
    between the first and the last.
    """
    firsts, lasts = _years(start_ns), _years(end_ns)
    if len(firsts) and int((lasts - firsts).max()) > 1:
        return tuple(range(int(firsts.min()), int(lasts.max()) + 1))
    return tuple(np.union1d(firsts, lasts).tolist())


def _years(times_ns: Array) -> Array:
    return times_ns.astype("datetime64[ns]").astype("datetime64[Y]").astype(np.int64) + 1970
