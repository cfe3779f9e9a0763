"""An append-only float32 matrix that readers may search while it grows.

Rows live in chunks that are never moved: a reader that was told `n` rows may read rows [0, n) for
ever, without a lock, while the writer fills rows from n on.  The first chunk is small, each next
one doubles up to `CHUNK_ROWS_MAX`, and rows that come together share a chunk.  Memory of a chunk
that is not filled yet is reserved but not resident: it is mapped for the chunk alone, since what an allocator
gives again was touched by somebody before (1.5 MB for each of thousands of users with a clip or two).

A chunk keeps its rows as two planes (`memdb.index.planes`), padded to `width` elements.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.index.planes import Planes, join, padded, split
from memdb.types.arrays import Array

CHUNK_ROWS_MIN: Final = 256
CHUNK_ROWS_MAX: Final = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Rows that lie together, those that are not filled yet included."""

    head: Array
    """(rows, width) u16."""
    tail: Array
    """(rows, width) i16."""
    numbers: Array
    """(rows,) int64, the number of each row in the matrix."""

    def part(self, begin: int, end: int) -> Chunk:
        """Some rows of the chunk, as views."""
        return Chunk(self.head[begin:end], self.tail[begin:end], self.numbers[begin:end])

    def taken(self, places: Array) -> Array:
        """Copies of the rows at some places of the chunk: (n, width) float32."""
        out = np.empty((len(places), self.head.shape[1]), np.float32)
        return join(self.head[places], self.tail[places], out)


