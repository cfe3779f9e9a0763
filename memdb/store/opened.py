"""Values of a table, many at a time: the checksum of each compared, as `memdb.store.envelope.unseal` does.

An opening looks at every version, record and number of a user.  What stands before a payload is the same
but for its length and checksum from one value to the next, so it is compared for a whole block at once; the
checksums are one by one, since each covers its value's key.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xxhash

from memdb.store.envelope import HEADER, MAGIC, VERSION, Kind, unseal
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.arrays import Array

_HEAD: Final = np.dtype(
    [
        ("magic", "V4"),
        ("version", "u1"),
        ("kind", "u1"),
        ("coding", "u1"),
        ("reserved", "u1"),
        ("rows", "<u4"),
        ("dim", "<u4"),
        ("length", "<u8"),
        ("checksum", "<u8"),
    ]
)
_BYTES: Final = HEADER.size
_COVERED: Final = _BYTES - 8
"""Bytes of a header that its checksum covers: all before it."""
_TOGETHER_MIN: Final = 16
"""Values for which it pays to compare their headers at once."""
_MAGIC: Final = np.void(MAGIC)
_packed: Final = struct.Struct("<Q").pack
_xxh3: Final = xxhash.xxh3_64_intdigest


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """Values whose checksums matched, valid until the transaction ends."""

    keys: list[bytes]
    heads: Array
    """(n,) with fields ``coding`` and ``dim``, as `memdb.store.envelope.Value` has them."""
    values: list[memoryview]
    """With their envelopes."""

    def payloads(self, begin: int = 0, end: int | None = None) -> Iterator[memoryview]:
        """Bytes [begin, end) of each payload."""
        # Made as they are asked for: of as many views at a time Python's collector would begin a round.
        part = slice(_BYTES + begin, None if end is None else _BYTES + end)
        return (value[part] for value in self.values)


def opened(txn: Transaction, table: Table, kind: Kind) -> Iterator[Opened]:
    """The values of a table, in the order of their keys, in blocks.

    Raises `DataLoss` as `unseal` and `Transaction.scan` do.
    """
    for keys, values in txn.blocks(table):
        yield opened_values(table, keys, values, kind)


def opened_values(table: Table, keys: list[bytes], values: list[memoryview], kind: Kind) -> Opened:
    """Some values, in their order; raises `DataLoss` as `unseal` does of the first that is damaged."""
    found: list[bytes] = []
    sums: list[int] = []
    if len(values) < _TOGETHER_MIN:
        for key, value in zip(keys, values, strict=True):
            unseal(table, key, value, kind)
            found.append(bytes(value[:_BYTES]))
        return Opened(keys, np.frombuffer(b"".join(found), _HEAD), values)
    for key, value in zip(keys, values, strict=True):
        head = bytes(value[:_BYTES])
        found.append(head)
        sums.append(_xxh3(head[:_COVERED] + key + _packed(_xxh3(value[_BYTES:]))))
    joined = b"".join(found)
    if len(joined) == _BYTES * len(values):
        heads = np.frombuffer(joined, _HEAD)
        if _are_right(heads, sums, values, kind):
            return Opened(keys, heads, values)
    for key, value in zip(keys, values, strict=True):
        unseal(table, key, value, kind)
    raise AssertionError("one of them is not what was stored")


def _are_right(heads: Any, sums: list[int], values: list[memoryview], kind: Kind) -> bool:
    lengths = np.array([len(value) for value in values], np.uint64) - np.uint64(_BYTES)
    return bool(
        (heads["checksum"] == np.array(sums, np.uint64)).all()
        and (heads["length"] == lengths).all()
        and (heads["kind"] == kind).all()
        and (heads["magic"] == _MAGIC).all()
        and (heads["version"] == VERSION).all()
    )
