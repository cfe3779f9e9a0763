"""The gaps that an answer tells: the newest, and how many there are besides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from memdb.types.limits import GAPS_TOLD_MAX
from memdb.types.stream import Gap

UNKNOWN_NS: Final = -(1 << 63)
"""A gap of which nothing says when it was counts as older than all others."""


@dataclass(frozen=True, slots=True)
class ToldGaps:
    """What is missing where a question looks."""

    gaps: tuple[Gap, ...]
    """The newest, at most `GAPS_TOLD_MAX`; `in_order`."""
    left_out: int
    """Gaps that are there besides."""
    missing: Mapping[str, int]
    """By stream the numbers of all gaps, of those that are left out too; none of a stream without gaps."""

    def with_more(self, more: Sequence[Gap]) -> ToldGaps:
        """These and others, none of which is among them or was left out."""
        if not more:
            return self
        missing = Counter(self.missing)
        for gap in more:
            missing[gap.stream] += gap.last_seq - gap.first_seq + 1
        gaps = [*self.gaps, *more]
        left_out = max(0, len(gaps) - GAPS_TOLD_MAX)
        if left_out:
            gaps = sorted(gaps, key=_age)[left_out:]
        return ToldGaps(tuple(in_order(gaps)), self.left_out + left_out, missing)


NO_GAPS: Final = ToldGaps((), 0, {})


def in_order(gaps: Iterable[Gap]) -> list[Gap]:
    """Gaps as they are told: by stream, epoch and number."""
    return sorted(gaps, key=attrgetter("stream", "epoch", "first_seq"))


def _age(gap: Gap) -> tuple[int, str, int, int]:
    """What the older of two gaps has less of: a gap is as old as its end, or its start where that is not known."""
    known_ns = gap.start_ns if gap.end_ns is None else gap.end_ns
    return UNKNOWN_NS if known_ns is None else known_ns, gap.stream, gap.epoch, gap.first_seq
