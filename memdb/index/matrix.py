"""An append-only float32 matrix that readers may search while it grows.

Rows live in chunks that are never moved: a reader that was told `n` rows may read rows [0, n) for
ever, without a lock, while the writer fills rows from n on.  The first chunk is small, each next
one doubles up to `CHUNK_ROWS_MAX`, and rows that come together share a chunk.  Memory of a chunk
that is not filled yet is reserved but not resident: it is mapped for the chunk alone, since what an allocator
gives again was touched by somebody before (1.5 MB for each of thousands of users with a clip or two).

A chunk keeps its rows as two planes (`memdb.index.planes`), padded to `width` elements.  The rows of a matrix
of few (`WHOLE_ROWS_MAX`) are kept as they are, `whole`: to score all of them takes less time than to choose
which to score.  One more, and they are split, once; a reader that holds them goes on with them.  The native edge
chooses all the same, by a byte an element beside whole rows (`memdb.index.row_codes`), a quarter more memory for those
of users that are asked again.
"""

from __future__ import annotations

import mmap
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.index.planes import Planes, join, padded, split
from memdb.index.row_codes import MakeCodes, RowCodes
from memdb.types.arrays import Array

WHOLE_ROWS_MAX: Final = 256
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

    __slots__ = (
        "_chunks",
        "_coded",
        "_codes",
        "_coding",
        "_firsts",
        "_whole",
        "dim",
        "norm_max",
        "residual_max",
        "rows",
        "width",
    )

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.width = padded(dim)
        self.rows = 0
        self.norm_max = 0.0
        """No row is longer."""
        self.residual_max = 0.0
        """No row is farther from its head."""
        self._chunks: list[Chunk] = []
        self._firsts = np.empty(0, np.int64)
        """The first row of each chunk."""
        self._whole: Array | None = None
        """(WHOLE_ROWS_MAX, width) float32; None where there are chunks, or nothing."""
        self._codes: RowCodes | None = None
        """Of whole rows, with room for more; None where nobody asked for them."""
        self._coded = 0
        """So many rows have theirs."""
        self._coding = threading.Lock()
        """Of who makes codes, any reader, and who takes rows or codes away."""

    def append(self, vectors: Array) -> None:
        """Add (m, dim) rows at the end."""
        vectors = np.ascontiguousarray(vectors, np.float32)
        if not self._chunks and self.rows + len(vectors) <= WHOLE_ROWS_MAX:
            self._append_whole(vectors)
            return
        self._split_whole(WHOLE_ROWS_MAX)
        done = 0
        while done < len(vectors):
            free = self._capacity() - self.rows
            if free == 0:
                planned = max(CHUNK_ROWS_MIN << len(self._chunks), len(vectors) - done)
                free = min(planned, CHUNK_ROWS_MAX)
                self._add(self._chunk(free, self.rows))
            last = self._chunks[-1]
            take = min(free, len(vectors) - done)
            begin = len(last.numbers) - free
            residual, norm = split(
                vectors[done : done + take],
                last.head[begin : begin + take],
                last.tail[begin : begin + take],
            )
            # Before the rows can be seen.
            self._note(residual, norm)
            done += take
            self.rows += take

    def adopt(self, planes: Planes) -> None:
        """Add rows that were split already, without a copy (unless there are few in all), as a chunk of their own;
        the matrix keeps the arrays, and nobody may change them.
        """
        count = len(planes.head)
        if self.rows == 0 and not self._chunks and 0 < count <= WHOLE_ROWS_MAX:
            whole = self._new_whole()
            join(planes.head, planes.tail, whole[:count])
            self._note(planes.residual_max, planes.norm_max)
            self._whole = whole
            self.rows = count
        elif count:
            self._split_whole(self.rows)
            assert self.rows == self._capacity(), "no row is left free in the middle"
            numbers = np.arange(self.rows, self.rows + count, dtype=np.int64)
            self._add(Chunk(planes.head, planes.tail, numbers))
            self._note(planes.residual_max, planes.norm_max)
            self.rows += count

    def settle(self, planes: Planes, make: Callable[[], Planes]) -> None:
        """Have the same rows elsewhere in memory, in the place of those that were adopted; make: gives them.

        Who searches meanwhile goes on with those of before.
        """
        for place, chunk in enumerate(self._chunks):
            if chunk.head is planes.head:
                made = make()
                self._chunks[place] = Chunk(made.head, made.tail, chunk.numbers)
                return

    def wipe(self, rows: Array) -> None:
        """Make zeros of some rows, ascending, that were not adopted; who searches meanwhile may find them half gone."""
        with self._coding:
            self._codes, self._coded = None, 0
            whole = self._whole
            if whole is not None:
                whole[rows] = 0
                return
        for chunk, places, _ in self._found(rows):
            # What is left of a row in between is a number.
            chunk.tail[places] = 0
            chunk.head[places] = 0

    def whole(self, rows: int) -> Array | None:
        """The first ``rows`` rows as they are, a (rows, width) float32 view; None where they lie in chunks."""
        whole = self._whole
        return None if whole is None else whole[:rows]

    def coded(self, rows: int, make: MakeCodes) -> RowCodes | None:
        """Codes of the first ``rows`` rows, of which ``make`` makes those that there are not yet; None where the rows
        lie in chunks.
        """
        with self._coding:
            whole = self.whole(rows)
            if whole is None:
                return None
            codes, done = self._codes, self._coded
            if codes is None or len(codes.codes) < rows:
                more = RowCodes.with_room(rows, self.width)
                if codes is not None:
                    more.codes[:done], more.measures[:done] = (
                        codes.codes[:done],
                        codes.measures[:done],
                    )
                codes = more
            if done < rows:
                missing = codes.part(done, rows)
                make(whole[done:], missing.codes, missing.measures)
                self._coded = rows
            self._codes = codes
            return codes.part(0, rows)

    def chunks(self, rows: int, first: int = 0) -> Iterator[Chunk]:
        """The chunks of rows [first, rows); made for the caller where they are whole."""
        whole = self.whole(rows)
        if whole is not None:
            if first < rows:
                planes = self._planes_of(whole[first:])
                numbers = np.arange(first, rows, dtype=np.int64)
                yield Chunk(planes.head, planes.tail, numbers)
            return
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
        """Rows of each chunk, those that are not filled yet included; none while they are whole."""
        return [len(chunk.numbers) for chunk in self._chunks]

    def take(self, rows: Array) -> Array:
        """Copies of the given rows, in that order: (n, dim) float32."""
        return self.take_padded(rows)[:, : self.dim]

    def take_padded(self, rows: Array) -> Array:
        """Copies of the given rows, in that order: (n, width) float32."""
        whole = self._whole
        if whole is not None:
            return np.take(whole, rows, axis=0)
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
        whole = self._whole
        if whole is not None:
            return self._planes_of(whole[rows]).head
        out = np.empty((len(rows), self.width), np.uint16)
        for chunk, places, run in self._found(rows):
            # Clipped, not checked, which would copy once more: they are within the chunk.
            chunk.head.take(places, axis=0, out=out[run], mode="clip")
        return out

    def take_planes(self, rows: Array) -> Planes:
        """Copies of the given rows, which are in ascending order, as two planes."""
        whole = self._whole
        if whole is not None:
            return self._planes_of(whole[rows])
        head = np.empty((len(rows), self.width), np.uint16)
        tail = np.empty((len(rows), self.width), np.int16)
        for chunk, places, run in self._found(rows):
            chunk.head.take(places, axis=0, out=head[run], mode="clip")
            chunk.tail.take(places, axis=0, out=tail[run], mode="clip")
        return Planes(head, tail, self.residual_max, self.norm_max)

    def take_ascending(self, rows: Array) -> Array:
        """`take_padded` of rows that ascend, in less time where chunks are many."""
        if self._whole is not None:
            return self.take_padded(rows)
        heads = np.empty((len(rows), self.width), np.uint16)
        tails = np.empty((len(rows), self.width), np.int16)
        for chunk, places, run in self._found(rows):
            chunk.head.take(places, axis=0, out=heads[run], mode="clip")
            chunk.tail.take(places, axis=0, out=tails[run], mode="clip")
        return join(heads, tails, np.empty((len(rows), self.width), np.float32))

    def take_run(self, begin: int, end: int) -> Array:
        """Copies of rows [begin, end): (n, width) float32, in half the time of `take_ascending`."""
        if self._whole is not None:
            return self.take_padded(np.arange(begin, end))
        out = np.empty((end - begin, self.width), np.float32)
        done = 0
        for chunk in self.chunks(end, begin):
            until = done + len(chunk.numbers)
            join(chunk.head, chunk.tail, out[done:until])
            done = until
        return out

    def _found(self, rows: Array) -> Iterator[tuple[Chunk, Array, slice]]:
        """The chunks that ascending rows are in, their places there, and which of them these are."""
        firsts = self._firsts
        which = np.searchsorted(firsts, rows, "right") - 1
        places = rows - firsts[which]
        numbers = which.tolist()
        done, count = 0, len(numbers)
        while done < count:
            number = numbers[done]
            # Most chunks have a row or none where rows are few.
            until = done + 1
            if until < count and numbers[until] == number:
                until = bisect_right(numbers, number, until)
            yield self._chunks[number], places[done:until], slice(done, until)
            done = until

    def _append_whole(self, vectors: Array) -> None:
        if not len(vectors):
            return
        whole = self._new_whole() if self._whole is None else self._whole
        whole[self.rows : self.rows + len(vectors), : self.dim] = vectors
        made = self._planes_of(vectors)
        self._note(made.residual_max, made.norm_max)
        self._whole = whole
        self.rows += len(vectors)

    def _planes_of(self, rows: Array) -> Planes:
        """Some rows, padded or not, as planes."""
        head = np.empty((len(rows), self.width), np.uint16)
        tail = np.empty((len(rows), self.width), np.int16)
        return Planes(head, tail, *split(rows, head, tail))

    def _split_whole(self, rows: int) -> None:
        """Have the rows that are whole, if any, as a chunk with room for ``rows``."""
        whole = self._whole
        if whole is None:
            return
        chunk = self._chunk(rows, 0)
        split(whole[: self.rows], chunk.head[: self.rows], chunk.tail[: self.rows])
        # In this order: who finds no whole rows finds the chunk.
        self._add(chunk)
        with self._coding:
            self._whole = None
            self._codes, self._coded = None, 0

    def _add(self, chunk: Chunk) -> None:
        firsts = np.append(self._firsts, self._capacity())
        # In this order: who finds where a chunk begins finds it.
        self._chunks.append(chunk)
        self._firsts = firsts

    def _note(self, residual: float, norm: float) -> None:
        self.residual_max = max(self.residual_max, residual)
        self.norm_max = max(self.norm_max, norm)

    def _new_whole(self) -> Array:
        whole: Array = self._mapped(WHOLE_ROWS_MAX, np.float32, 1)[0]
        return whole

    def _chunk(self, rows: int, first: int) -> Chunk:
        planes = self._mapped(rows, np.uint16, 2)
        return Chunk(
            planes[0],
            planes[1].view(np.int16),
            np.arange(first, first + rows, dtype=np.int64),
        )

    def _mapped(self, rows: int, dtype: type[np.generic], count: int) -> Array:
        """(count, rows, width) zeros, no memory until they are written to."""
        # Private: a process that is forked has its own from then on.
        size = count * rows * self.width * np.dtype(dtype).itemsize
        try:
            mapped = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise MemoryError(f"no memory for {rows} vectors: {error.strerror}") from error
        return np.frombuffer(mapped, dtype).reshape(count, rows, self.width)

    def _capacity(self) -> int:
        return sum(len(chunk.numbers) for chunk in self._chunks)
