"""Several new clips that are nothing but vectors, written at once: the same entries, to the byte, as
`memdb.store.clips.put_clip` and a ledger row for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import xxhash

from memdb.store import schema
from memdb.store.envelope import Kind, seal_all
from memdb.store.records import encode_record
from memdb.store.rows import CODINGS, Row, packed_row
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.operation import WriteClip

_xxh3: Final = xxhash.xxh3_64_intdigest
_row: Final = tuple.__new__
"""Of a `Row`, without the function that a named tuple has for that."""


def put_plain(
    txn: Transaction,
    space_no: int,
    first_no: int,
    birth: int,
    stream_nos: Sequence[int],
    ledger_keys: Sequence[bytes],
    operations: Sequence[WriteClip],
) -> list[tuple[Row, int]]:
    """Write sealed clips without words, sounds, keyframes and labels, whose vectors are of one dtype, under numbers
    from ``first_no`` on; of each its row and the content of its vector (`memdb.store.rows.vector_content`).
    """
    keys: list[bytes] = []
    vector_keys: list[bytes] = []
    records: list[bytes] = []
    ledger: list[bytes] = []
    heavy: dict[bytes, bytes | memoryview] = {}
    payloads: list[bytes] = []
    found: list[tuple[Row, int]] = []
    clip_no = first_no
    for stream_no, operation in zip(stream_nos, operations, strict=True):
        clip, short, content = operation.clip, operation.short_memory, operation.content
        seq, epoch, start_ns, end_ns = clip.seq, clip.epoch, clip.start_ns, clip.end_ns
        key = schema.version_key(clip_no, birth)
        tensor, short_bytes = None, 0
        if short is not None:
            payload = heavy[key] = short.payload
            rows, dim = short.shape
            short_bytes = len(payload)
            tensor = (int(short.codec), rows, dim, short_bytes, short.checksum)
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
        row = _row(Row, (stream_no, epoch, seq, start_ns, end_ns, True, short_bytes, 0))
        vector = clip.global_memory.tobytes()
        keys.append(key)
        vector_keys.append(schema.vector_key(space_no, clip_no, birth))
        payloads.append(packed_row(row) + vector)
        found.append((row, _xxh3(vector)))
        clip_no += 1
    memory = operations[0].clip.global_memory
    txn.put_all(Table.CLIPS, seal_all(keys, records, Kind.RECORD))
    coding, dim = CODINGS[memory.dtype], len(memory)
    txn.put_all(Table.VECTORS, seal_all(vector_keys, payloads, Kind.ROW, coding, rows=1, dim=dim))
    if heavy:
        txn.put_all(Table.SHORT_MEMORY, heavy)
    txn.put_all(Table.LEDGER, seal_all(ledger_keys, ledger, Kind.RECORD))
    return found
