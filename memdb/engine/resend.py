"""A clip that is sent again with its short-term memory coded otherwise.

The content hash covers the coded bytes, which another release of libzstd makes otherwise of the same
elements, as does another codec without loss.  That is no other content: where a hash differs on a
sealed number, and only there, elements are compared.
"""

from __future__ import annotations

from memdb.codecs.tensors import decode_verified
from memdb.errors import DataLoss
from memdb.store import clips
from memdb.store.content import content_hash
from memdb.store.records import ClipRecord
from memdb.store.transaction import Transaction
from memdb.types.clip import Clip
from memdb.types.operation import WriteClip
from memdb.types.unchecked import unchecked


def is_coded_otherwise(txn: Transaction, clip_no: int, birth: int, operation: WriteClip) -> bool:
    """Whether a stored version has the operation's content but for the bytes of its short-term
    memory; false also where that was given up since.

    Raises `DataLoss` where the version cannot be read.
    """
    tensor = operation.short_memory
    record = clips.get_record(txn, clip_no, birth)
    if record is None:
        raise DataLoss(
            "a clip's version is missing", reason="MISSING", field="clips", value=clip_no
        )
    if tensor is None or record.short_memory is None:
        return False
    if (record.short_memory.rows, record.short_memory.dim) != tensor.shape:
        return False
    # The hash of what is stored with the tensor that was sent: equal, everything else is equal.
    if content_hash(_as_written(txn, clip_no, birth, record), tensor) != operation.content:
        return False
    stored = clips.short_memory_of(txn, clip_no, birth, record)
    assert stored is not None, "the record says that there is one"
    return decode_verified(stored).tobytes() == decode_verified(tensor).tobytes()


def _as_written(txn: Transaction, clip_no: int, birth: int, record: ClipRecord) -> Clip:
    """The stored clip without its short-term memory, in the order of `Clip`'s fields."""
    return unchecked(
        Clip,
        record.seq,
        record.start_ns,
        record.end_ns,
        clips.get_global_memory(txn, record.space_no, clip_no, birth),
        None,
        record.frames_per_token_row,
        tuple(clips.as_utterance(utterance) for utterance in record.transcript),
        None,
        tuple(clips.as_event(event) for event in record.events),
        clips.get_keyframes(txn, clip_no, birth, record.keyframes),
        record.labels,
        record.sealed,
        record.epoch,
    )