class Matrix:
    """(rows, dim) float32; one writer, any readers."""

    __slots__ = ("_chunks", "dim", "norm_max", "residual_max", "rows", "width")

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.width = padded(dim)
        self.rows = 0
        self.norm_max = 0.0
        """No row is longer."""
        self.residual_max = 0.0
        """No row is farther from its head."""
        self._chunks: list[Chunk] = []

    def append(self, vectors: Array) -> None:
        """Add (m, dim) rows at the end."""
        vectors = np.ascontiguousarray(vectors, np.float32)
        done = 0
        while done < len(vectors):
            free = self._capacity() - self.rows
            if free == 0:
                planned = max(CHUNK_ROWS_MIN << len(self._chunks), len(vectors) - done)
                free = min(planned, CHUNK_ROWS_MAX)
                self._chunks.append(self._chunk(free))
            last = self._chunks[-1]
            take = min(free, len(vectors) - done)
            begin = len(last.numbers) - free
            residual, norm = split(
                vectors[done : done + take],
                last.head[begin : begin + take],
                last.tail[begin : begin + take],
            )
            # Before the rows can be seen.
            self.residual_max = max(self.residual_max, residual)
            self.norm_max = max(self.norm_max, norm)
            done += take
            self.rows += take

    def adopt(self, planes: Planes) -> None:
        """Add rows that were split already, without a copy, as a chunk of their own; the matrix keeps
        the arrays, and nobody may change them.
        """
        assert self.rows == self._capacity(), "no row is left free in the middle"
        count = len(planes.head)
        if count:
            numbers = np.arange(self.rows, self.rows + count, dtype=np.int64)
            self._chunks.append(Chunk(planes.head, planes.tail, numbers))
            self.residual_max = max(self.residual_max, planes.residual_max)
            self.norm_max = max(self.norm_max, planes.norm_max)
            self.rows += count

    def wipe(self, rows: Array) -> None:
        """Make zeros of some rows, ascending, that were not adopted; who searches meanwhile may find them half gone."""
        for chunk, places, _ in self._found(rows):
            # What is left of a row in between is a number.
            chunk.tail[places] = 0
            chunk.head[places] = 0

    def chunks(self, rows: int, first: int = 0) -> Iterator[Chunk]:
        """The chunks of rows [first, rows)."""
        begin = 0
        for chunk in self._chunks:
            length = len(chunk.numbers)
            here, end = max(first - begin, 0), min(rows - begin, length)
            if end <= 0:
                return
            if here < end:
                yield chunk if (here, end) == (0, length) else chunk.part(here, end)
            begin += length

    def chunk_lengths(self) -> list[int]:
        """Rows of each chunk, those that are not filled yet included."""
        return [len(chunk.numbers) for chunk in self._chunks]

    def take(self, rows: Array) -> Array:
        """Copies of the given rows, in that order: (n, dim) float32."""
        return self.take_padded(rows)[:, : self.dim]

    def take_padded(self, rows: Array) -> Array:
        """Copies of the given rows, in that order: (n, width) float32."""
        out = np.empty((len(rows), self.width), dtype=np.float32)
        if len(self._chunks) == 1:
            (chunk,) = self._chunks
            return join(chunk.head[rows], chunk.tail[rows], out)
        first = 0
        for chunk in self._chunks:
            end = first + len(chunk.numbers)
            inside = (rows >= first) & (rows < end)
            if inside.all():
                place = rows - first
                return join(chunk.head[place], chunk.tail[place], out)
            if inside.any():
                place = rows[inside] - first
                found = np.empty((len(place), self.width), np.float32)
                out[inside] = join(chunk.head[place], chunk.tail[place], found)
            first = end
        return out

    def heads(self, rows: Array) -> Array:
        """Copies of the heads of the given rows, ascending: (n, width) u16."""
        out = np.empty((len(rows), self.width), np.uint16)
        for chunk, places, run in self._found(rows):
            # Clipped, not checked, which would copy once more: they are within the chunk.
            np.take(chunk.head, places, axis=0, out=out[run], mode="clip")
        return out

    def take_planes(self, rows: Array) -> Planes:
        """Copies of the given rows, which are in ascending order, as two planes."""
        head = np.empty((len(rows), self.width), np.uint16)
        tail = np.empty((len(rows), self.width), np.int16)
        for chunk, places, run in self._found(rows):
            np.take(chunk.head, places, axis=0, out=head[run], mode="clip")
            np.take(chunk.tail, places, axis=0, out=tail[run], mode="clip")
        return Planes(head, tail, self.residual_max, self.norm_max)

    def take_ascending(self, rows: Array) -> Array:
        """`take_padded` of rows that ascend, in less time where chunks are many."""
        heads = np.empty((len(rows), self.width), np.uint16)
        tails = np.empty((len(rows), self.width), np.int16)
        for chunk, places, run in self._found(rows):
            np.take(chunk.head, places, axis=0, out=heads[run], mode="clip")
            np.take(chunk.tail, places, axis=0, out=tails[run], mode="clip")
        return join(heads, tails, np.empty((len(rows), self.width), np.float32))

    def _found(self, rows: Array) -> Iterator[tuple[Chunk, Array, slice]]:
        """The chunks that ascending rows are in, their places there, and which of them these are."""
        chunks = list(self._chunks)
        ends = np.cumsum([len(chunk.numbers) for chunk in chunks])
        done = 0
        for chunk, end, until in zip(
            chunks, ends.tolist(), np.searchsorted(rows, ends).tolist(), strict=True
        ):
            if until > done:
                begin = end - len(chunk.numbers)
                yield chunk, rows[done:until] - begin, slice(done, until)
                done = until

    def _chunk(self, rows: int) -> Chunk:
        # Private: a process that is forked has its own from then on.
        size = 2 * rows * self.width * 2
        try:
            mapped = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise MemoryError(f"no memory for {rows} vectors: {error.strerror}") from error
        planes = np.frombuffer(mapped, np.uint16).reshape(2, rows, self.width)
        return Chunk(
            planes[0],
            planes[1].view(np.int16),
            np.arange(self.rows, self.rows + rows, dtype=np.int64),
        )

    def _capacity(self) -> int:
        return sum(len(chunk.numbers) for chunk in self._chunks)
