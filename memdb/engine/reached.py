"""How far the ledger may reach in each epoch, so that what lies beyond is not looked up.

A clip is nearly always the next of its epoch.  To ask the ledger all the same takes 1 us, but lets go of the
interpreter's lock: beside other threads that write, 60 us go by until it is there again, for each clip.

What is told is never too little.  It is what the coverage says at the opening, and every number that was decided since,
be it that its commit failed.
"""

from __future__ import annotations

from memdb.engine.coverage import Coverage
from memdb.types.limits import GAPS_MAX, SEQ_MAX


class Reached:
    """The highest number of each epoch that the ledger may have; for whoever decides, one at a time."""

    def __init__(self, coverage: Coverage | None) -> None:
        """coverage: of all that the ledger has, as of the newest commit; None where that is not known."""
        self._coverage = coverage
        self._seqs: dict[tuple[int, int], int] = {}

    def advance(self, stream_no: int, epoch: int, seq: int, count: int = 1) -> bool:
        """Note that a number is going to be there, or so many that follow each other; whether none of them certainly
        was.  Else nothing is noted.
        """
        key = stream_no, epoch
        newest = self._seqs.get(key)
        if newest is None:
            newest = self._opened(key)
        if seq <= newest:
            return False
        self._seqs[key] = seq + count - 1
        return True

    def is_full(self, stream_no: int, epoch: int) -> bool:
        """Whether the epoch has as many gaps as it may, as of the newest commit that is shown."""
        found = None if self._coverage is None else self._coverage.find(stream_no, epoch)
        return found is not None and len(found.open_gaps) >= GAPS_MAX

    def _opened(self, key: tuple[int, int]) -> int:
        """Of an epoch of which nothing was decided since the opening."""
        if self._coverage is None:
            newest = SEQ_MAX
        else:
            found = self._coverage.find(*key)
            newest = -1 if found is None else found.newest_seq
        self._seqs[key] = newest
        return newest
