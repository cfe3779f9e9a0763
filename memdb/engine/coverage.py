"""What arrived of each epoch, and what is missing, at any revision.

A gap is an interval of missing clip numbers with the revisions between which it was missing: it is
born when a later number arrives first, and dies (or splits) when one of its numbers arrives.  The
first version of a clip counts as its arrival.  A gap lies between the clips beside it as they are at the revision:
when one of them grows, the gap that was dies, and a smaller one is born.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter, itemgetter
from typing import Final

from memdb.engine.gap_rows import GapRows, gap_rows, newest_of
from memdb.engine.told_gaps import NO_GAPS, ToldGaps, in_order
from memdb.store.rows import HEAD, row_fields, stretches
from memdb.types.arrays import Array
from memdb.types.stream import Gap

_NEVER = 1 << 63
_FEW: Final = 64
"""Gaps up to which each is looked at by itself."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A gap while it lasted: alive in revisions [birth, death)."""

    first_seq: int
    last_seq: int
    start_ns: int | None
    end_ns: int | None
    birth: int
    death: int = _NEVER

    def touches(self, start_ns: int | None, end_ns: int | None) -> bool:
        """Whether it may hide something within [start_ns, end_ns)."""
        own_start_ns, own_end_ns = self.times
        before = end_ns is not None and own_start_ns is not None and own_start_ns >= end_ns
        after = start_ns is not None and own_end_ns is not None and own_end_ns <= start_ns
        # Between clips that follow each other at once: a point, as a clip of no length is.
        at_start = own_start_ns == own_end_ns == start_ns
        return not before and (not after or at_start)

    @property
    def times(self) -> tuple[int | None, int | None]:
        """When what is missing may have been.

        Where the clip after it begins before the one before it ends, its numbers do not follow the clock,
        and neither says when the missing ones were.  Both stay as they are in here: a number that comes in
        between has one of them as a neighbour.
        """
        if self.start_ns is not None and self.end_ns is not None and self.start_ns > self.end_ns:
            return None, None
        return self.start_ns, self.end_ns


