"""The rows of one space as the store has them, every checksum verified, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from memdb.engine.arrivals import Arrivals
from memdb.engine.quarantine import Quarantine
from memdb.errors import DataLoss
from memdb.index.checkpoint import KeptRows
from memdb.index.columns import ALIVE
from memdb.index.directions import prepared_rows
from memdb.index.learned import KeptLearned
from memdb.index.partition import ClipRows, Partition
from memdb.index.planes import Planes
from memdb.store import schema
from memdb.store.rows import HEAD, RowBlock, opened_rows, unpack_row
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

    @classmethod
    def none(cls, dim: int) -> Self:
        """Of a space without any."""
        return cls(*_NO_ROWS, np.empty(0, np.int64), np.empty((0, dim), np.float32), 0)

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.clip_no)

    def without_vectors(self) -> Self:
        """The same, for who makes no rows of them."""
        return replace(self, vectors=self.vectors[:0].copy())

    def partition(self, space: Space, kept: KeptRows | None, quarantine: Quarantine) -> Partition:
        """A partition of them, in (birth, clip number) order."""
        partition = Partition(space.dim, space.metric)
        partition.reserve(self.rows)
        columns = self._columns(quarantine.versions)
        order = np.lexsort((self.clip_no, self.birth))
        begin = 0
        learned: KeptLearned | None = None
        if kept is not None and self._are_first(order, len(kept.clip_no)):
            learned = kept.learned
            for planes in kept.planes:
                chosen = order[begin : begin + len(planes.head)]
                partition.extend(_clip_rows(columns, chosen, planes))
                begin += len(planes.head)
        # So many at a time: a copy of all of them, and there would be four, may be what memory lacks.
        for first in range(begin, self.rows, _BLOCK_ROWS):
            chosen = order[first : first + _BLOCK_ROWS]
            partition.extend(_clip_rows(columns, chosen, self._prepared(chosen, space, kept)))
        if learned is not None:
            partition.learn(learned)
        return partition

    def arrivals(self) -> Arrivals:
        """What came with them."""
        first = np.ones(self.rows, bool)
        first[1:] = self.clip_no[1:] != self.clip_no[:-1]
        return Arrivals(
            self.birth, self.clip_no, first, {name: self.fields[name] for name in Arrivals.FIELDS}
        )

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
    *,
    vectors_too: bool = True,
) -> SpaceRows:
    """The rows of a space but for what is damaged.

    kept: of a checkpoint; a row is taken from it where the content of the store's vector is that from
    which it was made.  vectors_too: False for who wants no rows of them.

    Raises `DataLoss` for damage that ``quarantine`` does not name.
    """
    known = None if kept is None else _Known(kept)
    blocks: list[tuple[Array, Array, Array, Array, Array]] = []
    vectors: Array = np.empty((max(1024, txn.count(Table.VECTORS)), space.dim), np.float32)
    found = decoded = 0
    for keys, values in txn.blocks(Table.VECTORS, schema.number_key(space_no)):
        found += len(keys)
        if not quarantine.is_empty:
            whole = [
                entry for entry in zip(keys, values, strict=True) if _readable(*entry, quarantine)
            ]
            keys, values = [key for key, _ in whole], [value for _, value in whole]
            if not keys:
                continue
        block = opened_rows(keys, values, space.dim)
        places = np.full(len(keys), -1, np.int64) if known is None else known.places(block)
        lacking = np.flatnonzero(places < 0)
        if len(lacking) and vectors_too:
            vectors[decoded : decoded + len(lacking)] = block.decoded(lacking, space.dim)
            decoded += len(lacking)
        # Not the vectors: they are views of the store, and a page for each.
        blocks.append((block.clip_no, block.birth, block.fields, block.content, places))
    if not blocks:
        blocks.append(_NO_ROWS)
    clip_no, birth, fields, content, place = map(_joined, zip(*blocks, strict=True))
    lacks = np.cumsum(place < 0) - 1
    return SpaceRows(clip_no, birth, fields, content, place, lacks, vectors[:decoded], found)


_NO_ROWS: Final = (
    np.empty(0, np.uint64),
    np.empty(0, np.uint64),
    np.empty(0, HEAD),
    np.empty(0, np.uint64),
    np.empty(0, np.int64),
)


def _joined(parts: tuple[Array, ...]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


class _Known:
    """Where in a checkpoint the row of a version is, and of what it was made."""

    def __init__(self, kept: KeptRows) -> None:
        self._order = np.lexsort((kept.birth, kept.clip_no))
        self._clip_no = kept.clip_no[self._order]
        self._birth = kept.birth[self._order]
        self._content = kept.content[self._order]

    def places(self, block: RowBlock) -> Array:
        """(n,) int64: of a row that is kept, made of the vector that the store has, its place; of others -1."""
        places = np.full(len(block.clip_no), -1, np.int64)
        if not len(places):
            return places
        # A block is in the order of its keys, as these are.
        first = int(np.searchsorted(self._clip_no, block.clip_no[0]))
        end = int(np.searchsorted(self._clip_no, block.clip_no[-1], side="right"))
        clip_no, birth = self._clip_no[first:end], self._birth[first:end]
        if np.array_equal(clip_no, block.clip_no) and np.array_equal(birth, block.birth):
            mine, theirs = np.arange(len(places)), np.arange(first, end)
        else:
            both_no = np.concatenate([block.clip_no, clip_no])
            both_birth = np.concatenate([block.birth, birth])
            order = np.lexsort((both_birth, both_no))
            # Of two that are equal the block's own comes first, for the order is stable.
            pairs = np.flatnonzero(
                (both_no[order[1:]] == both_no[order[:-1]])
                & (both_birth[order[1:]] == both_birth[order[:-1]])
                & (order[:-1] < len(places))
                & (order[1:] >= len(places))
            )
            mine, theirs = order[pairs], order[pairs + 1] - len(places) + first
        same = self._content[theirs] == block.content[mine]
        places[mine[same]] = self._order[theirs[same]]
        return places


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
