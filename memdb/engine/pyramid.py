"""Hour and day sums of sealed clips' global memories, kept current by the commit that seals a clip.

A bucket holds the number of clips and the float64 sum of their global memories (of unit length in a
cosine space) whose start lies in the hour or day (UTC).  Its vector is the direction of the sum
(cosine) or the mean (dot): a mean over clips as in the global slot of IXC2.5-OmniLive's compressor
(arXiv 2412.09596, section 3.2), one level up.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.errors import DataLoss
from memdb.index.directions import prepared_rows
from memdb.store import schema
from memdb.store.envelope import Coding, Kind, seal, unseal
from memdb.store.rows import unpack_row
from memdb.store.schema import DAY, HOUR, Table
from memdb.store.transaction import Transaction
from memdb.types.arrays import Array
from memdb.types.space import Space

HOUR_NS: Final = 3600 * 10**9
DAY_NS: Final = 24 * HOUR_NS
LENGTHS_NS: Final = {HOUR: HOUR_NS, DAY: DAY_NS}
LEVEL_NAMES: Final = {HOUR: "hour", DAY: "day"}

_CLIPS: Final = struct.Struct("<Q")


@dataclass(slots=True, eq=False)
class Bucket:
    """One hour or day of one stream."""

    clips: int
    total: Array
    """(dim,) float64."""

    def token(self, *, cosine: bool) -> Array:
        """(dim,) float32: the direction of the sum, or the mean."""
        length = float(np.linalg.norm(self.total)) if cosine else float(self.clips)
        return (self.total / (length or 1.0)).astype(np.float32)


def bucket_start(start_ns: int, level: int) -> int:
    """Start of the hour or day that holds ``start_ns``."""
    return start_ns - start_ns % LENGTHS_NS[level]


def read_bucket(key: bytes, stored: bytes | memoryview) -> Bucket:
    """The bucket stored under ``key``; raises `DataLoss`."""
    value = unseal(Table.PYRAMID, key, stored, Kind.SUMS)
    if len(value.payload) != _CLIPS.size + 8 * value.dim:
        raise DataLoss(
            "sums have another size than they state",
            reason="BAD_RECORD",
            field=f"pyramid/{key.hex()}",
        )
    return Bucket(
        _CLIPS.unpack_from(value.payload)[0],
        np.frombuffer(value.payload, "<f8", offset=_CLIPS.size).copy(),
    )


def write_sums(txn: Transaction, sums: Mapping[tuple[int, int, int], Bucket]) -> None:
    """Replace every bucket, by (stream number, level, start)."""
    for key in [key for key, _ in txn.scan(Table.PYRAMID)]:
        txn.delete(Table.PYRAMID, key)
    for (stream_no, level, start_ns), bucket in sums.items():
        key = schema.pyramid_key(stream_no, level, start_ns)
        txn.put(Table.PYRAMID, key, _sealed(key, bucket))


def _sealed(key: bytes, bucket: Bucket) -> bytes:
    payload = _CLIPS.pack(bucket.clips) + bucket.total.tobytes()
    return seal(key, payload, Kind.SUMS, Coding.F64, 1, len(bucket.total))


class PyramidDraft:
    """The buckets that a commit changes."""

    def __init__(self) -> None:
        self._buckets: dict[bytes, Bucket] = {}

    def load(
        self, txn: Transaction, stream_no: int, start_ns: int, dim: int
    ) -> tuple[Bucket, Bucket]:
        """The hour and the day of a clip; raises `DataLoss`."""
        return self._load(txn, stream_no, HOUR, start_ns, dim), self._load(
            txn, stream_no, DAY, start_ns, dim
        )

    def add(self, buckets: Sequence[Bucket], vector: Array) -> None:
        """Add a sealed clip to its loaded buckets; ``vector`` as the partition holds it."""
        for bucket in buckets:
            bucket.clips += 1
            bucket.total += vector

    def subtract(self, buckets: Sequence[Bucket], vector: Array) -> None:
        """Take a sealed clip out of its loaded buckets."""
        for bucket in buckets:
            bucket.clips -= 1
            bucket.total -= vector

    def sum_anew(
        self,
        txn: Transaction,
        space_no: int,
        space: Space,
        stream_nos: Collection[int],
        without: Collection[int],
    ) -> None:
        """Make the buckets of streams of a space anew from the rows that can be read: for when what a
        clip once added, or the bucket, cannot be.

        without: clip numbers that do not count.
        """
        prefixes = tuple(schema.number_key(no) for no in stream_nos)
        sums = {
            key: Bucket(0, np.zeros(space.dim)) for key in self._buckets if key.startswith(prefixes)
        }
        for prefix in prefixes:
            for key in txn.keys(Table.PYRAMID, prefix):
                sums[key] = Bucket(0, np.zeros(space.dim))
        for key, stored in txn.scan(Table.VECTORS, schema.number_key(space_no)):
            try:
                clip_no = schema.split_vector_key(key)[1]
                row, vector = unpack_row(Table.VECTORS, key, stored)
            except DataLoss:
                continue
            if not row.sealed or row.stream_no not in stream_nos or clip_no in without:
                continue
            (prepared,) = prepared_rows(vector[None], cosine=space.metric == "cosine")
            for level in (HOUR, DAY):
                start_ns = bucket_start(row.start_ns, level)
                key = schema.pyramid_key(row.stream_no, level, start_ns)
                self.add((sums.setdefault(key, Bucket(0, np.zeros(space.dim))),), prepared)
        self._buckets.update(sums)

    def _load(
        self, txn: Transaction, stream_no: int, level: int, start_ns: int, dim: int
    ) -> Bucket:
        key = schema.pyramid_key(stream_no, level, bucket_start(start_ns, level))
        bucket = self._buckets.get(key)
        if bucket is None:
            stored = txn.get(Table.PYRAMID, key)
            bucket = Bucket(0, np.zeros(dim)) if stored is None else read_bucket(key, stored)
            self._buckets[key] = bucket
        return bucket

    def store(self, txn: Transaction) -> None:
        """Write what changed."""
        for key, bucket in self._buckets.items():
            if bucket.clips <= 0:
                txn.delete(Table.PYRAMID, key)
            else:
                txn.put(Table.PYRAMID, key, _sealed(key, bucket))
