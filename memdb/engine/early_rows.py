"""The rows of a user before its store was looked through: those of the checkpoint, and what came since by the log.

The store's own log says whether they are all: its record of the checkpoint's revision has to be the one that there
was when the checkpoint was written, those since may tell of nothing that changes an earlier row, and together the
rows have to be as many as the store has.  Whoever answers by them compares them with the store soon after
(`same_rows`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.engine.space_rows import SpaceRows
from memdb.engine.state import UserState
from memdb.index.checkpoint import KeptRows, KeptUser
from memdb.store import schema
from memdb.store.log_content import log_content_in
from memdb.store.records import LogRecord, unpack
from memdb.store.rows import HEAD, opened_rows
from memdb.store.schema import META_ERASURE, Table
from memdb.store.transaction import BLOCK_ENTRIES, Transaction
from memdb.types.arrays import Array
from memdb.types.space import Space

SINCE_MIN: Final = 4096
"""So many commits, and versions of clips, may have come since the checkpoint, or half as many as it has rows: of more
the store is looked through sooner."""

Block = tuple[Array, Array, Array, Array, Array]
"""Clip numbers, births, `HEAD`, contents and places in the checkpoint of some rows."""

_HARMLESS: Final = frozenset(
    (
        *("clip", "stream", "fact", "forget", "value", "remove-value", "snapshot", "release"),
        *("settings", "retention", "standing", "remove-standing", "sweep"),
    )
)
"""Kinds of log entries after which the rows of before are as they were."""


def early_rows(txn: Transaction, state: UserState, kept: KeptUser) -> dict[int, SpaceRows] | None:
    """The rows of each space that has some; None where the checkpoint and the log do not tell them.

    Raises `DataLoss` where what they tell is damaged.
    """
    if txn.holds(Table.META, META_ERASURE):
        return None
    if log_content_in(txn, kept.revision) != kept.log_content:
        return None
    most = max(SINCE_MIN, kept.rows // 2)
    since = _since(txn, kept.revision, state.revision, most)
    if since is None:
        return None
    if kept.rows + len(since) != txn.count(Table.VECTORS):
        return None
    found: dict[int, SpaceRows] = {}
    for space_no, space in state.spaces.items():
        rows = _rows_of(kept.spaces.get(space_no), _later(txn, space_no, space, since), space)
        if rows is None:
            return None
        if rows.rows:
            found[space_no] = rows
    if sum(rows.rows for rows in found.values()) != txn.count(Table.VECTORS):
        return None
    return found


def same_rows(found: SpaceRows, early: SpaceRows | None) -> bool:
    """Whether what the store has is what was told early; the content of a vector tells it from any other."""
    if early is None:
        return found.rows == 0
    return all(
        np.array_equal(getattr(found, name), getattr(early, name))
        for name in ("clip_no", "birth", "content", "places", "slots")
    ) and all(np.array_equal(found.fields[name], early.fields[name]) for name in HEAD.names or ())


def _since(txn: Transaction, first: int, last: int, most: int) -> list[tuple[int, int]] | None:
    """(clip number, birth) of the versions that came after revision ``first``, each once; None where there is more
    to it, or more than ``most``.
    """
    if last - first > most:
        return None
    found: dict[tuple[int, int], None] = {}
    revision = first
    for key, stored in txn.scan(Table.LOG, after=schema.revision_key(first)):
        revision += 1
        if key != schema.revision_key(revision):
            return None
        for entry in unpack(Table.LOG, key, stored, LogRecord).entries:
            if entry.kind not in _HARMLESS:
                return None
            if entry.kind == "clip":
                found[entry.no, revision] = None
    return sorted(found) if revision == last and len(found) <= most else None


@dataclass(frozen=True, slots=True, eq=False)
class _Later:
    """Versions that the checkpoint does not keep, in (clip number, birth) order."""

    blocks: list[Block]
    vectors: Array
    """(n, dim) float32, as stored."""


def _later(txn: Transaction, space_no: int, space: Space, since: list[tuple[int, int]]) -> _Later:
    """Those of some versions that are of a space, every checksum compared."""
    blocks: list[Block] = []
    vectors: list[Array] = []
    for begin in range(0, len(since), BLOCK_ENTRIES):
        keys: list[bytes] = []
        values: list[memoryview] = []
        for clip_no, birth in since[begin : begin + BLOCK_ENTRIES]:
            key = schema.vector_key(space_no, clip_no, birth)
            stored = txn.get(Table.VECTORS, key)
            if stored is not None:
                keys.append(key)
                values.append(stored)
        if keys:
            block = opened_rows(keys, values, space.dim)
            nowhere = np.full(len(keys), -1, np.int64)
            # Not the block: its values are views of the store, and a page for each.
            blocks.append((block.clip_no, block.birth, block.fields, block.content, nowhere))
            vectors.append(block.decoded(np.arange(len(keys)), space.dim))
    return _Later(blocks, np.concatenate([np.empty((0, space.dim), np.float32), *vectors]))


def _rows_of(kept: KeptRows | None, later: _Later, space: Space) -> SpaceRows | None:
    """Rows of one space in (clip number, birth) order; None where the checkpoint has no heads of them."""
    blocks = list(later.blocks)
    if kept is not None:
        if kept.heads is None:
            return None
        heads = np.zeros(len(kept.heads), HEAD)
        for name in HEAD.names or ():
            heads[name] = kept.heads[name]
        blocks.insert(0, (kept.clip_no, kept.birth, heads, kept.content, np.arange(len(heads))))
    if not blocks:
        return SpaceRows.none(space.dim)
    columns: list[Array] = list(blocks[0])
    if len(blocks) > 1:
        columns = [np.concatenate(column) for column in zip(*blocks, strict=True)]
    # As they are where nothing came since the checkpoint: to put 100,000 in order takes 6 ms, 10 cold.
    if not _are_in_order(columns[0], columns[1]):
        order = np.lexsort((columns[1], columns[0]))
        columns = [column[order] for column in columns]
    clip_no, birth, fields, content, places = columns
    return SpaceRows(
        clip_no.astype(np.uint64),
        birth.astype(np.uint64),
        fields,
        content.astype(np.uint64),
        places,
        # Those since are in the same order among themselves.
        np.cumsum(places < 0) - 1,
        later.vectors,
        len(places),
    )


def _are_in_order(clip_no: Array, birth: Array) -> bool:
    """Whether rows come by clip number, and by birth where that is the same."""
    same = clip_no[1:] == clip_no[:-1]
    return bool(((clip_no[1:] > clip_no[:-1]) | (same & (birth[1:] > birth[:-1]))).all())


Early = Mapping[int, SpaceRows]
"""By space number."""