@dataclass(slots=True)
class EpochCoverage:
    """One epoch of one stream."""

    clips: int = 0
    newest_seq: int = -1
    newest_end_ns: int | None = None
    sealed_seq: int = -1
    sealed_end_ns: int | None = None
    first_start_ns: int | None = None
    """Where the earliest clip begins, each as it is now, or as it was when retention gave it up."""
    gone_start_ns: int | None = None
    """Of those that were given up."""
    open_gaps: list[Missing] = field(default_factory=list)
    """Now missing, by number."""
    closed_gaps: list[Missing] = field(default_factory=list)
    _rows: tuple[list[Missing], Array] | None = field(default=None, repr=False, compare=False)
    """`rows_at` of so many of these open gaps."""

    def arrive(self, seq: int, start_ns: int | None, end_ns: int | None, birth: int) -> None:
        """Note the first version of a clip; the times of one that was erased are not known."""
        self.clips += 1
        if seq > self.newest_seq:
            if seq > self.newest_seq + 1:
                self.open_gaps.append(
                    Missing(self.newest_seq + 1, seq - 1, self.newest_end_ns, start_ns, birth)
                )
            self.newest_seq, self.newest_end_ns = seq, end_ns
            return
        place = bisect_right(self.open_gaps, seq, key=attrgetter("first_seq")) - 1
        gap = self.open_gaps[place]
        assert gap.first_seq <= seq <= gap.last_seq, "a clip arrives once"
        if gap.birth < birth:
            self.closed_gaps.append(replace(gap, death=birth))
        parts = []
        if gap.first_seq < seq:
            parts.append(Missing(gap.first_seq, seq - 1, gap.start_ns, start_ns, birth))
        if seq < gap.last_seq:
            parts.append(Missing(seq + 1, gap.last_seq, end_ns, gap.end_ns, birth))
        # A new list, after the gap is among the closed ones: a reader meanwhile finds it in one of
        # the two, or in both, never in neither.
        self.open_gaps = [*self.open_gaps[:place], *parts, *self.open_gaps[place + 1 :]]

    def arrive_sealed(self, seq: int, start_ns: int, end_ns: int, birth: int) -> None:
        """`arrive`, `begin` and `seal` of a clip's first version."""
        if seq == self.newest_seq + 1:  # as nearly all come
            self.clips += 1
            self.newest_seq, self.newest_end_ns = seq, end_ns
        else:
            self.arrive(seq, start_ns, end_ns, birth)
        if self.first_start_ns is None or start_ns < self.first_start_ns:
            self.first_start_ns = start_ns
        if seq > self.sealed_seq:
            self.sealed_seq, self.sealed_end_ns = seq, end_ns

    def arrive_behind(self, first_seq: int, clips: int, start_ns: int, end_ns: int) -> bool:
        """`arrive_sealed` of numbers that follow each other and the newest one, as nearly all come; False, and nothing
        is done, where they do not.

        start_ns: where the earliest of them begins; end_ns: where the last one ends.
        """
        if first_seq != self.newest_seq + 1:
            return False
        self.clips += clips
        self.newest_seq, self.newest_end_ns = self.newest_seq + clips, end_ns
        if self.first_start_ns is None or start_ns < self.first_start_ns:
            self.first_start_ns = start_ns
        self.sealed_seq, self.sealed_end_ns = self.newest_seq, end_ns
        return True

    def grow(self, seq: int, start_ns: int | None, end_ns: int | None, birth: int) -> None:
        """Note a later version of a clip that has come."""
        if seq == self.newest_seq:
            self.newest_end_ns = end_ns
        gaps = self.open_gaps
        place = bisect_right(gaps, seq, key=attrgetter("first_seq"))
        if place < len(gaps) and gaps[place].first_seq == seq + 1:
            self._move(place, replace(gaps[place], start_ns=end_ns, birth=birth))
        if place and gaps[place - 1].last_seq == seq - 1:
            self._move(place - 1, replace(gaps[place - 1], end_ns=start_ns, birth=birth))

    def _move(self, place: int, moved: Missing) -> None:
        """One of the open gaps has other times from a revision on."""
        gap = self.open_gaps[place]
        if (moved.start_ns, moved.end_ns) == (gap.start_ns, gap.end_ns):
            return
        if gap.birth < moved.birth:
            self.closed_gaps.append(replace(gap, death=moved.birth))
        # As in `arrive`: a reader finds it in one of the two.
        self.open_gaps = [*self.open_gaps[:place], moved, *self.open_gaps[place + 1 :]]

    def begin(self, start_ns: int | None, before_ns: int | None = None) -> bool:
        """Note where a clip begins, that began at ``before_ns`` until now; whether another one may be the earliest
        now, for `begin_anew`.
        """
        if start_ns is None:
            return False
        first_ns = self.first_start_ns
        if first_ns is None or start_ns <= first_ns:
            self.first_start_ns = start_ns
            return False
        return before_ns == first_ns

    def begin_anew(self, start_ns: int | None) -> None:
        """Of the clips that are there the earliest begins here."""
        self.first_start_ns = _earlier(start_ns, self.gone_start_ns)

    def give_up(self, start_ns: int | None) -> None:
        """A clip that begins here is there no more."""
        self.gone_start_ns = _earlier(start_ns, self.gone_start_ns)
        self.begin(start_ns)

    def settle(self, removed: Mapping[int, tuple[int | None, int | None]]) -> None:
        """Some clips (seq -> start and end in ns) are gone, with what they were before they grew: the gaps beside them
        have these times at every revision, as after the next opening.
        """

        def settled(gap: Missing) -> Missing:
            before, after = removed.get(gap.first_seq - 1), removed.get(gap.last_seq + 1)
            if before is None and after is None:
                return gap
            start_ns = gap.start_ns if before is None else before[1]
            end_ns = gap.end_ns if after is None else after[0]
            return replace(gap, start_ns=start_ns, end_ns=end_ns)

        for start, _ in removed.values():
            self.give_up(start)
        if self.newest_seq in removed:
            self.newest_end_ns = removed[self.newest_seq][1]
        # As in `arrive`: new lists, that of the closed ones first.
        self.closed_gaps = [settled(gap) for gap in self.closed_gaps]
        self.open_gaps = [settled(gap) for gap in self.open_gaps]

    def arrive_in_turn(self, clips: int, first_start_ns: int, newest_end_ns: int) -> None:
        """`arrive` of the numbers from 0 on, each after the one before it, of an epoch of which nothing is known."""
        self.clips, self.newest_seq = clips, clips - 1
        self.first_start_ns, self.newest_end_ns = first_start_ns, newest_end_ns

    def has(self, seq: int) -> bool:
        """Whether the number has come."""
        return seq <= self.newest_seq and not self.is_missing(seq)

    def is_missing(self, seq: int) -> bool:
        """Whether the number has not come, though a later one has."""
        gaps = self.open_gaps
        place = bisect_right(gaps, seq, key=attrgetter("first_seq")) - 1
        return place >= 0 and seq <= gaps[place].last_seq

    def seal(self, seq: int, end_ns: int | None) -> None:
        """Note that a clip is finished."""
        if seq > self.sealed_seq:
            self.sealed_seq, self.sealed_end_ns = seq, end_ns

    def missing_at(self, revision: int) -> list[Missing]:
        """Gaps alive at ``revision``, by number."""
        alive = [gap for gap in self.open_gaps if gap.birth <= revision]
        # They died in the order in which they lie here: what died before is passed over as a whole.
        # Looked at after the open ones, see `arrive`.
        for gap in reversed(self.closed_gaps):
            if gap.death <= revision:
                break
            if gap.birth <= revision:
                alive.append(gap)
        # Gaps of one revision are disjoint, so a second of the same number is the same gap.
        once = {gap.first_seq: gap for gap in alive}
        return sorted(once.values(), key=attrgetter("first_seq"))

    def gaps(
        self,
        stream: str,
        epoch: int,
        revision: int,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> list[Gap]:
        """Those of `missing_at` that touch [start_ns, end_ns), as gaps of a stream and epoch, which this is of."""
        return [
            Gap(stream, epoch, gap.first_seq, gap.last_seq, *gap.times)
            for gap in self.missing_at(revision)
            if gap.touches(start_ns, end_ns)
        ]

    def rows_at(self, revision: int) -> Array:
        """`gap_rows` with those of `missing_at`; others that are there were born later.

        Made once for as long as the gaps stay as they are.
        """
        gaps = self.open_gaps
        # After the open ones, as in `missing_at`.
        closed = self.closed_gaps
        if closed and closed[-1].death > revision:
            return gap_rows(self.missing_at(revision))
        # A list only ever grows at its end; for all else there is a new one.
        kept, count = self._rows, len(gaps)
        if kept is None or kept[0] is not gaps or len(kept[1]) != count:
            kept = self._rows = gaps, gap_rows(gaps[:count])
        return kept[1]


def _earlier(one_ns: int | None, other_ns: int | None) -> int | None:
    if one_ns is None or other_ns is None:
        return other_ns if one_ns is None else one_ns
    return min(one_ns, other_ns)


class Coverage:
    """Every epoch of every stream of a user; one writer, readers ask by revision."""

    def __init__(self) -> None:
        self._epochs: dict[tuple[int, int], EpochCoverage] = {}

    def epoch(self, stream_no: int, epoch: int) -> EpochCoverage:
        """The epoch's coverage, made when it is new (writer only)."""
        found = self._epochs.get((stream_no, epoch))
        if found is None:
            found = self._epochs[stream_no, epoch] = EpochCoverage()
        return found

    def arrive(self, rows: bytes, revision: int) -> None:
        """Note first versions of sealed clips, each a `memdb.store.rows.HEAD`, in their order (writer only)."""
        begin = 0
        for stream_no, epoch_no, first_seq, clips, start_ns, end_ns in stretches(rows):
            end = begin + clips * HEAD.itemsize
            epoch = self.epoch(stream_no, epoch_no)
            if not epoch.arrive_behind(first_seq, clips, start_ns, end_ns):
                for _, _, seq, its_start_ns, its_end_ns, *_ in row_fields(rows[begin:end]):
                    epoch.arrive_sealed(seq, its_start_ns, its_end_ns, revision)
            begin = end

    def is_small(self, epochs_max: int, gaps_max: int) -> bool:
        """Whether there are so many epochs and gaps at most, those of earlier revisions included."""
        if len(self._epochs) > epochs_max:
            return False
        # A list, at once: the writer may add an epoch meanwhile.
        epochs = list(self._epochs.values())
        return sum(len(one.open_gaps) + len(one.closed_gaps) for one in epochs) <= gaps_max

    def drop(self, stream_no: int) -> None:
        """Forget a stream (writer only)."""
        self._epochs = {key: epoch for key, epoch in self._epochs.items() if key[0] != stream_no}

    def find(self, stream_no: int, epoch: int) -> EpochCoverage | None:
        """The epoch's coverage, None when nothing arrived."""
        return self._epochs.get((stream_no, epoch))

    def gaps(
        self,
        streams: dict[int, str],
        revision: int,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> list[Gap]:
        """Gaps of the given streams (number -> name) at ``revision`` that touch [start_ns, end_ns)."""
        found: list[Gap] = []
        # A copy first: the writer may add an epoch meanwhile.
        for (stream_no, epoch), coverage in self._epochs.copy().items():
            name = streams.get(stream_no)
            if name is not None:
                found += coverage.gaps(name, epoch, revision, start_ns, end_ns)
        return in_order(found)

    def gaps_by_epoch(
        self,
        stream_no: int,
        name: str,
        revision: int,
        start_ns: int | None = None,
        end_ns: int | None = None,
        *,
        first_epoch: int = 0,
    ) -> Iterator[list[Gap]]:
        """`gaps` of one stream, one epoch after the other from some on, none of which is looked at before its turn."""
        # A copy first, as in `gaps`.
        of_stream = [
            (epoch, coverage)
            for (its, epoch), coverage in self._epochs.copy().items()
            if its == stream_no and epoch >= first_epoch
        ]
        for epoch, coverage in sorted(of_stream, key=itemgetter(0)):
            yield coverage.gaps(name, epoch, revision, start_ns, end_ns)

    def told_gaps(
        self,
        streams: dict[int, str],
        revision: int,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> ToldGaps:
        """What an answer tells of `gaps`, however many there are."""
        # A copy first, as in `gaps`.
        found = [
            (streams[stream_no], epoch, coverage)
            for (stream_no, epoch), coverage in self._epochs.copy().items()
            if stream_no in streams and (coverage.open_gaps or coverage.closed_gaps)
        ]
        if sum(len(one.open_gaps) + len(one.closed_gaps) for _, _, one in found) <= _FEW:
            few = self.gaps(streams, revision, start_ns, end_ns) if found else ()
            return NO_GAPS.with_more(few)
        found.sort(key=itemgetter(0, 1))
        rows = [GapRows(name, epoch, one.rows_at(revision)) for name, epoch, one in found]
        return newest_of([one for one in rows if len(one.rows)], revision, start_ns, end_ns)
