"""The msgpack records of the tables.

Fields are positional on disk: append with a default, never reorder or reuse.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

import msgspec

from memdb.errors import DataLoss
from memdb.store.envelope import Kind, seal, unseal
from memdb.store.schema import Table

RecordT = TypeVar("RecordT")

HASH_BYTES: Final = 16
"""Of the hash of a clip's content."""


class Record(msgspec.Struct, array_like=True, frozen=True):
    """Base of all records."""


class UserRecord(Record, frozen=True):
    """Who the directory belongs to."""

    user: str
    id_key: bytes
    """32 random bytes: the key of the checks inside this user's ids."""
    created_ns: int
    format: int


class CountersRecord(Record, frozen=True):
    """The user's newest commit and the next free numbers; written by every commit."""

    revision: int
    time_ns: int
    next_space_no: int
    next_stream_no: int
    next_clip_no: int
    next_fact_no: int
    text_space_no: int | None
    removed_streams: int = 0
    removed_numbers: int = 0
    """Ledger rows that went with their streams."""
    stones: int = 0
    """Ledger rows of clips that were removed."""
    text_space_revision: int = 0
    """The commit that set the text space; 0 of one that an earlier release set: as if it always was."""


class SpaceRecord(Record, frozen=True):
    """A feature space."""

    name: str
    dim: int
    metric: str
    model: str


class StreamRecord(Record, frozen=True):
    """A stream."""

    name: str
    space_no: int
    revision: int
    zone: str = "UTC"
    """IANA name of its time zone."""


class LedgerRecord(Record, frozen=True):
    """The newest version of a received clip."""

    clip_no: int
    birth: int
    sealed: bool
    content: bytes
    """xxh3_128 of the content, see `memdb.store.content`.  Of a clip that was given up for room those of all its
    versions that there were, one behind the other; empty where they are not known, as of one that was erased."""
    removed: int = 0
    """Commit that removed the clip; its number stays taken."""
    start_ns: int | None = None
    """Of a clip that was given up for room, not of one that was erased."""
    end_ns: int | None = None


def contents_of(row: LedgerRecord) -> frozenset[bytes]:
    """The hashes that a row of the ledger knows its clip by."""
    content = row.content
    return frozenset(content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES))


class UtteranceRecord(Record, frozen=True):
    """One utterance."""

    start_ns: int
    end_ns: int
    text: str
    speaker: str | None
    language: str | None


class EventRecord(Record, frozen=True):
    """One sound event."""

    start_ns: int
    end_ns: int
    label: str
    score: float


class TensorRecord(Record, frozen=True):
    """Short-term memory that stands beside its clip, as bare bytes."""

    codec: int
    rows: int
    dim: int
    length: int
    """Bytes."""
    checksum: int
    """xxh3_64 of the bytes."""


class ClipRecord(Record, frozen=True):
    """What a version of a clip says, beside its vectors."""

    stream_no: int
    space_no: int
    epoch: int
    seq: int
    start_ns: int
    end_ns: int
    sealed: bool
    frames_per_token_row: float | None
    transcript: tuple[UtteranceRecord, ...]
    events: tuple[EventRecord, ...]
    labels: dict[str, str]
    keyframes: int
    short_memory: TensorRecord | None
    text_space_no: int | None
    """Space of the transcript's features, None when it came without."""
    content: bytes
    thinned: bool = False
    """Whether it once had more than it has."""


class RetentionRecord(Record, frozen=True):
    """Policy of a stream, see `memdb.types.retention`."""

    max_age_s: int | None
    max_clips: int | None
    max_bytes: int | None
    short_memory_age_s: int | None
    keyframes_age_s: int | None
    hold: bool


class ErasureRecord(Record, frozen=True):
    """An erasure that was begun and has not ended."""

    streams: tuple[str, ...]
    clip_nos: tuple[int, ...]


class HistoryRecord(Record, frozen=True):
    """Which past can no more be told exactly."""

    collected: tuple[tuple[int, int], ...]
    """Revisions [first, end) at which a version that was collected was the current one."""


class FactRecord(Record, frozen=True):
    """One version of a fact."""

    text: str
    about: tuple[str, ...]
    key: str | None
    valid_from_ns: int
    valid_to_ns: int | None
    evidence: tuple[int, ...]
    """Clip numbers."""
    written_ns: int
    text_space_no: int | None
    """Space of the text's feature, None when it came without."""


class SnapshotRecord(Record, frozen=True):
    """A leased revision."""

    revision: int
    created_ns: int
    expires_ns: int


