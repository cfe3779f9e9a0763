"""Numbers of clips that were given up or erased: which they are, and taking them in a copy.

Such a number is no gap, and no other clip gets it.  Nothing else of what was removed is known here.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from memdb.errors import FailedPrecondition
from memdb.types.clip import Clip, StoredClip
from memdb.types.database import Stream, User
from memdb.types.limits import EPOCH_MAX, LIMIT_MAX, SEQ_MAX, TIME_NS_MIN
from memdb.types.space import Space

Run = tuple[int, int]
"""First and last number, inclusive."""
Runs = dict[int, list[Run]]
"""By epoch, disjoint, ascending."""
_EPOCHS_LOOKED_AT: Final = 1000
"""Epochs from 0 on are looked at though nothing is left of them, up to the highest of which something is."""
_LABELS: Final = {"memdb": "taken"}
_AT_ONCE: Final = 16_384
"""Numbers that are taken with one erasure."""


class Numbers:
    """Numbers by epoch, as runs: a camera's are one run a day, not 20,000 numbers."""

    def __init__(self) -> None:
        self._runs: defaultdict[int, list[Run]] = defaultdict(list)

    def add(self, epoch: int, first: int, last: int) -> None:
        """One or more numbers; some may be known."""
        runs = self._runs[epoch]
        if runs and runs[-1][0] <= first <= runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], max(last, runs[-1][1]))
        else:
            runs.append((first, last))

    def without(self, wanted: Runs) -> Runs:
        """Those of ``wanted`` that are not among these."""
        left = {epoch: _without(runs, self._runs.get(epoch, ())) for epoch, runs in wanted.items()}
        return {epoch: runs for epoch, runs in left.items() if runs}

    @property
    def epochs(self) -> set[int]:
        """Those of which a number is known."""
        return set(self._runs)


def taken_numbers(user: User, stream: str, revision: int, there: Numbers) -> Runs:
    """Numbers that came and of which nothing is left.

    there: those of clips that are left as of ``revision``.
    """
    handle = user.stream(stream)
    missing = Numbers()
    for gap in handle.gaps(as_of=revision):
        missing.add(gap.epoch, gap.first_seq, gap.last_seq)
    known = there.epochs | missing.epochs
    highest = max(known, default=0)
    looked_at = known | set(range(min(highest + 1, _EPOCHS_LOOKED_AT)))
    # First how far they go, then what is left: what comes meanwhile is not taken for gone.
    reached = {
        epoch: [(0, next_seq - 1)]
        for epoch in sorted(looked_at)
        if (next_seq := handle.ledger(epoch=epoch).next_seq)
    }
    found = missing.without(there.without(reached))
    if not found:
        return found
    now = Numbers()
    for epoch, seq in _clips(user, stream):
        now.add(epoch, seq, seq)
    for gap in handle.gaps():
        now.add(gap.epoch, gap.first_seq, gap.last_seq)
    return now.without(found)


def taken_rows(stream: str, taken: Runs) -> Iterator[dict[str, Any]]:
    """Rows of an export."""
    for epoch, runs in sorted(taken.items()):
        for first, last in runs:
            yield {"stream": stream, "epoch": epoch, "first_seq": first, "last_seq": last}


def checked_taken(rows: Iterable[dict[str, Any]], streams: Iterable[str]) -> dict[str, Runs]:
    """The runs of each stream; raises `ValueError` where they are none."""
    known = set(streams)
    taken: dict[str, Runs] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        stream, epoch, first, last = (
            row[name] for name in ("stream", "epoch", "first_seq", "last_seq")
        )
        runs = taken[stream][epoch]
        if (
            stream not in known
            or not 0 <= epoch <= EPOCH_MAX
            or not (runs[-1][1] if runs else -1) < first <= last <= SEQ_MAX
        ):
            raise ValueError("no run of numbers")
        runs.append((first, last))
    return taken


