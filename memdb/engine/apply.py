"""Applying operations to a user's store, inside one write transaction.

Deterministic: reads no clock, draws no random number, makes no id that is not derived from the
state.  Each operation is first decided (validated against the draft and the stored state) and only
then written, so one that is refused leaves nothing behind and the others of its commit go on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from memdb.engine.effects import Effects, NewClip, NewFact
from memdb.engine.pyramid import PyramidDraft
from memdb.engine.state import Draft, StreamState
from memdb.errors import AlreadyExists, FailedPrecondition, InvalidArgument, MemdbError, NotFound
from memdb.index.columns import ALIVE
from memdb.index.directions import prepared_rows
from memdb.index.text import Document
from memdb.store import clips, facts, schema
from memdb.store.environment import Transaction
from memdb.store.idents import IdKind, make_id, parse_id
from memdb.store.records import (
    ClipRecord,
    FactRecord,
    LedgerRecord,
    LogEntry,
    LogRecord,
    NumberRecord,
    SnapshotRecord,
    SpaceRecord,
    StreamRecord,
    ValueRecord,
    pack,
    unpack,
)
from memdb.store.rows import NO_STREAM
from memdb.store.schema import Table
from memdb.types.arrays import Array, check_dim
from memdb.types.clip import Ack, check_range
from memdb.types.fact import Fact
from memdb.types.operation import (
    ConfigureUser,
    CreateStream,
    ForgetFact,
    Operation,
    PutFact,
    PutSnapshot,
    PutValue,
    ReleaseSnapshot,
    ReviseFact,
    WriteClip,
)
from memdb.types.snapshot import Snapshot
from memdb.types.space import Space
from memdb.types.stream import StreamInfo

Outcome = Ack | StreamInfo | Fact | Snapshot | int | MemdbError
"""What one operation gave: its value, the commit's revision, or the error that refused it."""

_END = int(ALIVE)


@dataclass(slots=True)
class Applied:
    """The result of a batch of operations."""

    draft: Draft
    outcomes: list[Outcome] = field(default_factory=list)
    effects: Effects = field(default_factory=Effects)
    entries: list[LogEntry] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.entries)


def apply(txn: Transaction, draft: Draft, operations: list[Operation]) -> Applied:
    """Write the operations' effects, the log record and the counters into ``txn``."""
    applied = Applied(draft)
    pyramid = PyramidDraft()
    for operation in operations:
        try:
            applied.outcomes.append(_apply_one(txn, applied, pyramid, operation))
        except MemdbError as error:
            applied.outcomes.append(error)
    if applied.changed:
        pyramid.store(txn)
        key = schema.revision_key(draft.revision)
        txn.put(
            Table.LOG, key, pack(key, LogRecord(draft.time_ns, tuple(applied.entries))), append=True
        )
        txn.put(Table.META, schema.META_COUNTERS, pack(schema.META_COUNTERS, draft.counters()))
    return applied


def check_clip(space: Space, text_space: Space | None, operation: WriteClip) -> None:
    """Refuse a clip that does not fit the space of its stream."""
    clip = operation.clip
    check_dim(clip.global_memory, space.dim, "clip.global_memory")
    if operation.short_memory is not None and operation.short_memory.shape[-1] != space.dim:
        raise InvalidArgument(
            f"expected dim {space.dim}",
            reason="DIM_MISMATCH",
            field="clip.short_memory",
            value=operation.short_memory.shape[-1],
        )
    if space.metric == "cosine" and not clip.global_memory.any():
        raise InvalidArgument(
            "a zero vector has no direction", reason="ZERO_VECTOR", field="clip.global_memory"
        )
    if clip.transcript_features is not None:
        _check_feature(text_space, clip.transcript_features, "clip.transcript_features")


def _check_feature(text_space: Space | None, feature: Array, field_name: str) -> None:
    if text_space is None:
        raise FailedPrecondition(
            "the user has no text space", reason="NO_TEXT_SPACE", field=field_name
        )
    check_dim(feature, text_space.dim, field_name)


