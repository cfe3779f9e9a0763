"""Vectors with the facts that filters need, so that an index is rebuilt by one scan of one table.

Payload of tables ``vectors`` and ``texts`` (little-endian)::

    offset  size  field
         0     4  stream_no  u32; of a fact 0xFFFFFFFF
         4     4  epoch      u32
         8     8  seq        u64
        16     8  start_ns   i64
        24     8  end_ns     i64
        32     1  sealed     u8
        33     3  reserved   0
        36     4  short_memory_bytes  u32, stored beside it
        40     4  keyframe_bytes      u32, stored beside it
        44     4  reserved   0
        48     -  dim elements, float16 or float32 as the envelope's codec says
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import xxhash

from memdb.errors import DataLoss
from memdb.store.envelope import Coding, Kind, seal, unseal
from memdb.store.key_arrays import split_vector_keys
from memdb.store.opened import Opened, opened_values
from memdb.store.schema import Table
from memdb.types.arrays import Array

_ROW: Final = struct.Struct("<IIQqqB3xII4x")
_packed: Final = _ROW.pack
_HEAD_BYTES: Final = _ROW.size
_xxh3: Final = xxhash.xxh3_64_intdigest
_DTYPES: Final[dict[int, np.dtype[Any]]] = {
    Coding.F16: np.dtype("<f2"),
    Coding.F32: np.dtype("<f4"),
}
CODINGS: Final = {dtype: coding for coding, dtype in _DTYPES.items()}
"""Of each dtype that a vector may have."""
_ITEM_BYTES: Final = np.zeros(256, np.uint64)
"""Of an element, by its coding; 0 of what no vector is coded as."""
for _coding, _dtype in _DTYPES.items():
    _ITEM_BYTES[_coding] = _dtype.itemsize

HEAD: Final = np.dtype(
    {
        "names": [
            "stream_no",
            "epoch",
            "seq",
            "start_ns",
            "end_ns",
            "sealed",
            "short_memory_bytes",
            "keyframe_bytes",
        ],
        "formats": ["<u4", "<u4", "<u8", "<i8", "<i8", "?", "<u4", "<u4"],
        "offsets": [0, 4, 8, 16, 24, 32, 36, 40],
        "itemsize": _ROW.size,
    }
)
"""What stands before the vector: a `Row`, field by field."""

NO_STREAM: Final = 0xFFFFFFFF


class Row(NamedTuple):
    """What a filter may ask of a vector; its parts are those of `HEAD`, in their order."""

    stream_no: int
    epoch: int
    seq: int
    start_ns: int
    end_ns: int
    sealed: bool
    short_memory_bytes: int = 0
    keyframe_bytes: int = 0


def packed_row(row: Row) -> bytes:
    """One entry of dtype `HEAD`."""
    return _packed(*row)


def row_fields(packed: bytes) -> Iterator[tuple[int, int, int, int, int, int, int, int]]:
    """The fields of a `Row` of each entry of dtype `HEAD`, which lie one behind the other."""
    return _ROW.iter_unpack(packed)


Stretch = tuple[int, int, int, int, int, int]
"""Rows of an epoch of a stream whose numbers follow each other: stream_no, epoch, the first seq, how many; where the
earliest of them begins and where the last one ends, in ns."""
_stretched_by: Callable[[bytes], list[Stretch]] | None = None


def stretches_by(find: Callable[[bytes], list[Stretch]] | None) -> None:
    """Have it find `stretches` from now on; None for nobody."""
    global _stretched_by  # noqa: PLW0603 - one for the process
    _stretched_by = find


def stretches(packed: bytes) -> list[Stretch]:
    """Entries of dtype `HEAD`, each as many as follow each other."""
    if _stretched_by is not None:
        return _stretched_by(packed)
    found: list[Stretch] = []
    place: tuple[int, int] | None = None
    first = count = earliest_ns = last_ns = 0
    for stream_no, epoch, seq, start_ns, end_ns, _, _, _ in row_fields(packed):
        if place == (stream_no, epoch) and seq == first + count:
            count += 1
            earliest_ns, last_ns = min(earliest_ns, start_ns), end_ns
            continue
        if place is not None:
            found.append((*place, first, count, earliest_ns, last_ns))
        place = stream_no, epoch
        first, count, earliest_ns, last_ns = seq, 1, start_ns, end_ns
    if place is not None:
        found.append((*place, first, count, earliest_ns, last_ns))
    return found


def pack_row(key: bytes, row: Row, vector: Array) -> bytes:
    """The stored bytes of a (dim,) float16 or float32 vector and its row."""
    payload = packed_row(row) + vector.tobytes()
    return seal(key, payload, Kind.ROW, CODINGS[vector.dtype], 1, len(vector))


def unpack_row(table: Table, key: bytes, stored: bytes | memoryview) -> tuple[Row, Array]:
    """The row and its (dim,) vector, a view of ``stored``; raises `DataLoss`."""
    payload, dtype = _opened(table, key, stored)
    stream_no, epoch, seq, start_ns, end_ns, sealed, *sizes = _ROW.unpack_from(payload)
    vector = np.frombuffer(payload, dtype=dtype, offset=_ROW.size)
    return Row(stream_no, epoch, seq, start_ns, end_ns, bool(sealed), *sizes), vector


@dataclass(frozen=True, slots=True, eq=False)
class RowBlock:
    """Some values of table ``vectors`` whose checksums matched; its values are valid until the transaction ends."""

    clip_no: Array
    birth: Array
    fields: Array
    """(n,) `HEAD`."""
    content: Array
    """(n,) u64, `vector_content` of each."""
    values: Opened
    """What it was made of."""

    def decoded(self, places: Array, dim: int) -> Array:
        """(m, dim) float32 of the vectors at some places."""
        vectors = list(self.values.payloads(_HEAD_BYTES))
        codings = self.values.heads["coding"]
        out = np.empty((len(places), dim), np.float32)
        for coding, dtype in _DTYPES.items():
            rows = np.flatnonzero(codings[places] == coding)
            if len(rows):
                joined = b"".join([vectors[place] for place in places[rows].tolist()])
                out[rows] = np.frombuffer(joined, dtype).reshape(-1, dim)
        return out


def opened_rows(keys: list[bytes], values: list[memoryview], dim: int) -> RowBlock:
    """Values of table ``vectors`` and their keys; raises `DataLoss`, also for a vector that is not of ``dim``."""
    block = opened_values(Table.VECTORS, keys, values, Kind.ROW)
    heads = block.heads
    bytes_each = _ITEM_BYTES[heads["coding"]]
    expected = _HEAD_BYTES + heads["dim"].astype(np.uint64) * bytes_each
    if not (bytes_each.all() and (heads["length"] == expected).all()):
        for key, value in zip(keys, values, strict=True):
            _opened(Table.VECTORS, key, value)
    other = np.flatnonzero(heads["dim"] != dim)
    if len(other):
        raise DataLoss(
            f"vector is not of dim {dim}",
            reason="BAD_RECORD",
            field=f"vectors/{keys[other[0]].hex()}",
        )
    numbers = split_vector_keys(keys)
    return RowBlock(
        numbers["clip_no"].astype(np.uint64),
        numbers["birth"].astype(np.uint64),
        np.frombuffer(b"".join(block.payloads(0, _HEAD_BYTES)), HEAD),
        np.array([_xxh3(vector) for vector in block.payloads(_HEAD_BYTES)], np.uint64),
        block,
    )


def vector_content(vector: Array) -> int:
    """What tells a (dim,) float16 or float32 vector of one space from any other: xxh3_64 of its bytes
    as they are stored.
    """
    return _xxh3(vector.tobytes())


def unpack_vector(table: Table, key: bytes, stored: bytes | memoryview) -> Array:
    """The (dim,) vector alone, a read-only copy; raises `DataLoss`."""
    payload, dtype = _opened(table, key, stored)
    return np.frombuffer(bytes(payload[_ROW.size :]), dtype=dtype)


def _opened(
    table: Table, key: bytes, stored: bytes | memoryview
) -> tuple[memoryview, np.dtype[Any]]:
    """The payload, of the size it states, and the dtype of its elements."""
    _, coding, _, dim, payload, _ = unseal(table, key, stored, Kind.ROW)
    dtype = _DTYPES.get(coding)
    if dtype is None or len(payload) != _HEAD_BYTES + dim * dtype.itemsize:
        raise DataLoss(
            "row has another size than it states",
            reason="BAD_RECORD",
            field=f"{table.value}/{key.hex()}",
        )
    return payload, dtype
