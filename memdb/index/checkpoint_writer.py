"""Writing a checkpoint of an index (`memdb.index.checkpoint`), block by block."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from typing import BinaryIO, Final

import numpy as np
import xxhash

from memdb.index.checkpoint import (
    HEAD,
    HEADER,
    HEADS,
    MOMENT,
    PART,
    PLANES,
    VERSIONS,
    Part,
    packed_head,
)
from memdb.index.columns import ALIVE
from memdb.index.kept_learned import Block, blocks_of, learned_bytes
from memdb.index.matrix import CHUNK_ROWS_MAX
from memdb.index.partition import PartitionView
from memdb.index.planes import padded
from memdb.types.arrays import Array

_COPIED_ROWS: Final = 1024
"""Rows that are gathered at once to be written."""


def kept_places(partition: PartitionView) -> Array:
    """The rows of a partition that can be kept: those that are there at some revision, and of which
    it is known what the store has."""
    there = partition.columns["birth"] != ALIVE
    return np.flatnonzero(there & (partition.columns["content"] != 0))


def file_bytes(partitions: Mapping[int, PartitionView]) -> int:
    """Bytes of a file that keeps these, at most and but for its header."""
    return sum(
        view.rows * (4 * padded(view.dim) + 24 + HEAD.itemsize)
        + learned_bytes(view.tiers.learned, view.rows)
        for view in partitions.values()
    )


class CheckpointWriter:
    """Writes partitions into an open, empty file, block by block."""

    def __init__(
        self, file: BinaryIO, owner: bytes, revision: int, log_content: int | None = None
    ) -> None:
        """log_content: `KeptUser.log_content`, None where that is not known."""
        self._file = file
        self._owner = owner
        self._revision = revision
        self._log_content = log_content
        self._parts: list[Part] = []

    def write(self, partitions: Mapping[int, PartitionView]) -> Iterator[int]:
        """Write it all; yields after every piece how many bytes there are, so that the caller may leave
        off, and is done when it ends.
        """
        planned = [
            (space_no, view, block)
            for space_no, view in sorted(partitions.items())
            for block in _blocks(view)
        ]
        planned += self._moment(partitions)
        # The table is known last; its place is kept by zeros, which no reader takes for one.
        self._file.write(bytes(HEADER.size + len(planned) * PART.size))
        for space_no, view, block in planned:
            yield from self._block(space_no, view, block)
        self._file.seek(0)
        self._file.write(packed_head(self._owner, self._revision, self._parts))
        self._file.seek(0, os.SEEK_END)

    def _moment(
        self, partitions: Mapping[int, PartitionView]
    ) -> list[tuple[int, PartitionView, Block]]:
        """One block where every row of the user is kept, else none."""
        kept = there = 0
        for view in partitions.values():
            kept += len(kept_places(view))
            there += int(np.count_nonzero(view.columns["birth"] != ALIVE))
        if self._log_content is None or not kept or kept != there:
            return []
        space_no, view = max(partitions.items())
        content = iter((struct.pack("<Q", self._log_content),))
        return [(space_no, view, Block(MOMENT, kept, (0.0, 0.0), content))]

    def _block(self, space_no: int, view: PartitionView, block: Block) -> Iterator[int]:
        offset, checksum = self._file.tell(), xxhash.xxh3_64()
        for piece in block.pieces:
            checksum.update(piece)
            self._file.write(piece)
            yield self._file.tell()
        self._parts.append(
            Part(
                block.kind,
                space_no,
                view.dim,
                int(view.cosine),
                block.rows,
                offset,
                self._file.tell() - offset,
                checksum.intdigest(),
                *block.numbers,
            )
        )


def _blocks(view: PartitionView) -> list[Block]:
    """Of one space, in their order."""
    places = kept_places(view)
    longest = view.matrix.norm_max, view.matrix.residual_max
    blocks = [Block(VERSIONS, len(places), longest, _versions(view, places))]
    for begin in range(0, len(places), CHUNK_ROWS_MAX):
        rows = places[begin : begin + CHUNK_ROWS_MAX]
        blocks.append(Block(PLANES, len(rows), longest, _planes(view, rows)))
    blocks += blocks_of(view.tiers.learned, view.matrix, places)
    return [*blocks, Block(HEADS, len(places), (0.0, 0.0), iter((_heads(view, places),)))]


def _heads(view: PartitionView, places: Array) -> bytes:
    heads = np.zeros(len(places), HEAD)  # or what was in memory would be written between them
    for name in HEAD.names or ():
        heads[name] = view.columns[name][places]
    return heads.tobytes()


def _versions(view: PartitionView, places: Array) -> Iterator[bytes]:
    for name in ("clip_no", "birth", "content"):
        yield view.columns[name][places].astype("<u8").tobytes()


def _planes(view: PartitionView, rows: Array) -> Iterator[bytes]:
    for tails in (False, True):
        for begin in range(0, len(rows), _COPIED_ROWS):
            planes = view.matrix.take_planes(rows[begin : begin + _COPIED_ROWS])
            yield (planes.tail.astype("<i2") if tails else planes.head.astype("<u2")).tobytes()