def _apply_one(
    txn: Transaction, applied: Applied, pyramid: PyramidDraft, operation: Operation
) -> Outcome:
    match operation:
        case WriteClip():
            return _write_clip(txn, applied, pyramid, operation)
        case CreateStream(stream=name, space=space):
            stream = _stream(txn, applied, name, space)
            return StreamInfo(name, applied.draft.spaces[stream.space_no].name, stream.revision)
        case PutFact():
            return _put_fact(txn, applied, operation)
        case ReviseFact():
            return _revise_fact(txn, applied, operation)
        case ForgetFact(fact_id=fact_id):
            return _forget_fact(txn, applied, fact_id)
        case PutValue(key=name, json=json):
            key = schema.value_key(name, applied.draft.revision)
            txn.put(Table.VALUES, key, pack(key, ValueRecord(json)))
            applied.entries.append(LogEntry("value", name=name))
            return applied.draft.revision
        case PutSnapshot():
            return _put_snapshot(txn, applied, operation)
        case ReleaseSnapshot(name=name):
            if not txn.delete(Table.SNAPSHOTS, name.encode()):
                raise NotFound(
                    "no such snapshot", reason="SNAPSHOT_NOT_FOUND", field="snapshot", value=name
                )
            applied.entries.append(LogEntry("release", name=name))
            return applied.draft.revision
        case ConfigureUser(text_space=space):
            space_no = _space_no(txn, applied.draft, space)
            if applied.draft.text_space_no != space_no:
                applied.draft.text_space_no = space_no
                applied.entries.append(LogEntry("settings", no=space_no, name=space.name))
                return applied.draft.revision
            return applied.draft.revision - 1


def _space_no(txn: Transaction, draft: Draft, space: Space) -> int:
    for no, known in draft.spaces.items():
        if known == space:
            return no
    no = draft.next_space_no
    draft.next_space_no += 1
    key = schema.number_key(no)
    txn.put(
        Table.SPACES, key, pack(key, SpaceRecord(space.name, space.dim, space.metric, space.model))
    )
    draft.spaces[no] = space
    return no


def _stream(txn: Transaction, applied: Applied, name: str, space: Space | None) -> StreamState:
    """The stream, created when it does not exist."""
    draft = applied.draft
    stream = draft.streams.get(name)
    if stream is not None:
        actual = draft.spaces[stream.space_no]
        if space is not None and space != actual:
            raise FailedPrecondition(
                f"stream {name} is in space {actual.name}",
                reason="SPACE_MISMATCH",
                field="space",
                value=space.name,
            )
        return stream
    if space is None:
        raise NotFound(
            "no such stream; name its space to create it",
            reason="STREAM_NOT_FOUND",
            field="stream",
            value=name,
        )
    stream = StreamState(draft.next_stream_no, name, _space_no(txn, draft, space), draft.revision)
    draft.next_stream_no += 1
    key = schema.number_key(stream.no)
    txn.put(Table.STREAMS, key, pack(key, StreamRecord(name, stream.space_no, stream.revision)))
    draft.streams[name] = stream
    applied.entries.append(LogEntry("stream", no=stream.no))
    return stream


