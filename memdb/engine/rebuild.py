"""Making the in-memory side of a user from its environment: state, partitions, coverage, texts.

One scan per table, every checksum verified; the result equals what the running engine had.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

import msgspec
import numpy as np

from memdb.engine.coverage import Coverage
from memdb.engine.quarantine import DamagedClip, Quarantine
from memdb.engine.space_rows import arrived, read_rows
from memdb.engine.state import StreamState, UserState
from memdb.errors import DataLoss, FailedPrecondition
from memdb.index.checkpoint import KeptRows
from memdb.index.columns import ALIVE
from memdb.index.names import NAMELESS, ClipNames, clip_names
from memdb.index.partition import Partition
from memdb.index.text import Document, TextIndex, spoken
from memdb.store import schema, standing
from memdb.store.records import (
    ClipRecord,
    CountersRecord,
    FactRecord,
    HistoryRecord,
    LedgerRecord,
    NumberRecord,
    RetentionRecord,
    SpaceRecord,
    StreamRecord,
    UserRecord,
    unpack,
)
from memdb.store.rows import NO_STREAM, unpack_row
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
from memdb.types.arrays import Array
from memdb.types.retention import Retention
from memdb.types.space import Space

_END = int(ALIVE)
NOTHING_DAMAGED: Final = Quarantine()
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
) -> tuple[dict[int, Partition], Coverage]:
    """Every clip version of every space but what is damaged, and what arrived when.

    kept: rows of a checkpoint by space number, so that they need not be made again.

    Raises `DataLoss` for damage that ``quarantine`` does not name.
    """
    partitions: dict[int, Partition] = {}
    arrivals: list[tuple[int, int, bool, _Came]] = [
        (clip.birth, clip.clip_no, True, _came(clip)) for clip in quarantine.clips
    ]
    found = 0
    for space_no, space in state.spaces.items():
        kept_here = kept.get(space_no)
        rows = read_rows(txn, space_no, space, kept_here, quarantine)
        found += rows.found
        if rows.rows:
            partitions[space_no] = rows.partition(space, kept_here, quarantine)
            arrivals.extend(arrived(rows))
    if not quarantine.is_empty:
        # Those under a space that there is not: its number was damaged, and they are in quarantine.
        known = tuple(schema.number_key(space_no) for space_no in state.spaces)
        found += sum(not key.startswith(known) for key in txn.keys(Table.VECTORS))
    expect_entries(txn, Table.VECTORS, found)
    if state.counters.stones:
        arrivals.extend(
            (stone.birth, stone.clip_no, True, _came(stone))
            for stone in _stones(txn, tolerant=not quarantine.is_empty)
        )
    coverage = Coverage()
    for birth, _, first, came in sorted(arrivals, key=itemgetter(0, 1)):
        stream_no, epoch_no, seq, start_ns, end_ns, sealed = came
        epoch = coverage.epoch(stream_no, epoch_no)
        if first and not (quarantine.clips and epoch.has(seq)):
            epoch.arrive(seq, start_ns, end_ns, birth)
        if sealed:
            epoch.seal(seq, end_ns)
    return partitions, coverage


_Came = tuple[int, int, int, int | None, int | None, bool]
"""(stream number, epoch, seq, start and end in ns, sealed): as bare as that, since there is one of every version."""


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


def _came(clip: _Stone | DamagedClip) -> _Came:
    return clip.stream_no, clip.epoch, clip.seq, clip.start_ns, clip.end_ns, clip.sealed


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


def load_texts(
    txn: Transaction, partitions: Mapping[int, Partition], quarantine: Quarantine = NOTHING_DAMAGED
) -> TextIndex:
    """Every utterance and fact version but what is damaged, with the features they came with; and
    what the rows of the partitions, which have no names yet, are called.

    Raises `DataLoss` for damage that ``quarantine`` does not name.
    """
    facts = [] if Table.FACTS in quarantine.suspect else list(_facts(txn, quarantine))
    names: dict[tuple[int, int], ClipNames] = {}
    documents = sorted(
        [*_utterances(txn, quarantine, names), *facts],
        key=lambda document: (document.birth, document.kind, document.no),
    )
    for partition in partitions.values():
        columns = partition.columns
        versions = zip(columns["clip_no"].tolist(), columns["birth"].tolist(), strict=True)
        partition.name([names.get(version, NAMELESS) for version in versions])
    index = TextIndex()
    index.add(documents)
    return index


def _feature(
    txn: Transaction, space_no: int | None, kind: int, no: int, index: int, birth: int
) -> Array | None:
    if space_no is None:
        return None
    key = schema.text_key(space_no, kind, no, index, birth)
    stored = txn.get(Table.TEXTS, key)
    if stored is None:
        raise DataLoss("a text's feature is missing", reason="MISSING", field=f"texts/{key.hex()}")
    return unpack_row(Table.TEXTS, key, stored)[1].astype(np.float32)


def _utterances(
    txn: Transaction, quarantine: Quarantine, names: dict[tuple[int, int], ClipNames]
) -> list[Document]:
    """What was said; what the clips are called goes to ``names``, in the one scan of them."""
    documents: list[Document] = []
    previous: tuple[int, int] | None = None
    begin = found = 0
    for key, stored in txn.scan(Table.CLIPS):
        found += 1
        clip_no, birth = schema.split_version_key(key)
        if previous is not None and previous[0] == clip_no:
            documents[begin:] = [_ended(document, birth) for document in documents[begin:]]
        previous, begin = (clip_no, birth), len(documents)
        if (clip_no, birth) in quarantine.versions:
            continue
        try:
            record = unpack(Table.CLIPS, key, stored, ClipRecord)
        except DataLoss:
            if quarantine.is_empty:
                raise
            continue  # an entry under another's key
        if record.events or record.labels:
            names[clip_no, birth] = clip_names(
                [event.label for event in record.events], record.labels
            )
        space_no = record.text_space_no
        for index, utterance in enumerate(record.transcript):
            documents.append(
                Document(
                    schema.UTTERANCE,
                    clip_no,
                    index,
                    birth,
                    _END,
                    utterance.start_ns,
                    record.stream_no,
                    spoken(utterance.text, utterance.speaker),
                    space_no,
                    None
                    if space_no is None
                    else _feature(txn, space_no, schema.UTTERANCE, clip_no, index, birth),
                )
            )
    expect_entries(txn, Table.CLIPS, found)
    return documents


def _facts(txn: Transaction, quarantine: Quarantine) -> list[Document]:
    documents: list[Document] = []
    for key, stored in txn.scan(Table.FACTS):
        fact_no, birth = schema.split_version_key(key)
        if documents and documents[-1].no == fact_no:
            documents[-1] = _ended(documents[-1], birth)
        record = unpack(Table.FACTS, key, stored, FactRecord)
        feature = None
        if (fact_no, birth) not in quarantine.facts:
            feature = _feature(txn, record.text_space_no, schema.FACT, fact_no, 0, birth)
        documents.append(
            Document(
                schema.FACT,
                fact_no,
                0,
                birth,
                _END,
                record.valid_from_ns,
                NO_STREAM,
                record.text,
                record.text_space_no,
                feature,
            )
        )
    expect_entries(txn, Table.FACTS, len(documents))
    return documents


def _ended(document: Document, death: int) -> Document:
    return Document(
        document.kind,
        document.no,
        document.index,
        document.birth,
        death,
        document.start_ns,
        document.stream_no,
        document.text,
        document.space_no,
        document.feature,
    )
