"""What a sweep gives up, by the policies of a user's streams.

Times are compared with a clock of retention, which follows the wall clock but never jumps: it
begins at the newest commit and goes forward by at most `ADVANCE_MAX_NS` with each sweep.  A clock
that is set ten years ahead therefore takes nothing more than a day would, and one that is set back
takes nothing.  Beside that, age takes at most `SHARE_MAX` of a stream's clips in one sweep, so that
a policy set by mistake can be seen and taken back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.engine import removal
from memdb.engine.applied import Removed
from memdb.engine.memory import UserMemory
from memdb.engine.state import UserState
from memdb.index.columns import ALIVE
from memdb.index.partition import Filter, PartitionView
from memdb.store.records import SnapshotRecord, unpack
from memdb.store.schema import Table
from memdb.types.arrays import Array
from memdb.types.operation import CollectVersions, MarkSweep, RemoveClips, ThinClips
from memdb.types.retention import Retention, SweepReport

ADVANCE_MAX_NS: Final = 25 * 3600 * 10**9
"""A day and an hour: a sweep a day keeps up with the clock."""
SHARE_MAX: Final = 0.25
CLIPS_MIN: Final = 256
"""Clips that age may take of a stream in one sweep, however few it has."""
_MARK_STEP_NS: Final = 60 * 10**9
"""The clock of retention is written when it has moved by this much."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Clip numbers of one stream."""

    thin_short_memory: list[int]
    thin_keyframes: list[int]
    remove: list[int]


def sweep_user(memory: UserMemory, now_ns: int, history_s: int | None) -> SweepReport:
    """Give up what the policies of one user say.

    history_s: how long superseded versions of open clips are kept for `as_of`; None for ever.
    """
    view = memory.view
    clock_ns = clock(view.state, now_ns)
    report = SweepReport()
    for stream in view.state.streams.values():
        policy = view.state.retention.get(stream.no)
        partition = view.partitions.get(stream.space_no)
        if policy is None or policy.hold or partition is None:
            continue
        report = report.plus(_carried_out(memory, plan(partition, stream.no, policy, clock_ns)))
    if history_s is not None:
        report = report.plus(_collect(memory, clock_ns - history_s * 10**9))
    mark = view.state.sweep_ns
    if (view.state.retention or history_s is not None) and (
        mark is None or clock_ns - mark >= _MARK_STEP_NS
    ):
        removal.one(memory.write([MarkSweep(clock_ns)]))
    return report


def clock(state: UserState, now_ns: int) -> int:
    """The clock of retention at a sweep."""
    mark = state.counters.time_ns if state.sweep_ns is None else state.sweep_ns
    return max(mark, min(now_ns, mark + ADVANCE_MAX_NS))


def plan(partition: PartitionView, stream_no: int, policy: Retention, clock_ns: int) -> Plan:
    """What a policy takes of a stream at a time of the clock of retention."""
    allowed = partition.allowed(Filter((stream_no,), sealed_only=True), None)
    rows = np.arange(partition.rows) if allowed is None else np.flatnonzero(allowed)
    column = partition.columns
    rows = rows[np.lexsort((column["clip_no"][rows], column["end_ns"][rows]))]  # oldest first
    ends = column["end_ns"][rows]
    short = column["short_memory_bytes"][rows].astype(np.int64)
    frames = column["keyframe_bytes"][rows].astype(np.int64)
    removed = np.zeros(len(rows), bool)
    removed |= _aged(ends, policy.max_age_s, clock_ns)
    removed[max(CLIPS_MIN, int(SHARE_MAX * len(rows))) :] = False
    if policy.max_clips is not None:
        removed[: max(0, len(rows) - policy.max_clips)] = True
    short_gone = ~removed & _aged(ends, policy.short_memory_age_s, clock_ns) & (short > 0)
    frames_gone = ~removed & _aged(ends, policy.keyframes_age_s, clock_ns) & (frames > 0)
    if policy.max_bytes is not None:
        short_left = np.where(removed | short_gone, 0, short)
        frames_left = np.where(removed | frames_gone, 0, frames)
        over = int(short_left.sum() + frames_left.sum()) - policy.max_bytes
        for left, gone in ((short_left, short_gone), (frames_left, frames_gone)):
            if over > 0:
                # As many of the oldest as cover what is too much.
                count = int(np.searchsorted(np.cumsum(left), over)) + 1
                gone[:count] |= left[:count] > 0
                over -= int(left[:count].sum())
    numbers = column["clip_no"][rows]
    return Plan(
        numbers[short_gone].tolist(), numbers[frames_gone].tolist(), numbers[removed].tolist()
    )


def _aged(ends: Array, age_s: int | None, clock_ns: int) -> Array:
    if age_s is None:
        return np.zeros(len(ends), bool)
    return np.asarray(ends <= clock_ns - age_s * 10**9)


def _carried_out(memory: UserMemory, wanted: Plan) -> SweepReport:
    short = removal.in_batches(
        memory,
        wanted.thin_short_memory,
        lambda batch: ThinClips(batch, short_memory=True, keyframes=False),
    )
    frames = removal.in_batches(
        memory,
        wanted.thin_keyframes,
        lambda batch: ThinClips(batch, short_memory=False, keyframes=True),
    )
    whole = removal.in_batches(
        memory, wanted.remove, lambda batch: RemoveClips(batch, is_erasure=False)
    )
    return SweepReport(
        sum(len(taken.clip_nos) for taken in whole),
        sum(len(taken.clip_nos) for taken in short),
        sum(len(taken.clip_nos) for taken in frames),
        0,
        sum(taken.size for taken in (*short, *frames, *whole)),
    )


def _collect(memory: UserMemory, before_ns: int) -> SweepReport:
    """Remove superseded versions whose successor is older than ``before_ns`` and which no snapshot
    needs.
    """
    view = memory.view
    horizon = memory.revision_at(view, before_ns)
    pinned = np.array(sorted(_pinned(memory)), np.uint64)
    collected = size = 0
    for partition in view.partitions.values():
        column = partition.columns
        birth, death = column["birth"], column["death"]
        rows = np.flatnonzero((birth != ALIVE) & (death <= np.uint64(horizon)))
        if len(pinned):
            # A snapshot of revision r needs what was born by r and had not died at r.
            needed = np.searchsorted(pinned, birth[rows]) < np.searchsorted(pinned, death[rows])
            rows = rows[~needed]
        versions = list(
            zip(
                column["clip_no"][rows].tolist(),
                birth[rows].tolist(),
                death[rows].tolist(),
                strict=True,
            )
        )
        for begin in range(0, len(versions), removal.BATCH_CLIPS):
            batch = tuple(versions[begin : begin + removal.BATCH_CLIPS])
            outcome = removal.one(memory.write([CollectVersions(batch)]))
            assert isinstance(outcome, Removed), "what a removal gives"
            collected += len(outcome.clip_nos)
            size += outcome.size
    return SweepReport(versions=collected, bytes_removed=size)


def _pinned(memory: UserMemory) -> set[int]:
    """Revisions that snapshots hold, expired ones that were not collected yet included."""
    with memory.environment.read() as txn:
        return {
            unpack(Table.SNAPSHOTS, key, stored, SnapshotRecord).revision
            for key, stored in txn.scan(Table.SNAPSHOTS)
        }
