"""The envelope around every stored value: what it is, how long it is, and a checksum over all of
it.

::

    offset  size  field
         0     4  magic      b"mdbv"
         4     1  version    1
         5     1  kind       1 record (msgpack), 2 row + vector, 4 blob, 5 sums (see
               `memdb.store.schema`)
         6     1  codec      0 plain, 1 float16, 3 float32, 4 float64
         7     1  reserved   0
         8     4  rows       u32, vector rows, else 0
        12     4  dim        u32, elements of a row, else 0
        16     8  length     u64, payload bytes
        24     8  checksum   u64, xxh3_64 of bytes 0..23 + key + xxh3_64(payload) as u64
        32     -  payload

All integers are little-endian.  The key is part of the checksum, so a value that turns up under
another key is damage too.  LMDB 0.9 keeps no checksums of its own: without this a flipped bit would
be served.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

import xxhash

from memdb.errors import DataLoss

MAGIC: Final = b"mdbv"
VERSION: Final = 1
HEADER: Final = struct.Struct("<4sBBBBIIQQ")
_PREFIX: Final = struct.Struct("<4sBBBBIIQ")
_PREFIX_BYTES: Final = _PREFIX.size
_CHECKSUM: Final = struct.Struct("<Q")
_HEADER_BYTES: Final = HEADER.size
# Looked up once: the names of methods and of a module's parts are a tenth of what a small value takes.
_prefix: Final = _PREFIX.pack
_unpacked: Final = HEADER.unpack
_packed: Final = _CHECKSUM.pack
_xxh3: Final = xxhash.xxh3_64_intdigest
_value: Final = tuple.__new__
"""Of a `Value`, without the function that a named tuple has for that."""


class Kind(IntEnum):
    """What the payload is; on disk, never reused."""

    RECORD = 1
    ROW = 2
    BLOB = 4
    SUMS = 5


class Coding(IntEnum):
    """How numbers in the payload are coded; on disk, never reused."""

    PLAIN = 0
    F16 = 1
    F32 = 3
    F64 = 4


class Value(NamedTuple):
    """An opened envelope whose checksum matched."""

    kind: int
    coding: int
    rows: int
    dim: int
    payload: memoryview
    checksum: int
    """xxh3_64 of the payload."""


def seal(
    key: bytes,
    payload: bytes | memoryview,
    kind: Kind,
    coding: int = Coding.PLAIN,
    rows: int = 0,
    dim: int = 0,
) -> bytes:
    """The stored bytes of ``payload`` under ``key``."""
    prefix = _prefix(MAGIC, VERSION, kind, coding, 0, rows, dim, len(payload))
    checksum = _xxh3(prefix + key + _packed(_xxh3(payload)))
    return b"".join((prefix, _packed(checksum), payload))


def seal_all(
    keys: Sequence[bytes],
    payloads: Sequence[bytes],
    kind: Kind,
    coding: int = Coding.PLAIN,
    rows: int = 0,
    dim: int = 0,
) -> dict[bytes, bytes]:
    """key -> `seal` of its payload, for payloads that are alike, in half of the time."""
    sealed: dict[bytes, bytes] = {}
    prefix, length = b"", -1
    for key, payload in zip(keys, payloads, strict=True):
        if len(payload) != length:
            length = len(payload)
            prefix = _prefix(MAGIC, VERSION, kind, coding, 0, rows, dim, length)
        checksum = _packed(_xxh3(prefix + key + _packed(_xxh3(payload))))
        sealed[key] = b"".join((prefix, checksum, payload))
    return sealed


def unseal(table: str, key: bytes, stored: bytes | memoryview, kind: Kind) -> Value:
    """Check and open what was stored under ``key``.

    Raises `DataLoss` with reason ``TRUNCATED``, ``BAD_ENVELOPE``, ``CHECKSUM`` or ``WRONG_KIND``,
    naming table and key.  The payload is a view of ``stored``: copy it before the transaction that
    lent it ends.
    """
    view = memoryview(stored)
    head = bytes(view[:_HEADER_BYTES])
    if len(head) == _HEADER_BYTES:
        # What is right is looked at once, and quickly: an opening comes here some thousand times.
        magic, version, found, coding, _, rows, dim, length, stated = _unpacked(head)
        payload = view[_HEADER_BYTES:]
        checksum = _xxh3(payload)
        if (
            _xxh3(head[:_PREFIX_BYTES] + key + _packed(checksum)) == stated
            and length == len(payload)
            and found == kind
            and magic == MAGIC
            and version == VERSION
        ):
            return _value(Value, (found, coding, rows, dim, payload, checksum))
    raise _what_is_wrong(table, key, view)


def _what_is_wrong(table: str, key: bytes, view: memoryview) -> DataLoss:
    """Of a value that is not what was stored under ``key``, the first that is seen."""
    if len(view) == 0:
        return _damage("value could not be decrypted", "CHECKSUM", table, key)
    if len(view) < HEADER.size:
        return _damage("value is shorter than its envelope", "TRUNCATED", table, key, len(view))
    magic, version, found, _, _, _, _, length, stated = HEADER.unpack_from(view)
    payload = view[HEADER.size :]
    if magic != MAGIC or version != VERSION:
        return _damage("not a value of this format", "BAD_ENVELOPE", table, key)
    if length != len(payload):
        return _damage(
            "value has another length than it states", "TRUNCATED", table, key, len(payload)
        )
    checksum = _xxh3(payload)
    if _checksum(view[:_PREFIX_BYTES].tobytes(), key, checksum) != stated:
        return _damage("value does not match its checksum", "CHECKSUM", table, key)
    return _damage("value is of another kind", "WRONG_KIND", table, key, found)


def _checksum(prefix: bytes, key: bytes, payload_checksum: int) -> int:
    return xxhash.xxh3_64_intdigest(prefix + key + _CHECKSUM.pack(payload_checksum))


def _damage(
    message: str, reason: str, table: str, key: bytes, value: int | None = None
) -> DataLoss:
    return DataLoss(message, reason=reason, field=f"{table}/{key.hex()}", value=value)
