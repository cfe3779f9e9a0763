"""What arrived of a user's streams, from which an opening makes its coverage anew.

Cameras send their numbers one after the other: an epoch of which every number came in its turn is taken
in at once.  The others, and what is damaged or was removed, go version by version, in the order in which
they came.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import ClassVar, Final

import numpy as np

from memdb.engine.coverage import Coverage
from memdb.types.arrays import Array

AT_ONCE_MIN: Final = 32
"""Versions of an epoch from which on it pays to look whether they came in turn."""

Came = tuple[int, int, bool, tuple[int, int, int, int | None, int | None, bool]]
"""(birth, clip number, whether it is the clip's first version, (stream number, epoch, seq, start and end in ns,
sealed)): as bare as that, since there may be one of every version."""


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """Versions of clips, of any order."""

    FIELDS: ClassVar = ("stream_no", "epoch", "seq", "start_ns", "end_ns", "sealed")

    birth: Array
    clip_no: Array
    first: Array
    """(n,) bool: whether it is the first of its clip."""
    fields: dict[str, Array]
    """Columns of the names in `FIELDS`."""

    def epochs(self) -> list[Array]:
        """The places of each epoch's versions, in the order in which they came."""
        stream_no, epoch = self.fields["stream_no"], self.fields["epoch"]
        order = np.lexsort((self.clip_no, self.birth, epoch, stream_no))
        stream_no, epoch = stream_no[order], epoch[order]
        ends = (stream_no[1:] != stream_no[:-1]) | (epoch[1:] != epoch[:-1])
        return np.split(order, np.flatnonzero(ends) + 1)

    def one_by_one(self, chosen: Array | slice) -> Iterable[Came]:
        """Some of them; chosen: their places."""
        columns = [self.fields[name][chosen].tolist() for name in self.FIELDS]
        return zip(
            self.birth[chosen].tolist(),
            self.clip_no[chosen].tolist(),
            self.first[chosen].tolist(),
            zip(*columns, strict=True),
            strict=True,
        )


def coverage_of(spaces: Iterable[Arrivals], others: list[Came], *, is_damaged: bool) -> Coverage:
    """The coverage after all of it.

    others: what is in no space any more; is_damaged: whether a clip of them may be in a space as well.
    """
    coverage = Coverage()
    waiting = list(others)
    apart = {came[:2] for _, _, _, came in others}
    # An epoch is of one stream, and a stream of one space.
    for arrivals in spaces:
        if len(arrivals.birth) < AT_ONCE_MIN:
            waiting.extend(arrivals.one_by_one(slice(None)))
            continue
        for chosen in arrivals.epochs():
            if not _taken_at_once(coverage, arrivals, chosen, apart):
                waiting.extend(arrivals.one_by_one(chosen))
    grown = {
        came[:3]: came[3]
        for _, _, first, came in sorted(waiting, key=itemgetter(0, 1))
        if not first
    }
    for birth, _, first, came in sorted(waiting, key=itemgetter(0, 1)):
        stream_no, epoch_no, seq, start_ns, end_ns, sealed = came
        epoch = coverage.epoch(stream_no, epoch_no)
        arrives = first and not (is_damaged and epoch.has(seq))
        (epoch.arrive if arrives else epoch.grow)(seq, start_ns, end_ns, birth)
        if arrives:
            epoch.begin(grown.get(came[:3], start_ns))
        if sealed:
            epoch.seal(seq, end_ns)
    for _, _, _, (stream_no, epoch_no, _, start_ns, _, _) in others:
        coverage.epoch(stream_no, epoch_no).give_up(start_ns)
    return coverage


def _taken_at_once(
    coverage: Coverage, arrivals: Arrivals, chosen: Array, apart: set[tuple[int, int]]
) -> bool:
    """Take an epoch in where every number came in its turn; whether so.

    chosen: the places of its versions, in the order in which they came.
    """
    if len(chosen) < AT_ONCE_MIN:
        return False
    fields = arrivals.fields
    number = int(fields["stream_no"][chosen[0]]), int(fields["epoch"][chosen[0]])
    came = chosen[arrivals.first[chosen]]
    if number in apart or not np.array_equal(fields["seq"][came], np.arange(len(came))):
        return False
    starts = np.empty(len(came), np.int64)
    starts[fields["seq"][chosen]] = fields["start_ns"][chosen]  # of one clip the last one stays
    epoch = coverage.epoch(*number)
    newest = chosen[fields["seq"][chosen] == len(came) - 1][-1]
    epoch.arrive_in_turn(len(came), int(starts.min()), int(fields["end_ns"][newest]))
    sealed = chosen[fields["sealed"][chosen]]
    if len(sealed):
        newest = sealed[np.argmax(fields["seq"][sealed])]
        epoch.seal(int(fields["seq"][newest]), int(fields["end_ns"][newest]))
    return True
