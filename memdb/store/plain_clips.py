"""Several new clips that are nothing but vectors, written at once: the same entries, to the byte, as
`memdb.store.clips.put_clip` and a ledger row for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np
import xxhash

from memdb.store import schema
from memdb.store.envelope import Kind, seal_all
from memdb.store.records import encode_record
from memdb.store.rows import CODINGS, Row, packed_row
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.operation import WriteClip
from memdb.types.plain_run import Entries, PlainRun

_xxh3: Final = xxhash.xxh3_64_intdigest


class StoredRows(NamedTuple):
    """Of clips that were written, in their order, each behind the one before it."""

    rows: bytes
    """Each a `memdb.store.rows.HEAD`."""
    vectors: bytes
    contents: bytes
    """uint64 each, `memdb.store.rows.vector_content`."""


class _Tables(NamedTuple):
    clips: Entries
    vectors: Entries
    short_memory: Entries
    ledger: Entries


class Stage(Protocol):
    """Adds what is stored of plain clips to what is to be put into four tables; None, be it that some was added, where
    it is not for it.
    """

    def __call__(
        self,
        clips: Entries,
        vectors: Entries,
        short_memory: Entries,
        ledger: Entries,
        operations: list[WriteClip],
        ledger_keys: list[bytes],
        stream_nos: list[int],
        dim: int,
        is_half: bool,
        space_no: int,
        first_no: int,
        birth: int,
    ) -> tuple[bytes, bytes, bytes] | None: ...


_staged_by: Stage | None = None


def stage_by(stage: Stage | None) -> None:
    """Have it stage plain clips from now on, to the byte as it is done here; None for nobody."""
    global _staged_by  # noqa: PLW0603 - one for the process
    _staged_by = stage


def put_plain(
    txn: Transaction,
    space_no: int,
    first_no: int,
    birth: int,
    stream_nos: list[int],
    ledger_keys: list[bytes],
    operations: list[WriteClip],
) -> StoredRows:
    """Write sealed clips without words, sounds, keyframes and labels, whose vectors are of one dtype, under numbers
    from ``first_no`` on.
    """
    tables = _Tables({}, {}, {}, {})
    staged = None
    if _staged_by is not None:
        memory = operations[0].clip.global_memory
        staged = _staged_by(
            *tables,
            operations,
            ledger_keys,
            stream_nos,
            len(memory),
            memory.dtype.itemsize == 2,
            space_no,
            first_no,
            birth,
        )
    if staged is None:
        tables = _Tables({}, {}, {}, {})
        staged = _staged(tables, space_no, first_no, birth, stream_nos, ledger_keys, operations)
    _put(txn, tables)
    return StoredRows(*staged)


def put_run(
    txn: Transaction, run: PlainRun, stream_no: int, space_no: int, first_no: int, birth: int
) -> StoredRows:
    """`put_plain` of the clips of a run."""
    tables = _Tables({}, {}, {}, {})
    staged = run.stage(*tables, stream_no, space_no, first_no, birth)
    _put(txn, tables)
    return StoredRows(*staged)


def _put(txn: Transaction, tables: _Tables) -> None:
    txn.put_all(Table.CLIPS, tables.clips)
    txn.put_all(Table.VECTORS, tables.vectors)
    if tables.short_memory:
        txn.put_all(Table.SHORT_MEMORY, tables.short_memory)
    txn.put_all(Table.LEDGER, tables.ledger)


def _staged(
    tables: _Tables,
    space_no: int,
    first_no: int,
    birth: int,
    stream_nos: Sequence[int],
    ledger_keys: Sequence[bytes],
    operations: Sequence[WriteClip],
) -> tuple[bytes, bytes, bytes]:
    keys: list[bytes] = []
    vector_keys: list[bytes] = []
    records: list[bytes] = []
    ledger: list[bytes] = []
    payloads: list[bytes] = []
    rows: list[bytes] = []
    vectors: list[bytes] = []
    clip_no = first_no
    for stream_no, operation in zip(stream_nos, operations, strict=True):
        clip, short, content = operation.clip, operation.short_memory, operation.content
        seq, epoch, start_ns, end_ns = clip.seq, clip.epoch, clip.start_ns, clip.end_ns
        key = schema.version_key(clip_no, birth)
        tensor, short_bytes = None, 0
        if short is not None:
            payload = tables.short_memory[key] = short.payload
            tokens, dim = short.shape
            short_bytes = len(payload)
            tensor = (int(short.codec), tokens, dim, short_bytes, short.checksum)
        # Tuples in the order of the records' fields: the same bytes as those of the records themselves.
        records.append(
            encode_record(
                (
                stream_no,
                space_no,
                epoch,
                seq,
                start_ns,
                end_ns,
                True,
                clip.frames_per_token_row,
                (),
                (),
                {},
                0,
                tensor,
                None,
                content,
                False,
            ))
        )  # fmt: skip
        ledger.append(encode_record((clip_no, birth, True, content, 0, None, None)))
        row = packed_row(Row(stream_no, epoch, seq, start_ns, end_ns, True, short_bytes, 0))
        vector = clip.global_memory.tobytes()
        keys.append(key)
        vector_keys.append(schema.vector_key(space_no, clip_no, birth))
        payloads.append(row + vector)
        rows.append(row)
        vectors.append(vector)
        clip_no += 1
    memory = operations[0].clip.global_memory
    tables.clips.update(seal_all(keys, records, Kind.RECORD))
    coding, dim = CODINGS[memory.dtype], len(memory)
    tables.vectors.update(seal_all(vector_keys, payloads, Kind.ROW, coding, rows=1, dim=dim))
    tables.ledger.update(seal_all(ledger_keys, ledger, Kind.RECORD))
    contents = np.array([_xxh3(vector) for vector in vectors], np.uint64)
    return b"".join(rows), b"".join(vectors), contents.tobytes()
