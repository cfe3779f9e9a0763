"""What a sweep gives up, by the policies of a user's streams.

Ages are compared with the clock of retention (`memdb.engine.retention_clock`), which a wall clock
that is set wrong does not take along.  Beside that, age takes at most `SHARE_MAX` of a stream's
clips in one sweep, so that a policy set by mistake can be seen and taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.engine import removal
from memdb.engine.applied import Removed
from memdb.engine.memory import UserMemory
from memdb.engine.retention_clock import DOWNTIME_MAX_NS, RetentionClock
from memdb.eventlog import event_log
from memdb.index.columns import ALIVE
from memdb.index.partition import Filter, PartitionView
from memdb.store.records import SnapshotRecord, unpack
from memdb.store.schema import Table
from memdb.types.arrays import Array
from memdb.types.operation import CollectVersions, MarkSweep, RemoveClips, ThinClips
from memdb.types.retention import Retention, SweepReport

SHARE_MAX: Final = 0.25
CLIPS_MIN: Final = 256
"""Clips that age may take of a stream in one sweep, however few it has."""
_MARK_STEP_NS: Final = 60 * 10**9
"""The clock of retention is written when it has moved by this much."""

log = event_log("memdb.engine")


@dataclass(frozen=True, slots=True)
class Plan:
    """Clip numbers of one stream."""

    thin_short_memory: list[int]
    thin_keyframes: list[int]
    remove: list[int]


def sweep_user(
    memory: UserMemory,
    retention_clock: RetentionClock,
    found_ns: int | None,
    history_s: int | None,
) -> Iterator[SweepReport]:
    """Give up what the policies of one user say; what each commit gave up, as it is done: one that is refused takes
    nothing back of those before it.

    found_ns: as `RetentionClock.read` wants it.
    history_s: how long superseded versions of open clips are kept for `as_of`; None for ever.
    """
    view = memory.view
    if not view.state.retention and history_s is None:
        return
    reading = retention_clock.read(view, found_ns)
    if reading is None:
        log.warning("the wall clock is behind", extra={"fields": {"user": view.state.user}})
    elif reading.lag_ns > DOWNTIME_MAX_NS:
        fields = {"user": view.state.user, "by_s": reading.lag_ns // 10**9}
        log.warning("the wall clock is ahead of what can be believed", extra={"fields": fields})
    aged_ns = None if reading is None else reading.aged_ns
    for stream in view.state.streams.values():
        policy = view.state.retention.get(stream.no)
        partition = view.partitions.get(stream.space_no)
        if policy is None or policy.hold or partition is None:
            continue
        yield from _carried_out(memory, plan(partition, stream.no, policy, aged_ns))
    if reading is None:
        return
    if history_s is not None:
        # A lease is given by the wall clock, and what it kept goes when both clocks say that it has ended.
        yield from _collect(
            memory, reading.clock_ns - history_s * 10**9, min(reading.clock_ns, reading.wall_ns)
        )
    mark = view.state.sweep_ns
    if reading.agrees if mark is None else reading.clock_ns - mark >= _MARK_STEP_NS:
        removal.one(memory.write([MarkSweep(reading.clock_ns)]))
        retention_clock.moved(view.state.user, reading)


def plan(partition: PartitionView, stream_no: int, policy: Retention, clock_ns: int | None) -> Plan:
    """What a policy takes of a stream at a time of the clock of retention; None: nothing has an age."""
    allowed = partition.allowed(Filter((stream_no,), sealed_only=True), None)
    rows = np.arange(partition.rows) if allowed is None else np.flatnonzero(allowed)
    column = partition.columns
    rows = rows[np.lexsort((column["clip_no"][rows], column["end_ns"][rows]))]  # oldest first
    ends = column["end_ns"][rows]
    numbers = column["clip_no"][rows]
    every = np.flatnonzero((column["stream_no"] == stream_no) & (column["birth"] != ALIVE))
    short, frames = (
        _of_all_versions(numbers, column["clip_no"][every], column[name][every])
        for name in ("short_memory_bytes", "keyframe_bytes")
    )
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
    return Plan(
        numbers[short_gone].tolist(), numbers[frames_gone].tolist(), numbers[removed].tolist()
    )


def _of_all_versions(numbers: Array, versions: Array, sizes: Array) -> Array:
    """Bytes of each of the clips ``numbers``, its superseded versions included: they are stored like the
    others, and given up with it.

    versions: the clip number of each version there is; sizes: its bytes.
    """
    order = np.argsort(numbers)
    place = np.searchsorted(numbers, versions, sorter=order)
    there = place < len(numbers)
    there[there] = numbers[order[place[there]]] == versions[there]
    found = np.bincount(order[place[there]], weights=sizes[there], minlength=len(numbers))
    return np.asarray(found.astype(np.int64))


def _aged(ends: Array, age_s: int | None, clock_ns: int | None) -> Array:
    if age_s is None or clock_ns is None:
        return np.zeros(len(ends), bool)
    return np.asarray(ends <= clock_ns - age_s * 10**9)


def _carried_out(memory: UserMemory, wanted: Plan) -> Iterator[SweepReport]:
    for taken in removal.batches(
        memory,
        wanted.thin_short_memory,
        lambda batch: ThinClips(batch, short_memory=True, keyframes=False),
    ):
        yield SweepReport(short_memories=len(taken.clip_nos), bytes_removed=taken.size)
    for taken in removal.batches(
        memory,
        wanted.thin_keyframes,
        lambda batch: ThinClips(batch, short_memory=False, keyframes=True),
    ):
        yield SweepReport(keyframes=len(taken.clip_nos), bytes_removed=taken.size)
    for taken in removal.batches(
        memory, wanted.remove, lambda batch: RemoveClips(batch, is_erasure=False)
    ):
        yield SweepReport(clips=len(taken.clip_nos), bytes_removed=taken.size)


def _collect(memory: UserMemory, before_ns: int, now_ns: int) -> Iterator[SweepReport]:
    """Remove superseded versions whose successor is older than ``before_ns`` and which no snapshot
    needs whose lease has not ended.
    """
    view = memory.view
    horizon = memory.revision_at(view, before_ns)
    pinned = np.array(sorted(_pinned(memory, now_ns)), np.uint64)
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
            outcome = removal.one(memory.write([CollectVersions(batch, now_ns)]))
            assert isinstance(outcome, Removed), "what a removal gives"
            yield SweepReport(versions=len(outcome.clip_nos), bytes_removed=outcome.size)


def _pinned(memory: UserMemory, now_ns: int) -> set[int]:
    """Revisions that snapshots hold."""
    with memory.environment.read() as txn:
        return {
            record.revision
            for key, stored in txn.scan(Table.SNAPSHOTS)
            for record in (unpack(Table.SNAPSHOTS, key, stored, SnapshotRecord),)
            if record.expires_ns > now_ns
        }
