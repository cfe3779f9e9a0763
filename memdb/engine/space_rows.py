"""The rows of one space as the store has them, every checksum verified, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.engine.quarantine import Quarantine
from memdb.errors import DataLoss
from memdb.index.checkpoint import KeptRows
from memdb.index.columns import ALIVE
from memdb.index.directions import prepared_rows
from memdb.index.partition import ClipRows, Partition
from memdb.index.planes import Planes
from memdb.store import schema
from memdb.store.rows import HEAD, opened_row, unpack_row
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.arrays import Array
from memdb.types.space import Space

_BLOCK_ROWS: Final = 4096


@dataclass(frozen=True, slots=True, eq=False)
class SpaceRows:
    """Versions in (clip number, birth) order."""

    clip_no: Array
    birth: Array
    fields: Array
    """(n,) `memdb.store.rows.HEAD`."""
    content: Array
    """(n,) u64, see `memdb.store.rows.vector_content`."""
    places: Array
    """(n,) int64: of those that a checkpoint keeps their place in it, of others -1."""
    slots: Array
    """(n,) int64: of those that it does not keep their place in ``vectors``."""
    vectors: Array
    """(m, dim) float32, as stored."""
    found: int
    """Entries of the space, those that are damaged included."""

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.clip_no)

    def partition(self, space: Space, kept: KeptRows | None, quarantine: Quarantine) -> Partition:
        """A partition of them, in (birth, clip number) order."""
        partition = Partition(space.dim, space.metric)
        columns = self._columns(quarantine.versions)
        order = np.lexsort((self.clip_no, self.birth))
        begin = 0
        if kept is not None and self._are_first(order, len(kept.clip_no)):
            for planes in kept.planes:
                chosen = order[begin : begin + len(planes.head)]
                partition.extend(_clip_rows(columns, chosen, planes))
                begin += len(planes.head)
        # So many at a time: a copy of all of them, and there would be four, may be what memory lacks.
        for first in range(begin, self.rows, _BLOCK_ROWS):
            chosen = order[first : first + _BLOCK_ROWS]
            partition.extend(_clip_rows(columns, chosen, self._prepared(chosen, space, kept)))
        return partition

    def _are_first(self, order: Array, count: int) -> bool:
        """Whether the rows begin with all that are kept, in the same order: then nothing is copied."""
        first = self.places[order[:count]]
        return np.array_equal(first, np.arange(count))

    def _prepared(self, chosen: Array, space: Space, kept: KeptRows | None) -> Array:
        """(n, dim) float32 rows as a partition holds them."""
        cosine = space.metric == "cosine"
        places = self.places[chosen]
        is_kept = places >= 0
        if kept is None or not is_kept.any():
            return prepared_rows(self.vectors[self.slots[chosen]], cosine=cosine)
        out = np.empty((len(chosen), space.dim), np.float32)
        out[is_kept] = kept.taken(places[is_kept])
        out[~is_kept] = prepared_rows(self.vectors[self.slots[chosen[~is_kept]]], cosine=cosine)
        return out

    def _columns(self, damaged: frozenset[tuple[int, int]]) -> dict[str, Array]:
        """Columns of a partition; damaged: versions that have no row, and end the version before them
        all the same.
        """
        clip_no, birth = self.clip_no, self.birth
        death = np.full(self.rows, ALIVE, np.uint64)
        superseded = np.flatnonzero(clip_no[1:] == clip_no[:-1])
        death[superseded] = birth[superseded + 1]
        for damaged_no, damaged_birth in damaged:
            before = (clip_no == np.uint64(damaged_no)) & (birth < np.uint64(damaged_birth))
            death[before] = np.minimum(death[before], np.uint64(damaged_birth))
        columns = {"clip_no": clip_no, "birth": birth, "death": death, "content": self.content}
        return columns | {name: self.fields[name] for name in self.fields.dtype.names or ()}


def read_rows(
    txn: Transaction,
    space_no: int,
    space: Space,
    kept: KeptRows | None,
    quarantine: Quarantine,
) -> SpaceRows:
    """The rows of a space but for what is damaged.

    kept: of a checkpoint; a row is taken from it where the content of the store's vector is that from
    which it was made.

    Raises `DataLoss` for damage that ``quarantine`` does not name.
    """
    known, dim = _known(kept), space.dim
    versions: list[tuple[int, int]] = []
    heads = bytearray()
    contents: list[int] = []
    places: list[int] = []
    vectors: Array = np.empty((max(1024, txn.count(Table.VECTORS)), dim), np.float32)
    found = decoded = 0
    for key, stored in txn.scan(Table.VECTORS, schema.number_key(space_no)):
        found += 1
        if not quarantine.is_empty and not _readable(key, stored, quarantine):
            continue
        _, clip_no, birth = schema.split_vector_key(key)
        head, vector, dtype, content = opened_row(Table.VECTORS, key, stored)
        if len(vector) != dim * dtype.itemsize:
            raise DataLoss(
                f"vector is not of dim {dim}",
                reason="BAD_RECORD",
                field=f"vectors/{key.hex()}",
            )
        place, made_of = known.get((clip_no, birth), (-1, 0))
        if place < 0 or made_of != content:
            place = -1
            vectors[decoded] = np.frombuffer(vector, dtype)
            decoded += 1
        versions.append((clip_no, birth))
        heads += head
        contents.append(content)
        places.append(place)
    numbers = np.array(versions, np.uint64).reshape(-1, 2)
    placed = np.array(places, np.int64)
    return SpaceRows(
        np.ascontiguousarray(numbers[:, 0]),
        np.ascontiguousarray(numbers[:, 1]),
        np.frombuffer(bytes(heads), HEAD),
        np.array(contents, np.uint64),
        placed,
        np.cumsum(placed < 0) - 1,
        vectors[:decoded],
        found,
    )


def _known(kept: KeptRows | None) -> dict[tuple[int, int], tuple[int, int]]:
    """(clip number, birth) -> (place in the checkpoint, content)."""
    if kept is None:
        return {}
    versions = zip(kept.clip_no.tolist(), kept.birth.tolist(), strict=True)
    return dict(zip(versions, enumerate(kept.content.tolist()), strict=True))


def _readable(key: bytes, stored: memoryview, quarantine: Quarantine) -> bool:
    try:
        unpack_row(Table.VECTORS, key, stored)
        return schema.split_vector_key(key)[1:] not in quarantine.versions
    except DataLoss:
        return False


def _clip_rows(columns: dict[str, Array], chosen: Array, vectors: Array | Planes) -> ClipRows:
    return ClipRows(
        **{name: column[chosen] for name, column in columns.items()},
        vectors=vectors,
    )


def arrived(
    rows: SpaceRows,
) -> Iterator[tuple[int, int, bool, tuple[int, int, int, int, int, bool]]]:
    """(birth, clip number, whether it is the first version, (stream number, epoch, seq, start and end in
    ns, sealed)) of each."""
    first = np.ones(rows.rows, bool)
    first[1:] = rows.clip_no[1:] != rows.clip_no[:-1]
    names = ("stream_no", "epoch", "seq", "start_ns", "end_ns", "sealed")
    fields = zip(*(rows.fields[name].tolist() for name in names), strict=True)
    return zip(rows.birth.tolist(), rows.clip_no.tolist(), first.tolist(), fields, strict=True)
