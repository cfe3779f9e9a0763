"""Versions of clips in a transaction: writing one, reading one."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import xxhash

from memdb.errors import DataLoss
from memdb.store import schema
from memdb.store.envelope import Kind, seal, unseal
from memdb.store.records import (
    ClipRecord,
    EventRecord,
    TensorRecord,
    UtteranceRecord,
    pack,
    unpack,
)
from memdb.store.rows import NO_STREAM, Row, pack_row, unpack_vector
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.arrays import Array
from memdb.types.clip import Clip, Keyframe, SoundEvent, Utterance
from memdb.types.tensor import Codec, EncodedTensor
from memdb.types.unchecked import unchecked

_TIME: Final = struct.Struct("<q")
_CODECS: Final = frozenset(map(int, Codec))


class Placement(NamedTuple):
    """Where a version of a clip goes."""

    stream_no: int
    space_no: int
    clip_no: int
    birth: int
    text_space_no: int | None


class TensorPlace(NamedTuple):
    """Where the short-term memory of a version lies, and what it must be."""

    birth: int
    key: bytes
    codec: Codec
    shape: tuple[int, int]
    length: int
    """Bytes."""
    checksum: int


def put_clip(
    txn: Transaction,
    place: Placement,
    clip: Clip,
    short_memory: EncodedTensor | None,
    content: bytes,
) -> Row:
    """Write every part of one version of a clip but its ledger row; returns the row of its global
    memory.
    """
    stream_no, space_no, clip_no, birth, text_space_no = place
    keyframes = clip.keyframes
    row = Row(
        stream_no,
        clip.epoch,
        clip.seq,
        clip.start_ns,
        clip.end_ns,
        clip.sealed,
        0 if short_memory is None else len(short_memory.payload),
        sum([len(keyframe.jpeg) for keyframe in keyframes]),
    )
    key = schema.version_key(clip_no, birth)
    record = ClipRecord(
        stream_no=stream_no,
        space_no=space_no,
        epoch=clip.epoch,
        seq=clip.seq,
        start_ns=clip.start_ns,
        end_ns=clip.end_ns,
        sealed=clip.sealed,
        frames_per_token_row=clip.frames_per_token_row,
        # Lists made into tuples: half the time of a generator where there are one or two.
        transcript=tuple(
            [
                UtteranceRecord(u.start_ns, u.end_ns, u.text, u.speaker, u.language)
                for u in clip.transcript
            ]
        ),
        events=tuple([EventRecord(e.start_ns, e.end_ns, e.label, e.score) for e in clip.events]),
        labels=dict(clip.labels),
        keyframes=len(keyframes),
        short_memory=None if short_memory is None else _tensor_record(short_memory),
        text_space_no=text_space_no if clip.transcript_features is not None else None,
        content=content,
    )
    txn.put(Table.CLIPS, key, pack(key, record))
    vector_key = schema.vector_key(space_no, clip_no, birth)
    txn.put(Table.VECTORS, vector_key, pack_row(vector_key, row, clip.global_memory))
    if short_memory is not None:
        # As it came: nine tenths of all bytes, which an envelope would copy once more.
        txn.put(Table.SHORT_MEMORY, key, short_memory.payload)
    for index, keyframe in enumerate(keyframes):
        frame_key = schema.keyframe_key(clip_no, birth, index)
        txn.put(
            Table.KEYFRAMES,
            frame_key,
            seal(frame_key, _TIME.pack(keyframe.time_ns) + keyframe.jpeg, Kind.BLOB),
        )
    if record.text_space_no is not None and clip.transcript_features is not None:
        for index, feature in enumerate(clip.transcript_features):
            text_key = schema.text_key(
                record.text_space_no, schema.UTTERANCE, clip_no, index, birth
            )
            txn.put(Table.TEXTS, text_key, pack_row(text_key, row, feature))
    return row


def put_fact_feature(
    txn: Transaction, space_no: int, fact_no: int, birth: int, feature: Array
) -> None:
    """Write the text feature of one version of a fact."""
    key = schema.text_key(space_no, schema.FACT, fact_no, 0, birth)
    txn.put(Table.TEXTS, key, pack_row(key, Row(NO_STREAM, 0, 0, 0, 0, True), feature))


def get_record(txn: Transaction, clip_no: int, birth: int) -> ClipRecord | None:
    """What a version says, None when there is no such version."""
    key = schema.version_key(clip_no, birth)
    stored = txn.get(Table.CLIPS, key)
    return None if stored is None else unpack(Table.CLIPS, key, stored, ClipRecord)


def version_at(txn: Transaction, clip_no: int, revision: int) -> int | None:
    """Birth of the version of a clip that was current at ``revision``, None when it did not exist
    yet.
    """
    prefix = schema.revision_key(clip_no)
    found = txn.last_at_or_before(Table.CLIPS, schema.version_key(clip_no, revision), prefix)
    return None if found is None else schema.split_version_key(found[0])[1]


def record_at(txn: Transaction, clip_no: int, revision: int) -> tuple[int, ClipRecord] | None:
    """(birth, record) of the version that was current at ``revision``; raises `DataLoss`."""
    prefix = schema.revision_key(clip_no)
    found = txn.last_at_or_before(Table.CLIPS, schema.version_key(clip_no, revision), prefix)
    if found is None:
        return None
    key, stored = found
    return schema.split_version_key(key)[1], unpack(Table.CLIPS, key, stored, ClipRecord)


def get_global_memory(txn: Transaction, space_no: int, clip_no: int, birth: int) -> Array:
    """(dim,) in the dtype it was written in, a copy; raises `DataLoss`."""
    key = schema.vector_key(space_no, clip_no, birth)
    stored = txn.get(Table.VECTORS, key)
    if stored is None:
        raise DataLoss("clip has no global memory", reason="MISSING", field=f"vectors/{key.hex()}")
    return unpack_vector(Table.VECTORS, key, stored)


def short_memory_of(
    txn: Transaction, clip_no: int, birth: int, record: ClipRecord
) -> EncodedTensor | None:
    """The tensor of a version as the client coded it, None when the clip was written without.

    Raises `DataLoss` (``MISSING``, ``TRUNCATED``, ``CHECKSUM``, ``BAD_RECORD``).
    """
    description = record.short_memory
    return None if description is None else described_tensor(txn, clip_no, birth, description)


def described_tensor(
    txn: Transaction, clip_no: int, birth: int, description: TensorRecord
) -> EncodedTensor:
    """`short_memory_of` by what the record says of it."""
    key = schema.version_key(clip_no, birth)
    stored = txn.get(Table.SHORT_MEMORY, key)
    # Copied first, at the length that was written: the checksum then reads what is in the cache.
    payload = None if stored is None else bytes(stored[: description.length + 1])
    check_short_memory(key, payload, description)
    assert payload is not None, "it was checked"
    shape, codec = (description.rows, description.dim), Codec(description.codec)
    return EncodedTensor(codec, shape, payload, description.checksum)


def tensor_place(clip_no: int, birth: int, tensor: EncodedTensor) -> TensorPlace:
    """Where a tensor that was read of a version lies."""
    rows, dim = tensor.shape
    key = schema.version_key(clip_no, birth)
    return TensorPlace(birth, key, tensor.codec, (rows, dim), len(tensor.payload), tensor.checksum)


def tensor_at(txn: Transaction, place: TensorPlace) -> EncodedTensor | None:
    """What lies at a place, its checksum verified; None where it is not what lay there.

    Raises `DataLoss` where it cannot be decrypted.
    """
    _, key, codec, shape, length, checksum = place
    stored = txn.get(Table.SHORT_MEMORY, key)
    if stored is None or len(stored) != length:
        return None
    payload = bytes(stored)
    if xxhash.xxh3_64_intdigest(payload) != checksum:
        return None
    return unchecked(EncodedTensor, codec, shape, payload, checksum)


def check_short_memory(
    key: bytes, stored: bytes | memoryview | None, description: TensorRecord
) -> None:
    """Raise `DataLoss` unless the bytes are those that the clip's record describes."""
    reason = None
    if stored is None:
        reason = "MISSING"
    elif len(stored) != description.length:
        reason = "TRUNCATED"
    elif xxhash.xxh3_64_intdigest(stored) != description.checksum:
        reason = "CHECKSUM"
    elif description.codec not in _CODECS:
        reason = "BAD_RECORD"
    if reason is not None:
        raise DataLoss(
            "short-term memory is not what its clip describes",
            reason=reason,
            field=f"{Table.SHORT_MEMORY.value}/{key.hex()}",
        )


