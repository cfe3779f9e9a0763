"""How late and how early a clip may come, and how much of an epoch may be missing.

A number that was skipped may be filled in later, in any order: what is missing is kept as gaps.  To
keep that bounded, a missing number is refused once it is `LATE_SEQ_MAX` behind the newest, and a
number that would open one gap more than `GAPS_MAX` of its epoch is refused too: here one that skips others, where it is
decided one that parts a gap (`memdb.engine.apply_clip`).  A clip that was stored is acknowledged however late it comes
again.

A number that skips more than ``engine.seq_ahead_max`` is a mistake, and one that cannot be taken back: all
numbers that were meant would be too late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from memdb.engine.view import View
from memdb.errors import FailedPrecondition, MemdbError, ResourceExhausted
from memdb.types.limits import GAPS_MAX, LATE_SEQ_MAX
from memdb.types.operation import WriteClip, WriteRun

Newest = Mapping[tuple[str, int], int]
"""By stream and epoch, the highest number that will have come before something: it is in the queue of commits, and no
view has it yet."""
NOTHING: Final[Newest] = {}


def refusals(
    view: View,
    operations: Sequence[WriteClip | WriteRun],
    seq_ahead_max: int,
    on_its_way: Newest = NOTHING,
    reached: dict[tuple[str, int], int] | None = None,
) -> list[MemdbError | None]:
    """Why each clip is refused, None where it is not; one after the other, those of runs too.

    reached: is told what `Newest` is for those that come behind these.

    `FailedPrecondition` (``TOO_LATE``, ``TOO_FAR_AHEAD``), `ResourceExhausted` (``QUOTA``), `DataLoss`
    (``QUARANTINED``), field ``clip.seq``.
    """
    found: list[MemdbError | None] = []
    reached = {} if reached is None else reached
    opened: dict[tuple[str, int], int] = {}
    """Gaps of each epoch that these open, and no view has."""
    for operation in operations:
        if isinstance(operation, WriteRun):
            run = operation.run
            epoch, first, count = run.epoch, run.first_seq, len(run)
        else:
            epoch, first, count = operation.clip.epoch, operation.clip.seq, 1
        stream = operation.stream
        key = (stream, epoch)
        newest = reached.get(key)
        if newest is None:
            newest = max(_newest(view, stream, epoch), on_its_way.get(key, -1))
            reached[key] = newest
        if first == newest + 1 and view.quarantine.is_empty:
            # As nearly all come.
            reached[key] = newest + count
            found += [None] * count
            continue
        for seq in range(first, first + count):
            newest = reached[key]
            refusal = too_far_ahead(seq, newest, seq_ahead_max) or _refusal(
                view, stream, epoch, seq, newest, opened.get(key, 0)
            )
            if refusal is None and seq > newest:
                if seq > newest + 1:
                    opened[key] = opened.get(key, 0) + 1
                reached[key] = seq
            found.append(refusal)
    return found


def too_far_ahead(seq: int, newest: int, seq_ahead_max: int) -> MemdbError | None:
    """The refusal of a number that skips too many after ``newest``, -1 where there is none."""
    if seq - newest - 1 <= seq_ahead_max:
        return None
    after = f"after {newest}, the newest clip of" if newest >= 0 else "at the beginning of"
    return FailedPrecondition(
        f"skips more than {seq_ahead_max} numbers {after} its epoch (engine.seq_ahead_max)",
        reason="TOO_FAR_AHEAD",
        field="clip.seq",
        value=seq,
    )


def _newest(view: View, stream: str, epoch: int) -> int:
    """The highest number of an epoch, -1 where nothing has come."""
    known = view.state.streams.get(stream)
    coverage = None if known is None else view.coverage.find(known.no, epoch)
    return -1 if coverage is None else coverage.newest_seq


def _refusal(
    view: View, stream: str, epoch: int, seq: int, newest: int, opened: int
) -> MemdbError | None:
    """newest: as `_newest`, with those of the same batch before it; opened: gaps that these open."""
    known = view.state.streams.get(stream)
    if known is not None and not view.quarantine.is_empty:
        damaged = view.quarantine.refusal(known.no, epoch, seq)
        if damaged is not None:
            return damaged
    coverage = None if known is None else view.coverage.find(known.no, epoch)
    if seq == newest + 1:
        return None
    if coverage is not None and seq <= newest - LATE_SEQ_MAX and coverage.is_missing(seq):
        return FailedPrecondition(
            f"more than {LATE_SEQ_MAX} numbers behind the newest clip of its epoch, {newest}",
            reason="TOO_LATE",
            field="clip.seq",
            value=seq,
        )
    gaps = opened if coverage is None else opened + len(coverage.open_gaps)
    return too_many_gaps(seq) if seq > newest and gaps >= GAPS_MAX else None


def too_many_gaps(seq: int) -> ResourceExhausted:
    """The refusal of a number that would open one gap more."""
    return ResourceExhausted(
        f"the epoch has {GAPS_MAX} gaps: begin another",
        reason="QUOTA",
        field="clip.seq",
        value=seq,
    )