def _write_clip(
    txn: Transaction, applied: Applied, pyramid: PyramidDraft, operation: WriteClip
) -> Ack:
    draft, clip = applied.draft, operation.clip
    known = draft.streams.get(operation.stream)
    space = draft.spaces[known.space_no] if known is not None else operation.space
    if known is not None:
        # A handle of another space is told so, not that its vectors have a wrong dim.
        _stream(txn, applied, operation.stream, operation.space)
    if space is not None:
        # Before the stream is created: a refused clip must not leave a stream behind.
        text_space = None if draft.text_space_no is None else draft.spaces[draft.text_space_no]
        check_clip(space, text_space, operation)
    stream = _stream(txn, applied, operation.stream, operation.space)
    ledger_key = schema.ledger_key(stream.no, clip.epoch, clip.seq)
    stored = txn.get(Table.LEDGER, ledger_key)
    ledger = None if stored is None else unpack(Table.LEDGER, ledger_key, stored, LedgerRecord)
    if ledger is not None:
        earlier = _same_content(txn, ledger, operation.content)
        if earlier is not None:
            return Ack(make_id(draft.id_key, IdKind.CLIP, ledger.clip_no), earlier, duplicate=True)
        if ledger.sealed:
            raise AlreadyExists(
                "this number holds a sealed clip with other content",
                reason="SEQ_REUSED",
                field="clip.seq",
                value=clip.seq,
            )
    clip_no = draft.next_clip_no if ledger is None else ledger.clip_no
    if ledger is None:
        draft.next_clip_no += 1
    if clip.sealed:
        # Read before anything is written: damage here must refuse the clip whole.
        pyramid.load(txn, stream.no, clip.start_ns, len(clip.global_memory))
    cosine = draft.spaces[stream.space_no].metric == "cosine"
    vector = prepared_rows(clip.global_memory[None], cosine=cosine)[0]
    place = clips.Placement(
        stream.no, stream.space_no, clip_no, draft.revision, draft.text_space_no
    )
    row = clips.put_clip(txn, place, clip, operation.short_memory, operation.content)
    txn.put(
        Table.LEDGER,
        ledger_key,
        pack(ledger_key, LedgerRecord(clip_no, draft.revision, clip.sealed, operation.content)),
    )
    if clip.sealed:
        pyramid.add(stream.no, clip.start_ns, vector)
    features = clip.transcript_features
    documents = tuple(
        Document(
            schema.UTTERANCE,
            clip_no,
            index,
            draft.revision,
            _END,
            utterance.start_ns,
            stream.no,
            utterance.text,
            None if features is None else draft.text_space_no,
            None if features is None else features[index],
        )
        for index, utterance in enumerate(clip.transcript)
    )
    applied.effects.clips.append(
        NewClip(stream.space_no, clip_no, row, vector, ledger is None, documents)
    )
    applied.entries.append(LogEntry("clip", no=clip_no))
    return Ack(make_id(draft.id_key, IdKind.CLIP, clip_no), draft.revision, duplicate=False)


def _same_content(txn: Transaction, ledger: LedgerRecord, content: bytes) -> int | None:
    """Birth of the version with this content.

    An earlier version counts: it is a late copy of what was stored.
    """
    if ledger.content == content:
        return ledger.birth
    for key, stored in txn.scan(Table.CLIPS, schema.revision_key(ledger.clip_no)):
        if unpack(Table.CLIPS, key, stored, ClipRecord).content == content:
            return schema.split_version_key(key)[1]
    return None


def _evidence(txn: Transaction, draft: Draft, clip_ids: tuple[str, ...]) -> tuple[int, ...]:
    numbers: list[int] = []
    for index, clip_id in enumerate(clip_ids):
        no = parse_id(draft.id_key, IdKind.CLIP, clip_id)
        if no is None or clips.version_at(txn, no, draft.revision) is None:
            raise NotFound(
                "no such clip", reason="CLIP_NOT_FOUND", field=f"evidence[{index}]", value=clip_id
            )
        numbers.append(no)
    return tuple(numbers)


def _put_fact(txn: Transaction, applied: Applied, operation: PutFact) -> Fact:
    draft = applied.draft
    evidence = _evidence(txn, draft, operation.evidence)
    valid_from_ns = draft.time_ns if operation.valid_from_ns is None else operation.valid_from_ns
    if operation.valid_to_ns is not None:
        check_range(valid_from_ns, operation.valid_to_ns, "valid_to")
    held = None if operation.key is None else facts.holder(txn, operation.key)
    fact_no = draft.next_fact_no if held is None else held
    record = FactRecord(
        operation.text,
        operation.about,
        operation.key,
        valid_from_ns,
        operation.valid_to_ns,
        evidence,
        operation.written_ns,
        None if operation.feature is None else draft.text_space_no,
    )
    fact = _store_fact(txn, applied, fact_no, record, operation.feature)
    if held is None:
        draft.next_fact_no += 1
        if operation.key is not None:
            key = operation.key.encode()
            txn.put(Table.FACT_KEYS, key, pack(key, NumberRecord(fact_no)))
    return fact