def _tensor_record(tensor: EncodedTensor) -> TensorRecord:
    rows, dim = tensor.shape
    return TensorRecord(int(tensor.codec), rows, dim, len(tensor.payload), tensor.checksum)


def get_keyframes(txn: Transaction, clip_no: int, birth: int, count: int) -> tuple[Keyframe, ...]:
    """The keyframes of a version; raises `DataLoss`."""
    frames: list[Keyframe] = []
    for index in range(count):
        key = schema.keyframe_key(clip_no, birth, index)
        stored = txn.get(Table.KEYFRAMES, key)
        if stored is None:
            raise DataLoss("keyframe is missing", reason="MISSING", field=f"keyframes/{key.hex()}")
        payload = unseal(Table.KEYFRAMES, key, stored, Kind.BLOB).payload
        time_ns = _TIME.unpack_from(payload)[0]
        frames.append(unchecked(Keyframe, time_ns, bytes(payload[_TIME.size :])))
    return tuple(frames)


def as_utterance(record: UtteranceRecord) -> Utterance:
    """The value behind the record."""
    return unchecked(
        Utterance, record.start_ns, record.end_ns, record.text, record.speaker, record.language
    )


def as_event(record: EventRecord) -> SoundEvent:
    """The value behind the record."""
    return unchecked(SoundEvent, record.start_ns, record.end_ns, record.label, record.score)
