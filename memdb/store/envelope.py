"""The envelope around every stored value: what it is, how long it is, and a checksum over all of
it.

::

    offset  size  field
         0     4  magic      b"mdbv"
         4     1  version    1
         5     1  kind       1 record (msgpack), 2 row + vector, 3 tensor, 4 blob, 5 sums (see
               `memdb.store.schema`)
         6     1  codec      0 plain, 1 float16, 2 float16 in one zstd frame, 3 float32, 4 float64
         7     1  reserved   0
         8     4  rows       u32, tensor or vector rows, else 0
        12     4  dim        u32, elements of a row, else 0
        16     8  length     u64, payload bytes
        24     8  checksum   u64, xxh3_64 of the payload, seeded with xxh3_64(bytes 0..23 + key)
        32     -  payload

All integers are little-endian.  The key is part of the checksum, so a value that turns up under
another key is damage too.  LMDB 0.9 keeps no checksums of its own: without this a flipped bit would
be served.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import xxhash

from memdb.errors import DataLoss

MAGIC: Final = b"mdbv"
VERSION: Final = 1
HEADER: Final = struct.Struct("<4sBBBBIIQQ")
_PREFIX_BYTES: Final = 24


class Kind(IntEnum):
    """What the payload is; on disk, never reused."""

    RECORD = 1
    ROW = 2
    TENSOR = 3
    BLOB = 4
    SUMS = 5


class Coding(IntEnum):
    """How numbers in the payload are coded; on disk, never reused.  1 and 2 equal
    `memdb.types.tensor.Codec`.
    """

    PLAIN = 0
    F16 = 1
    F16_ZSTD = 2
    F32 = 3
    F64 = 4


@dataclass(frozen=True, slots=True)
class Value:
    """An opened envelope whose checksum matched."""

    kind: int
    coding: int
    rows: int
    dim: int
    payload: memoryview
    checksum: int


def seal(
    key: bytes, payload: bytes, kind: Kind, coding: int = Coding.PLAIN, rows: int = 0, dim: int = 0
) -> bytes:
    """The stored bytes of ``payload`` under ``key``."""
    prefix = HEADER.pack(MAGIC, VERSION, kind, coding, 0, rows, dim, len(payload), 0)[
        :_PREFIX_BYTES
    ]
    seed = xxhash.xxh3_64_intdigest(prefix + key)
    checksum = xxhash.xxh3_64_intdigest(payload, seed)
    return b"".join((prefix, checksum.to_bytes(8, "little"), payload))


def unseal(table: str, key: bytes, stored: bytes | memoryview, kind: Kind) -> Value:
    """Check and open what was stored under ``key``.

    Raises `DataLoss` with reason ``TRUNCATED``, ``BAD_ENVELOPE``, ``CHECKSUM`` or ``WRONG_KIND``,
    naming table and key. The payload is a view of ``stored``: copy it before the transaction that
    lent it ends.
    """
    view = memoryview(stored)
    where = f"{table}/{key.hex()}"
    if len(view) < HEADER.size:
        raise DataLoss(
            "value is shorter than its envelope", reason="TRUNCATED", field=where, value=len(view)
        )
    magic, version, found, coding, _, rows, dim, length, checksum = HEADER.unpack_from(view)
    payload = view[HEADER.size :]
    if magic != MAGIC or version != VERSION:
        raise DataLoss("not a value of this format", reason="BAD_ENVELOPE", field=where)
    if length != len(payload):
        raise DataLoss(
            "value has another length than it states",
            reason="TRUNCATED",
            field=where,
            value=len(payload),
        )
    seed = xxhash.xxh3_64_intdigest(bytes(view[:_PREFIX_BYTES]) + key)
    if xxhash.xxh3_64_intdigest(payload, seed) != checksum:
        raise DataLoss("value does not match its checksum", reason="CHECKSUM", field=where)
    if found != kind:
        raise DataLoss("value is of another kind", reason="WRONG_KIND", field=where, value=found)
    return Value(found, coding, rows, dim, payload, checksum)