def _revise_fact(txn: Transaction, applied: Applied, operation: ReviseFact) -> Fact:
    draft = applied.draft
    fact_no = parse_id(draft.id_key, IdKind.FACT, operation.fact_id)
    current = None if fact_no is None else facts.newest(txn, fact_no)
    if fact_no is None or current is None:
        raise NotFound(
            "no such fact", reason="FACT_NOT_FOUND", field="fact_id", value=operation.fact_id
        )
    old = current[1]
    text = old.text if operation.text is None else operation.text
    feature = operation.feature
    if (
        feature is None
        and text == old.text
        and old.text_space_no is not None
        and old.text_space_no == draft.text_space_no
    ):
        feature = facts.feature(txn, old.text_space_no, fact_no, current[0])
    valid_from_ns = (
        old.valid_from_ns if operation.valid_from_ns is None else operation.valid_from_ns
    )
    valid_to_ns = old.valid_to_ns if operation.valid_to_ns is None else operation.valid_to_ns
    if valid_to_ns is not None:
        check_range(valid_from_ns, valid_to_ns, "valid_to")
    record = FactRecord(
        text,
        old.about if operation.about is None else operation.about,
        old.key,
        valid_from_ns,
        valid_to_ns,
        old.evidence if operation.evidence is None else _evidence(txn, draft, operation.evidence),
        operation.written_ns,
        None if feature is None else draft.text_space_no,
    )
    return _store_fact(txn, applied, fact_no, record, feature)


def _store_fact(
    txn: Transaction, applied: Applied, fact_no: int, record: FactRecord, feature: Array | None
) -> Fact:
    draft = applied.draft
    if feature is not None:
        text_space = None if draft.text_space_no is None else draft.spaces[draft.text_space_no]
        _check_feature(text_space, feature, "feature")
    key = schema.version_key(fact_no, draft.revision)
    txn.put(Table.FACTS, key, pack(key, record))
    if feature is not None and record.text_space_no is not None:
        clips.put_fact_feature(txn, record.text_space_no, fact_no, draft.revision, feature)
    document = Document(
        schema.FACT,
        fact_no,
        0,
        draft.revision,
        _END,
        record.valid_from_ns,
        NO_STREAM,
        record.text,
        record.text_space_no,
        feature,
    )
    applied.effects.facts.append(NewFact(fact_no, document))
    applied.entries.append(LogEntry("fact", no=fact_no))
    return facts.as_fact(record, draft.user, draft.id_key, fact_no, draft.revision, None)


def _forget_fact(txn: Transaction, applied: Applied, fact_id: str) -> int:
    draft = applied.draft
    fact_no = parse_id(draft.id_key, IdKind.FACT, fact_id)
    if fact_no is None or not facts.remove(txn, fact_no):
        raise NotFound("no such fact", reason="FACT_NOT_FOUND", field="fact_id", value=fact_id)
    applied.effects.forgotten.append(fact_no)
    applied.entries.append(LogEntry("forget", no=fact_no, name=fact_id))
    return draft.revision


def _put_snapshot(txn: Transaction, applied: Applied, operation: PutSnapshot) -> Snapshot:
    expired = [
        key
        for key, stored in txn.scan(Table.SNAPSHOTS)
        if unpack(Table.SNAPSHOTS, key, stored, SnapshotRecord).expires_ns <= operation.created_ns
    ]
    for key in expired:
        txn.delete(Table.SNAPSHOTS, key)
    key = operation.name.encode()
    revision = applied.draft.revision
    record = SnapshotRecord(revision, operation.created_ns, operation.expires_ns)
    txn.put(Table.SNAPSHOTS, key, pack(key, record))
    applied.entries.append(
        LogEntry(
            "snapshot",
            no=revision,
            name=operation.name,
            created_ns=operation.created_ns,
            expires_ns=operation.expires_ns,
        )
    )
    return Snapshot(operation.name, revision, operation.created_ns, operation.expires_ns)
