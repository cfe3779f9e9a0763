"""Erasing clips and streams of a user: all that tells of them goes, and no byte of it stays in our
files.

::

    BeginErasure     what is to go, in one commit: from here on a crash only delays it
    RemoveClips ...  clips with all that is derived of them, so many for each commit
    RemoveStream     streams that are to go whole
    compaction       the environment is made anew of what is left (the user is closed meanwhile)
    EndErasure       the erasure is over

What a crash cuts short is taken up again when the user is next opened (`memdb.engine.users`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np

from memdb import failpoints
from memdb.engine.applied import Outcome, Removed
from memdb.engine.memory import UserMemory
from memdb.engine.view import View
from memdb.errors import DataLoss, MemdbError, NotFound
from memdb.index.columns import ALIVE
from memdb.index.partition import Filter
from memdb.store import schema
from memdb.store.idents import IdKind, make_id
from memdb.store.lost import lost_entries, lost_numbers
from memdb.store.records import ErasureRecord, LedgerRecord, unpack
from memdb.store.schema import META_ERASURE, Table
from memdb.types.change import ErasureReport
from memdb.types.operation import (
    AwaitCompaction,
    EndErasure,
    Operation,
    RemoveClips,
    RemoveLost,
    RemoveStream,
)

BATCH_CLIPS: Final = 64
"""Clips of one commit: other writes of the user come in between."""
_BATCH_CLIPS_MAX: Final = 1024
_FACTS_PER_CLIP: Final = 40
"""Versions of facts that are read in the time that removing a clip takes: each commit of an erasure reads
all of them, for those that cite one of its clips."""


def remove_begun(memory: UserMemory, record: ErasureRecord) -> ErasureReport:
    """Remove what an erasure that was begun names; its bytes stay in freed pages, and no name of it
    anywhere else.

    Raises what refuses a commit, `FailedPrecondition` (``LEGAL_HOLD``), `DataLoss`
    (``NOT_REMOVABLE``) for a stream that does not become empty.
    """
    taken = _remove(memory, record)
    streams, came_meanwhile = _remove_streams(memory, record.streams)
    taken += came_meanwhile
    _remove_lost(memory)
    one(memory.write([AwaitCompaction()]))
    failpoints.hit("erasure.before_compaction")
    state = memory.view.state
    clip_ids = tuple(
        make_id(state.id_key, IdKind.CLIP, no) for removed in taken for no in removed.clip_nos
    )
    fact_ids = tuple(dict.fromkeys(fact_id for removed in taken for fact_id in removed.fact_ids))
    size = sum(removed.size for removed in taken)
    return ErasureReport(state.user, len(clip_ids), 0, 0, size, clip_ids, fact_ids, streams)


def end(memory: UserMemory) -> None:
    """Note that an erasure is over."""
    failpoints.hit("erasure.after_compaction")
    one(memory.write([EndErasure()]))


def pending(memory: UserMemory) -> ErasureRecord | None:
    """The erasure that has not ended."""
    with memory.environment.read() as txn:
        stored = txn.get(Table.META, META_ERASURE)
        return None if stored is None else unpack(Table.META, META_ERASURE, stored, ErasureRecord)


def clips_of(view: View, stream: str | None, start_ns: int | None, end_ns: int | None) -> list[int]:
    """Numbers of the clips, at any revision, that touch [start_ns, end_ns) of a stream or of all;
    damaged ones too, and those whose time nobody can tell.

    Raises `NotFound` (``STREAM_NOT_FOUND``).
    """
    stream_nos = view.stream_nos(None if stream is None else (stream,), field="stream")
    found: set[int] = set()
    for partition in view.partitions.values():
        column = partition.columns
        # Every version, current or not: what an earlier version said of that time goes as well.
        allowed = partition.allowed(Filter(stream_nos, start_ns, end_ns), None, every_version=True)
        rows = np.ones(partition.rows, bool) if allowed is None else allowed
        found.update(column["clip_no"][rows].tolist())
    found.update(
        clip.clip_no
        for clip in view.quarantine.clips
        if (stream_nos is None or clip.stream_no in stream_nos) and clip.touches(start_ns, end_ns)
    )
    return sorted(found)


def heavy_bytes(view: View, streams: Sequence[str], clip_nos: Sequence[int]) -> int:
    """Bytes of short-term memory and keyframes of clips, by number and of whole streams."""
    stream_nos = [view.state.streams[name].no for name in streams if name in view.state.streams]
    size = 0
    for partition in view.partitions.values():
        column = partition.columns
        goes = np.isin(column["clip_no"], np.asarray(clip_nos, np.int64))
        goes |= np.isin(column["stream_no"], stream_nos)
        goes &= column["birth"] != ALIVE  # rows whose clip went
        size += int(column["short_memory_bytes"][goes].sum(dtype=np.int64))
        size += int(column["keyframe_bytes"][goes].sum(dtype=np.int64))
    return size


def _clips_of_stream(memory: UserMemory, stream: str) -> list[int]:
    """Numbers of every clip of a stream that the indexes, the quarantine or the ledger know."""
    found = set(clips_of(memory.view, stream, None, None))
    prefix = schema.number_key(memory.view.state.streams[stream].no)
    with memory.environment.read() as txn:
        for key, stored in txn.scan(Table.LEDGER, prefix):
            try:
                row = unpack(Table.LEDGER, key, stored, LedgerRecord)
            except DataLoss:
                continue  # its clip is known by itself, or is lost
            if not row.removed:
                found.add(row.clip_no)
    return sorted(found)


def one(outcomes: list[Outcome]) -> Outcome:
    """The only outcome, or raises its error."""
    (outcome,) = outcomes
    if isinstance(outcome, MemdbError):
        raise outcome
    return outcome


def batches(
    memory: UserMemory,
    clip_nos: Sequence[int],
    operation: Callable[[tuple[int, ...]], Operation],
    size: int = BATCH_CLIPS,
) -> Iterator[Removed]:
    """Commit an operation on ``size`` clips at a time; what each removed, as it is done."""
    for begin in range(0, len(clip_nos), size):
        batch = tuple(clip_nos[begin : begin + size])
        outcome = one(memory.write([operation(batch)]))
        assert isinstance(outcome, Removed), "what a removal gives"
        yield outcome
        failpoints.hit("erasure.batch")


def in_batches(
    memory: UserMemory,
    clip_nos: Sequence[int],
    operation: Callable[[tuple[int, ...]], Operation],
    size: int = BATCH_CLIPS,
) -> list[Removed]:
    """What `batches` removed, all of it."""
    return list(batches(memory, clip_nos, operation, size))


def _remove(memory: UserMemory, record: ErasureRecord) -> list[Removed]:
    """Remove the clips; what each commit took."""
    clip_nos = list(record.clip_nos)
    for stream in record.streams:
        try:
            clip_nos += _clips_of_stream(memory, stream)
        except NotFound:
            continue  # it went before a crash
    facts = memory.view.state.counters.next_fact_no
    return in_batches(
        memory,
        list(dict.fromkeys(clip_nos)),
        lambda batch: RemoveClips(batch, is_erasure=True),
        max(BATCH_CLIPS, min(_BATCH_CLIPS_MAX, facts // _FACTS_PER_CLIP)),
    )


def _remove_streams(
    memory: UserMemory, streams: Sequence[str]
) -> tuple[tuple[str, ...], list[Removed]]:
    """Remove the streams; their names, and what was taken of clips that came meanwhile."""
    gone: list[str] = []
    came_meanwhile: list[Removed] = []
    for stream in streams:
        while True:
            outcome = memory.write([RemoveStream(stream)])[0]
            if isinstance(outcome, NotFound):
                break
            if isinstance(outcome, MemdbError) and outcome.reason == "STREAM_NOT_EMPTY":
                # A clip came meanwhile; its agent has not heard yet that the stream is gone.
                taken = in_batches(
                    memory,
                    _clips_of_stream(memory, stream),
                    lambda batch: RemoveClips(batch, is_erasure=True),
                )
                if not any(removed.clip_nos for removed in taken):
                    raise DataLoss(
                        "a stream holds clips that cannot be removed",
                        reason="NOT_REMOVABLE",
                        field="stream",
                        value=stream,
                    )
                came_meanwhile += taken
                continue
            one([outcome])
            gone.append(stream)
            break
    return tuple(gone), came_meanwhile


def _remove_lost(memory: UserMemory) -> None:
    """Remove what no clip owns any more, since it may be of one that is erased; not while anything is
    under legal hold, since it may be of that.
    """
    state, quarantine = memory.view.state, memory.view.quarantine
    if any(policy.hold for policy in state.retention.values()):
        return
    told = {(clip.clip_no, clip.birth) for clip in quarantine.clips}
    unknown = quarantine.versions - told
    with memory.environment.read() as txn:
        space_nos = tuple(state.spaces)
        if not lost_entries(txn, space_nos, unknown) and not lost_numbers(txn, space_nos):
            return
    one(memory.write([RemoveLost(tuple(sorted(unknown)))]))
