"""Applying a run of plain clips as a whole: what `memdb.engine.apply_plain` does, to the byte, with nothing done for
each of them that can be done for all.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from memdb.codecs.tensors import encoded
from memdb.engine.applied import Applied
from memdb.engine.apply_plain import written
from memdb.engine.effects import NewRows
from memdb.engine.run_acks import RunAcks
from memdb.store import schema
from memdb.store.content import content_hash
from memdb.store.plain_clips import put_run
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.operation import WriteClip, WriteRun
from memdb.types.plain_run import PlainRun
from memdb.types.tensor import Codec


def write_run(txn: Transaction, applied: Applied, operation: WriteRun) -> RunAcks | None:
    """Write the clips of a run; None, and nothing is done, where each is to be looked at: some are there already, or
    may be refused.
    """
    draft, run = applied.draft, operation.run
    stream = draft.streams.get(operation.stream)
    if stream is None:
        return None
    space, given = draft.spaces[stream.space_no], operation.space
    if given is not None and given is not space and given != space:
        return None
    if run.dim != space.dim or (space.metric == "cosine" and run.may_be_zero):
        return None
    count = len(run)
    if not applied.reached.advance(stream.no, run.epoch, run.first_seq, count):
        # Late, or decided once more: its numbers were noted as they were decided first.
        if applied.reached.is_full(stream.no, run.epoch) or txn.has_any(
            Table.LEDGER, _ledger_keys(stream.no, run)
        ):
            return None
        applied.reached.advance(stream.no, run.epoch, run.first_seq + count - 1)
    birth, first_no = draft.revision, draft.next_clip_no
    draft.next_clip_no += count
    stored = put_run(txn, run, stream.no, stream.space_no, first_no, birth)
    dtype = np.dtype(np.float16 if run.is_half else np.float32)
    return written(applied, NewRows(stream.space_no, first_no, count, dtype, stored))


def _ledger_keys(stream_no: int, run: PlainRun) -> list[bytes]:
    numbers = range(run.first_seq, run.first_seq + len(run))
    return [schema.ledger_key(stream_no, run.epoch, seq) for seq in numbers]


def one_by_one(operations: Iterable[WriteClip | WriteRun]) -> list[WriteClip]:
    """Operations that write the clips of runs each for itself."""
    made: list[WriteClip] = []
    for operation in operations:
        if isinstance(operation, WriteClip):
            made.append(operation)
            continue
        for clip in operation.run.clips():
            tensor = encoded(clip, Codec.F16)
            content = content_hash(clip, tensor)
            made.append(WriteClip(operation.stream, operation.space, clip, tensor, content))
    return made