class LogEntry(Record, frozen=True):
    """One operation, by reference; `memdb.types.change.Change` says what each kind refers to."""

    kind: str
    no: int = 0
    """Stream, clip or fact number; revision of a snapshot; number of the text space."""
    name: str = ""
    """Key of a value, name of a snapshot, id of a forgotten fact."""
    created_ns: int = 0
    expires_ns: int = 0
    content: int | None = None
    """Of a policy, that `verify` may miss it: xxh3_64 of its row; 0 where there is none any more; None where an earlier
    release wrote it, and of all else."""


class LogRecord(Record, frozen=True):
    """One commit."""

    time_ns: int
    entries: tuple[LogEntry, ...]


class ValueRecord(Record, frozen=True):
    """One version of a key-value pair."""

    json: str


class StandingCountRecord(Record, frozen=True):
    """The standing questions of a user, as a whole."""

    next_no: int = 0
    count: int = 0
    revision: int = 0
    """The commit that changed them last."""


class ClipFilterRecord(Record, frozen=True):
    """Which clips a standing question looks at, and what it needs of them, see `memdb.types.clip_filter`."""

    labels: tuple[tuple[str, tuple[str, ...], bool], ...]
    """(key, values, whether they are such that will not do)."""
    hours: tuple[tuple[int, int], ...]
    weekdays: tuple[int, ...]
    zone: str | None
    min_score: float
    min_relevance: float | None


class StandingRecord(Record, frozen=True):
    """A standing question, see `memdb.types.standing`."""

    kind: str
    space_no: int
    stream_nos: tuple[int, ...] | None
    min_score: float
    """Infinite where a relevance is asked for, or some clips alone are looked at, so that a reader that knows nothing
    of that matches nothing."""
    window_ns: int | None
    sealed_only: bool
    text: str
    birth: int
    created_ns: int
    armed_ns: int
    dtype: str
    """``<f2`` or ``<f4``, of the features."""
    feature: bytes
    then_dtype: str
    then_feature: bytes | None
    min_relevance: float | None = None
    """None where some clips alone are looked at."""
    name: str = ""
    """Under which it was created, where it is asked for once."""
    only: ClipFilterRecord | None = None
    """None for every clip; else what is needed stands there (`memdb.store.standing` brings it here)."""


class NumberRecord(Record, frozen=True):
    """A bare number."""

    no: int


class NameRecord(Record, frozen=True):
    """A bare name."""

    name: str


_encoder = msgspec.msgpack.Encoder()
_decoders: dict[type, msgspec.msgpack.Decoder[Any]] = {
    kind: msgspec.msgpack.Decoder(kind)
    for kind in (
        UserRecord,
        CountersRecord,
        SpaceRecord,
        StreamRecord,
        LedgerRecord,
        ClipRecord,
        FactRecord,
        SnapshotRecord,
        LogRecord,
        ValueRecord,
        NumberRecord,
        NameRecord,
        RetentionRecord,
        ErasureRecord,
        HistoryRecord,
        StandingCountRecord,
        StandingRecord,
    )
}


def encode_record(value: object) -> bytes:
    """msgpack bytes of a record (or of a tuple of records); equal values give equal bytes."""
    return _encoder.encode(value)


def pack(key: bytes, record: Record) -> bytes:
    """The stored bytes of ``record`` under ``key``."""
    return seal(key, _encoder.encode(record), Kind.RECORD)


def unpack(table: Table, key: bytes, stored: bytes | memoryview, kind: type[RecordT]) -> RecordT:
    """The record stored under ``key``; raises `DataLoss` when the bytes are not one of ``kind``."""
    payload = unseal(table, key, stored, Kind.RECORD).payload
    try:
        record: RecordT = _decoders[kind].decode(payload)
    except msgspec.DecodeError as error:
        raise _no_record(table, key) from error
    return record


def decoded(
    table: Table, keys: Sequence[bytes], payloads: Iterable[memoryview], kind: type[RecordT]
) -> Iterator[RecordT]:
    """The records of payloads that were opened, in their order; raises `DataLoss` as `unpack`."""
    decode = _decoders[kind].decode
    done = 0
    try:
        for payload in payloads:
            yield decode(payload)
            done += 1
    except msgspec.DecodeError as error:
        raise _no_record(table, keys[done]) from error


def _no_record(table: Table, key: bytes) -> DataLoss:
    return DataLoss(
        "value is not a record of its table",
        reason="BAD_RECORD",
        field=f"{table.value}/{key.hex()}",
    )
