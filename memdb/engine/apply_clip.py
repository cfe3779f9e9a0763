"""Applying a clip: its place in the ledger decides whether it is new, a version or a duplicate."""

from __future__ import annotations

from memdb.engine.applied import Applied
from memdb.engine.apply_stream import stream_of
from memdb.engine.checks import check_feature
from memdb.engine.effects import NewClip
from memdb.engine.lateness import too_many_gaps
from memdb.engine.open_versions import known_versions
from memdb.engine.resend import is_coded_otherwise
from memdb.errors import AlreadyExists, InvalidArgument
from memdb.index.columns import ALIVE
from memdb.index.names import clip_names
from memdb.index.text import Document, spoken
from memdb.store import clips, schema
from memdb.store.idents import IdKind, make_id
from memdb.store.records import (
    LedgerRecord,
    LogEntry,
    contents_of,
    pack,
    unpack,
)
from memdb.store.rows import vector_content
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.arrays import check_dim
from memdb.types.clip import Ack, Clip
from memdb.types.operation import (
    WriteClip,
)
from memdb.types.space import Space

_END = int(ALIVE)


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
    memory = clip.global_memory
    # The first element nearly always says it; to look at all of them takes 2 us.
    if space.metric == "cosine" and not memory[0] and not memory.any():
        raise InvalidArgument(
            "a zero vector has no direction", reason="ZERO_VECTOR", field="clip.global_memory"
        )
    if clip.transcript_features is not None:
        check_feature(text_space, clip.transcript_features, "clip.transcript_features")


def write_clip(txn: Transaction, applied: Applied, operation: WriteClip) -> Ack:
    """Store a version of a clip and create its stream if need be.

    Raises `AlreadyExists` (``SEQ_REUSED``), `NotFound` (``STREAM_NOT_FOUND``),
    `FailedPrecondition` (``SPACE_MISMATCH``, ``NO_TEXT_SPACE``), `InvalidArgument`
    (``DIM_MISMATCH``, ``ZERO_VECTOR``), `ResourceExhausted` (``QUOTA``) and `DataLoss`; nothing is written then.
    """
    draft, clip = applied.draft, operation.clip
    known = draft.streams.get(operation.stream)
    space = draft.spaces[known.space_no] if known is not None else operation.space
    if known is not None and operation.space is not space:
        # A handle of another space is told so, not that its vectors have a wrong dim.
        stream_of(txn, applied, operation.stream, operation.space)
    if space is not None:
        # Before the stream is created: a refused clip must not leave a stream behind.
        text_space = None if draft.text_space_no is None else draft.spaces[draft.text_space_no]
        check_clip(space, text_space, operation)
    stream = known or stream_of(txn, applied, operation.stream, operation.space)
    space_no, birth = stream.space_no, draft.revision
    ledger_key = schema.ledger_key(stream.no, clip.epoch, clip.seq)
    stored = txn.get(Table.LEDGER, ledger_key)
    ledger = None if stored is None else unpack(Table.LEDGER, ledger_key, stored, LedgerRecord)
    if ledger is not None and ledger.removed:
        # It was stored once, and given up or erased since: it does not come back.
        if ledger.content and operation.content not in contents_of(ledger):
            raise _reused(clip.seq)
        clip_id = make_id(draft.id_key, IdKind.CLIP, ledger.clip_no)
        return Ack(clip_id, ledger.birth, duplicate=True)
    if ledger is not None:
        earlier = _same_content(txn, applied, ledger, operation.content)
        if earlier is not None:
            return Ack(make_id(draft.id_key, IdKind.CLIP, ledger.clip_no), earlier, duplicate=True)
        if ledger.sealed and is_coded_otherwise(txn, ledger.clip_no, ledger.birth, operation):
            clip_id = make_id(draft.id_key, IdKind.CLIP, ledger.clip_no)
            return Ack(clip_id, ledger.birth, duplicate=True)
        if ledger.sealed:
            raise _reused(clip.seq)
    if ledger is None and not applied.reached.advance(stream.no, clip.epoch, clip.seq):
        _check_gaps(txn, applied, stream.no, clip)
    clip_no = draft.next_clip_no if ledger is None else ledger.clip_no
    if ledger is None:
        draft.next_clip_no += 1
    else:
        applied.versions.add(clip_no, operation.content)
    place = clips.Placement(stream.no, space_no, clip_no, birth, draft.text_space_no)
    row = clips.put_clip(txn, place, clip, operation.short_memory, operation.content)
    record = LedgerRecord(clip_no, birth, clip.sealed, operation.content)
    txn.put(Table.LEDGER, ledger_key, pack(ledger_key, record))
    features = clip.transcript_features
    documents = [
        Document(
            schema.UTTERANCE,
            clip_no,
            index,
            birth,
            _END,
            utterance.start_ns,
            utterance.end_ns,
            stream.no,
            spoken(utterance.text, utterance.speaker),
            None if features is None else draft.text_space_no,
            None if features is None else features[index],
        )
        for index, utterance in enumerate(clip.transcript)
    ]
    applied.effects.clips.append(
        NewClip(
            space_no,
            clip_no,
            row,
            clip.global_memory,
            ledger is None,
            documents,
            clip_names([event.label for event in clip.events], clip.labels),
            vector_content(clip.global_memory),
        )
    )
    applied.entries.append(LogEntry("clip", no=clip_no))
    return Ack(make_id(draft.id_key, IdKind.CLIP, clip_no), birth, duplicate=False)


def _check_gaps(txn: Transaction, applied: Applied, stream_no: int, clip: Clip) -> None:
    """Refuse a number that parts a gap where there are as many as there may be."""
    epoch, seq = clip.epoch, clip.seq
    if not applied.reached.is_full(stream_no, epoch) or seq == 0:
        return
    beside = (schema.ledger_key(stream_no, epoch, other) for other in (seq - 1, seq + 1))
    if not any(txn.holds(Table.LEDGER, key) for key in beside):
        raise too_many_gaps(seq)


def _reused(seq: int) -> AlreadyExists:
    return AlreadyExists(
        "this number holds a sealed clip with other content; the ledger's next_seq is free, and another "
        "run that numbers from 0 is another epoch",
        reason="SEQ_REUSED",
        field="clip.seq",
        value=seq,
    )


def _same_content(
    txn: Transaction, applied: Applied, ledger: LedgerRecord, content: bytes
) -> int | None:
    """Birth of the version with this content.

    An earlier version counts: it is a late copy of what was stored.
    """
    if ledger.content == content:
        return ledger.birth
    clip_no, newest = ledger.clip_no, ledger.birth
    if not ledger.sealed and not applied.versions.may_have(txn, clip_no, newest, content):
        return None
    for birth, known in known_versions(txn, clip_no, newest):
        if known == content:
            return birth
    return None
