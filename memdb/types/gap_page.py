"""A part of a listing of gaps."""

from __future__ import annotations

from collections.abc import Sequence

from memdb.errors import InvalidArgument
from memdb.types.checks import check_int
from memdb.types.limits import EPOCH_MAX, LIMIT_MAX, SEQ_MAX
from memdb.types.stream import Gap


def checked_gap_page(limit: int | None, after: Gap | None) -> tuple[int | None, Gap | None]:
    """How many gaps a page has at most, and the one that it begins behind; raises `InvalidArgument`."""
    if after is not None and not isinstance(after, Gap):
        raise InvalidArgument(
            "expected the last gap of the page before",
            reason="BAD_TYPE",
            field="after",
            value=type(after).__name__,
        )
    if after is not None:
        check_int(after.epoch, "after.epoch", 0, EPOCH_MAX)
        check_int(after.first_seq, "after.first_seq", 0, SEQ_MAX)
    return None if limit is None else check_int(limit, "limit", 1, LIMIT_MAX), after


def gap_page(gaps: Sequence[Gap], limit: int | None, after: Gap | None) -> list[Gap]:
    """The gaps of one stream, by epoch and number, that belong to a page."""
    if after is not None:
        place = after.epoch, after.first_seq
        gaps = [gap for gap in gaps if (gap.epoch, gap.first_seq) > place]
    return list(gaps[:limit])
