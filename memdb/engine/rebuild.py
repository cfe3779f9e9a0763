"""Making the in-memory side of a user from its environment: state, partitions, coverage; texts are made by
`memdb.engine.text_rows`.

One scan per table, every checksum verified; the result equals what the running engine had.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from memdb.engine.arrivals import Arrivals, Came, coverage_of
from memdb.engine.coverage import Coverage
from memdb.engine.early_rows import same_rows
from memdb.engine.quarantine import NOTHING_DAMAGED, DamagedClip, Quarantine
from memdb.engine.space_rows import SpaceRows, read_rows
from memdb.engine.state import StreamState, UserState
from memdb.errors import DataLoss, FailedPrecondition
from memdb.index.checkpoint import KeptRows
from memdb.index.partition import Partition
from memdb.store import schema, standing
from memdb.store.records import (
    CountersRecord,
    HistoryRecord,
    LedgerRecord,
    NumberRecord,
    RetentionRecord,
    SpaceRecord,
    StreamRecord,
    UserRecord,
    unpack,
)
from memdb.store.schema import (
    FORMAT,
    META_COUNTERS,
    META_HISTORY,
    META_SWEEP,
    META_USER,
    Table,
)
from memdb.store.transaction import Transaction
from memdb.store.verify import expect_entries
from memdb.types.retention import Retention
from memdb.types.space import Space

NOTHING_KEPT: Final[Mapping[int, KeptRows]] = {}


def load_state(txn: Transaction, user: str) -> UserState:
    """The user's counters, spaces and streams.

    Raises `DataLoss` (``MISSING``, ``WRONG_USER``) and `FailedPrecondition` (``FORMAT_NEWER``).
    """
    stored = txn.get(Table.META, META_USER)
    stored_counters = txn.get(Table.META, META_COUNTERS)
    if stored is None or stored_counters is None:
        raise DataLoss("the user's own record is missing", reason="MISSING", field="meta")
    record = unpack(Table.META, META_USER, stored, UserRecord)
    if record.user != user:
        raise DataLoss(
            "the directory belongs to another user",  # who that is, is not this one's to know
            reason="WRONG_USER",
            field="meta/user",
        )
    if record.format > FORMAT:
        raise FailedPrecondition(
            "the user was written by a newer memdb",
            reason="FORMAT_NEWER",
            field="format",
            value=record.format,
        )
    spaces = {
        int.from_bytes(key, "big"): Space(space.name, space.dim, space.metric, space.model)
        for key, value in txn.scan(Table.SPACES)
        for space in (unpack(Table.SPACES, key, value, SpaceRecord),)
    }
    streams = {
        stream.name: StreamState(
            int.from_bytes(key, "big"), stream.name, stream.space_no, stream.revision, stream.zone
        )
        for key, value in txn.scan(Table.STREAMS)
        for stream in (unpack(Table.STREAMS, key, value, StreamRecord),)
    }
    expect_entries(txn, Table.SPACES, len(spaces))
    expect_entries(txn, Table.STREAMS, len(streams))
    counters = unpack(Table.META, META_COUNTERS, stored_counters, CountersRecord)
    retention = {
        int.from_bytes(key, "big"): Retention(**msgspec.structs.asdict(policy))
        for key, value in txn.scan(Table.RETENTION)
        for policy in (unpack(Table.RETENTION, key, value, RetentionRecord),)
    }
    expect_entries(txn, Table.RETENTION, len(retention))
    sweep = txn.get(Table.META, META_SWEEP)
    history = txn.get(Table.META, META_HISTORY)
    return UserState(
        user,
        record.id_key,
        counters,
        spaces,
        streams,
        retention,
        None if sweep is None else unpack(Table.META, META_SWEEP, sweep, NumberRecord).no,
        ()
        if history is None
        else unpack(Table.META, META_HISTORY, history, HistoryRecord).collected,
        standing.counted(txn),
        record.format,
    )


def load_partitions(
    txn: Transaction,
    state: UserState,
    quarantine: Quarantine = NOTHING_DAMAGED,
    kept: Mapping[int, KeptRows] = NOTHING_KEPT,
    early: Mapping[int, SpaceRows] | None = None,
) -> tuple[dict[int, Partition], Coverage]:
    """Every clip version of every space but what is damaged, and what arrived when.

    kept: rows of a checkpoint by space number, so that they need not be made again.  early: what is known of the rows
    without a look at the store (`memdb.engine.early_rows`), where it is.

    Raises `DataLoss` for damage that ``quarantine`` does not name.
    """
    partitions: dict[int, Partition] = {}
    arrivals: list[Arrivals] = []
    others: list[Came] = [_came(clip) for clip in quarantine.clips]
    found = 0
    for space_no, space in state.spaces.items():
        kept_here = kept.get(space_no)
        if early is None:
            rows = read_rows(txn, space_no, space, kept_here, quarantine)
        else:
            rows = early.get(space_no, SpaceRows.none(space.dim))
        found += rows.found
        if rows.rows:
            partitions[space_no] = rows.partition(space, kept_here, quarantine)
            arrivals.append(rows.arrivals())
    if not quarantine.is_empty:
        # Those under a space that there is not: its number was damaged, and they are in quarantine.
        known = tuple(schema.number_key(space_no) for space_no in state.spaces)
        found += sum(not key.startswith(known) for key in txn.keys(Table.VECTORS))
    expect_entries(txn, Table.VECTORS, found)
    if state.counters.stones:
        others += map(_came, _stones(txn, tolerant=not quarantine.is_empty))
    return partitions, coverage_of(arrivals, others, is_damaged=bool(quarantine.clips))


def check_early(
    txn: Transaction,
    state: UserState,
    kept: Mapping[int, KeptRows],
    early: Mapping[int, SpaceRows],
) -> None:
    """Compare what was known early with every entry of the store; raises `DataLoss` where that is damaged, or has
    others.
    """
    found = 0
    for space_no, space in state.spaces.items():
        rows = read_rows(
            txn, space_no, space, kept.get(space_no), NOTHING_DAMAGED, vectors_too=False
        )
        found += rows.found
        if not same_rows(rows, early.get(space_no)):
            raise DataLoss(
                "the store has other rows than its checkpoint and its log told",
                reason="MISSING",
                field="vectors",
                value=space_no,
            )
    expect_entries(txn, Table.VECTORS, found)


@dataclass(frozen=True, slots=True)
class _Stone:
    """What is known of a clip that was removed."""

    clip_no: int
    birth: int
    stream_no: int
    epoch: int
    seq: int
    start_ns: int | None
    end_ns: int | None
    sealed: bool = True


def _came(clip: _Stone | DamagedClip) -> Came:
    times = clip.start_ns, clip.end_ns
    return (
        clip.birth,
        clip.clip_no,
        True,
        (clip.stream_no, clip.epoch, clip.seq, *times, clip.sealed),
    )


def _stones(txn: Transaction, *, tolerant: bool) -> Iterator[_Stone]:
    for key, stored in txn.scan(Table.LEDGER):
        try:
            row = unpack(Table.LEDGER, key, stored, LedgerRecord)
        except DataLoss:
            if tolerant:
                continue
            raise
        if row.removed:
            numbers = schema.split_ledger_key(key)
            yield _Stone(row.clip_no, row.birth, *numbers, row.start_ns, row.end_ns)