class Taking:
    """Takes numbers of one stream, each in its place among the clips: written before or behind them, it would make
    gaps for a while, and more than there may be.

    A number is taken by a clip that says nothing and is erased again: it never seals, so that no question of
    sealed clips sees it, and it lies where no camera was.
    """

    def __init__(self, user: User, stream: str, space: Space, wanted: Runs) -> None:
        self._user = user
        self._name = stream
        self._stream: Stream = user.stream(stream)
        self._memory = np.eye(1, space.dim, dtype=np.float32)[0]
        self._waiting = 0
        """Clips that are written and not erased."""
        self._given = 0
        """Clips that were given to be written."""
        self._is_given = False
        """Whether those were all."""
        self.written = 0
        self.left = 0
        """Numbers that are not taken, because the stream is under legal hold."""
        self._left = {epoch: deque(runs) for epoch, runs in self._missing(wanted).items()}

    def before(self, epoch: int, seq: int | None) -> Iterator[Clip]:
        """The clips to be written before one, None for all of the epoch."""
        runs = self._left.get(epoch)
        while runs and (seq is None or runs[0][0] < seq):
            # No clip that is imported lies within a run.
            first, last = runs.popleft()
            for number in range(first, last + 1):
                self._given += 1
                yield self._clip(epoch, number)

    def rest(self) -> Iterator[Clip]:
        """Those that are left."""
        for epoch in self._left:
            yield from self.before(epoch, None)
        self._is_given = True

    def wrote(self, count: int) -> None:
        """So many of what was given are written; erases them, many at once, and the last."""
        self.written += count
        self._waiting += count
        if self._waiting >= _AT_ONCE or (self._is_given and self.written == self._given):
            self._erase()

    def _missing(self, wanted: Runs) -> Runs:
        """What the stream has neither a clip for nor lost itself."""
        is_held = self._stream.retention().hold
        if not is_held and any(labels == _LABELS for labels in self._laid()):
            self._waiting = 1  # by an import that was broken off
            self._erase()
        there = Numbers()
        for epoch, seq in _clips(self._user, self._name):
            there.add(epoch, seq, seq)
        for epoch, runs in taken_numbers(
            self._user, self._name, self._user.revision(), there
        ).items():
            for first, last in runs:
                there.add(epoch, first, last)
        left = there.without(wanted)
        if is_held:
            # Nothing of it is erased, be it only a number; what is under hold takes clips all the same.
            self.left = sum(last - first + 1 for runs in left.values() for first, last in runs)
            return {}
        return left

    def _clip(self, epoch: int, seq: int) -> Clip:
        return Clip(
            seq=seq,
            epoch=epoch,
            start_ns=TIME_NS_MIN,
            end_ns=TIME_NS_MIN + 1,
            global_memory=self._memory,
            labels=_LABELS,
            sealed=False,
        )

    def _erase(self) -> None:
        if not self._waiting:
            return
        if any(labels != _LABELS for labels in self._laid()):
            raise FailedPrecondition(
                "a clip lies where numbers are taken, 146 years before 1970",
                reason="STREAM_NOT_EMPTY",
                field="stream",
                value=self._name,
            )
        if any(gap.reason == "damaged" for gap in self._stream.gaps()):
            # One whose time nobody can tell lies at every time.
            ids = [clip.id for clip in self._clips_there()]
            for begin in range(0, len(ids), LIMIT_MAX):
                self._user.erase_clips(ids[begin : begin + LIMIT_MAX])
        else:
            self._user.erase_clips(stream=self._name, start_ns=TIME_NS_MIN, end_ns=TIME_NS_MIN + 1)
        self._waiting = 0

    def _laid(self) -> Iterator[dict[str, str]]:
        """Labels of the clips that lie where numbers are taken."""
        return (dict(clip.labels) for clip in self._clips_there())

    def _clips_there(self) -> Iterator[StoredClip]:
        return _listed(self._user, self._name, start_ns=TIME_NS_MIN, end_ns=TIME_NS_MIN + 1)


def _clips(user: User, stream: str) -> Iterator[tuple[int, int]]:
    for clip in _listed(user, stream):
        yield clip.epoch, clip.seq


def _listed(user: User, stream: str, **times: int) -> Iterator[StoredClip]:
    after: str | None = None
    while page := user.clips(
        stream=stream,
        limit=LIMIT_MAX,
        after=after,
        with_global_memory=False,
        with_keyframes=False,
        **times,  # type: ignore[arg-type]  # start_ns and end_ns alone
    ):
        yield from page
        after = page[-1].cursor


def _without(wanted: Sequence[Run], known: Sequence[Run]) -> list[Run]:
    left: list[Run] = []
    others = sorted(known)
    place = 0
    for first, last in wanted:
        while place < len(others) and others[place][1] < first:
            place += 1
        at = place
        while at < len(others) and others[at][0] <= last:
            if others[at][0] > first:
                left.append((first, others[at][0] - 1))
            first = max(first, others[at][1] + 1)
            at += 1
        if first <= last:
            left.append((first, last))
    return left
