"""Applying plain clips, as nearly all of a commit are: sealed, without words, sounds, pictures and labels, new, of
streams that are there.

What `memdb.engine.apply_clip` does with each of them, to the byte, is done here for all that follow each other: they
are looked up together and numbered together, and their entries are made table by table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from memdb.engine.applied import Applied
from memdb.engine.effects import NewRows
from memdb.engine.run_acks import RunAcks
from memdb.store import schema
from memdb.store.plain_clips import put_plain
from memdb.store.records import LogEntry
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.arrays import Array
from memdb.types.clip import Clip
from memdb.types.operation import Operation, WriteClip
from memdb.types.space import Space


@dataclass(frozen=True, slots=True, eq=False)
class Plain:
    """Plain clips that follow each other, of one space and dtype, each another number of a stream."""

    operations: list[WriteClip]
    keys: list[bytes]
    """Of the ledger."""
    stream_nos: list[int]
    space_no: int
    are_beyond: bool
    """Whether all of them are beyond what the ledger has (`memdb.engine.reached`)."""

    def __len__(self) -> int:
        return len(self.keys)

    def part(self, begin: int, end: int) -> Plain:
        """Some of them."""
        return Plain(
            self.operations[begin:end],
            self.keys[begin:end],
            self.stream_nos[begin:end],
            self.space_no,
            self.are_beyond,
        )

    def stretches(self, txn: Transaction) -> Iterator[tuple[bool, Plain]]:
        """Those that the ledger has not and those that it has, in their order; with whether they are new."""
        if self.are_beyond or not txn.has_any(Table.LEDGER, sorted(self.keys)):
            yield True, self
            return
        there = [txn.holds(Table.LEDGER, key) for key in self.keys]
        begin = 0
        for is_there, group in groupby(there):
            end = begin + len(list(group))
            yield not is_there, self.part(begin, end)
            begin = end


def plain_from(applied: Applied, operations: Sequence[Operation], begin: int) -> Plain | None:
    """The plain clips from an operation on; None where it is none."""
    draft, reached = applied.draft, applied.reached
    are_beyond = True
    chosen: list[WriteClip] = []
    keys: dict[bytes, None] = {}
    stream_nos: list[int] = []
    alike: tuple[int, object] | None = None
    name: str | None = None
    given: Space | None = None
    space: Space | None = None
    stream_no = space_no = -1
    for place in range(begin, len(operations)):
        operation = operations[place]
        if type(operation) is not WriteClip:
            break
        if operation.stream != name or operation.space is not given:
            known = draft.streams.get(operation.stream)
            if known is None:
                break
            name, given = operation.stream, operation.space
            stream_no, space_no, space = known.no, known.space_no, draft.spaces[known.space_no]
            if given is not None and given is not space and given != space:
                break
        clip, short = operation.clip, operation.short_memory
        assert space is not None, "that of a stream which is there"
        memory = clip.global_memory
        if (
            not _is_plain(clip)
            or not _fits(memory, space)
            or (short is not None and short.shape[-1] != space.dim)
        ):
            break
        if alike is None:
            alike = space_no, memory.dtype
        elif alike != (space_no, memory.dtype):
            break
        key = schema.ledger_key(stream_no, clip.epoch, clip.seq)
        if key in keys:
            break
        is_beyond = reached.advance(stream_no, clip.epoch, clip.seq)
        if not is_beyond and reached.is_full(stream_no, clip.epoch):
            break  # it may part a gap
        keys[key] = None
        are_beyond &= is_beyond
        chosen.append(operation)
        stream_nos.append(stream_no)
    if alike is None or not chosen:
        return None
    return Plain(chosen, list(keys), stream_nos, alike[0], are_beyond)


def write_plain(txn: Transaction, applied: Applied, plain: Plain) -> None:
    """Write plain clips that the ledger has not."""
    draft = applied.draft
    birth, first_no, count = draft.revision, draft.next_clip_no, len(plain)
    draft.next_clip_no += count
    stored = put_plain(
        txn, plain.space_no, first_no, birth, plain.stream_nos, plain.keys, plain.operations
    )
    dtype = plain.operations[0].clip.global_memory.dtype
    applied.outcomes += written(applied, NewRows(plain.space_no, first_no, count, dtype, stored))


def written(applied: Applied, rows: NewRows) -> RunAcks:
    """Note rows that were written; the acknowledgements of their clips."""
    draft, first_no, count = applied.draft, rows.first_no, rows.count
    applied.effects.rows.append(rows)
    applied.entries += [LogEntry("clip", no) for no in range(first_no, first_no + count)]
    return RunAcks(draft.id_key, first_no, count, draft.revision)


def _is_plain(clip: Clip) -> bool:
    return not (
        clip.transcript
        or clip.events
        or clip.keyframes
        or clip.labels
        or clip.transcript_features is not None
        or not clip.sealed
    )


def _fits(memory: Array, space: Space) -> bool:
    """Whether it is seen at once that a (dim,) vector is right for a space."""
    return memory.shape[0] == space.dim and (space.metric != "cosine" or bool(memory[0]))
