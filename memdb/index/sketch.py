"""Codes of a matrix's rows, a twentieth of its bytes, that bound every inner product from above.

What a search need not read is what cannot be among its best.  A scan of the codes gives the rows of
the highest bounds; these are scored whole; and when the last of the best is ahead of every bound
that was not looked at, no other row can be better.  So the answer is that of a search of all rows,
ties by row number included, whatever the codes are worth: poor ones only cost the time to find that out.

Codes are made behind the writer's back, a block at a time (`memdb.index.tiers`): `rows` grows once
a block is whole, and rows from there on are searched without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, Self

import numpy as np

from memdb.index import faiss_later as faiss
from memdb.index.basis import CODE_ZERO, Basis
from memdb.index.matrix import Matrix
from memdb.types.arrays import Array

UNBOUNDED_MAX: Final = 64
"""Rows that no code bounds and every search scores; with more, the basis is worth nothing."""

_COPIED_ROWS: Final = 4096
"""Of which the codes are copied at once."""

_quantizers: dict[tuple[int, bool], Any] = {}


class Sketch:
    """The codes of the first `rows` rows of a matrix; one who adds, any readers."""

    __slots__ = ("_codes", "basis", "rows", "unbounded")

    def __init__(self, basis: Basis) -> None:
        self.basis = basis
        self.rows = 0
        """So many rows have a code."""
        self.unbounded: Array = np.empty(0, np.int64)
        """Those of them that are not bounded by their code."""
        self._codes: list[Array] = []
        """An array for each chunk of the matrix, as long as it."""

    @classmethod
    def of_codes(cls, basis: Basis, codes: Array, unbounded: Array, lengths: list[int]) -> Self:
        """That of the first rows of a matrix, as they were given codes before.

        codes: (n, code_bytes) u8, which are kept and not changed.  lengths: `Matrix.chunk_lengths`.
        """
        sketch = cls(basis)
        begin = 0
        for length in lengths:
            part = codes[begin : begin + length]
            if not len(part):
                break
            if len(part) < length:
                # The others of the chunk get theirs beside them.
                part = np.empty((length, codes.shape[1]), np.uint8)
                part[: len(codes) - begin] = codes[begin:]
            sketch._codes.append(part)
            begin += length
        sketch.unbounded = unbounded
        sketch.rows = len(codes)
        return sketch

    def codes_of(self, matrix: Matrix, rows: Array) -> Iterator[Array]:
        """Copies of the codes of some rows, ascending, in pieces: (n, code_bytes) u8 each."""
        last = int(rows[-1]) + 1 if len(rows) else 0
        for codes, numbers in self.parts(matrix, 0, last):
            first, end = np.searchsorted(rows, (numbers[0], numbers[-1] + 1)).tolist()
            for begin in range(first, end, _COPIED_ROWS):
                yield codes[rows[begin : min(begin + _COPIED_ROWS, end)] - numbers[0]]

    def extend(self, matrix: Matrix, count: int) -> bool:
        """Add codes of the next ``count`` rows of ``matrix``; False when the basis does not suit them."""
        rows = np.arange(self.rows, self.rows + count)
        codes, bounded = self.basis.encode(matrix.take_padded(rows))
        self.unbounded = np.concatenate([self.unbounded, rows[~bounded]])
        first, end = 0, self.rows + count
        for index, length in enumerate(matrix.chunk_lengths()):
            here, until = max(first, self.rows), min(first + length, end)
            if here < until:
                if index == len(self._codes):
                    self._codes.append(np.empty((length, self.basis.code_bytes), np.uint8))
                part = codes[here - self.rows : until - self.rows]
                self._codes[index][here - first : until - first] = part
            first += length
        # Last: whoever reads it finds what it promises.
        self.rows = end
        return len(self.unbounded) <= UNBOUNDED_MAX

    def scan(
        self, matrix: Matrix, rows: int, weights: Array, wanted: int, allowed: Array | None
    ) -> tuple[Array, Array]:
        """(row numbers int64, bounds float32) of the ``wanted`` allowed ones of the first ``rows``
        rows whose bounds are the highest, as heaps: the lowest first.  Numbers are -1 where there
        are fewer.  ``weights`` from `Basis.query`.
        """
        selector = None
        if allowed is not None:
            bits = np.packbits(allowed[:rows], bitorder="little")
            selector = faiss.IDSelectorBitmap(rows, faiss.swig_ptr(bits))
        return highest_bounds(self.parts(matrix, 0, rows), weights, wanted, selector)

    def parts(self, matrix: Matrix, first: int, rows: int) -> Iterator[tuple[Array, Array]]:
        """(codes, row numbers) of rows [first, rows), as views, in their order."""
        begin = 0
        # Codes first: there may be a chunk more, of rows that came since.
        for codes, chunk in zip(self._codes, matrix.chunks(rows), strict=False):
            here, length = max(first - begin, 0), len(chunk.numbers)
            if here < length:
                yield codes[here:length], chunk.numbers[here:]
            begin += length


def highest_bounds(
    parts: Iterable[tuple[Array, Array]], weights: Array, wanted: int, selector: Any = None
) -> tuple[Array, Array]:
    """(row numbers int64, bounds float32) of the ``wanted`` highest bounds of some (codes, row numbers),
    as heaps: the lowest first.  Numbers are -1 where there are fewer.
    """
    return _highest(_quantizer(len(weights)), parts, weights, wanted, selector)


def whole_products(vectors: Array, query: Array) -> Array:
    """(n,) float32 inner products of (n, width) u8 vectors, less `CODE_ZERO`, with a (width,) float32 query of whole
    numbers of at most `CODE_LIMIT`: in half of the time of others, and exact up to 2^24.
    """
    count = len(vectors)
    quantizer = _quantizer(len(query), is_whole=True)
    numbers, found = _highest(quantizer, [(vectors, np.arange(count))], query, count, None)
    out = np.empty(count, np.float32)
    out[numbers] = found
    return out


def _highest(
    quantizer: Any, parts: Iterable[tuple[Array, Array]], weights: Array, wanted: int, selector: Any
) -> tuple[Array, Array]:
    numbers, bounds = np.empty(wanted, np.int64), np.empty(wanted, np.float32)
    numbers.fill(-1)
    bounds.fill(-np.inf)
    scanner = quantizer.select_InvertedListScanner(
        faiss.METRIC_INNER_PRODUCT, None, False, selector, False
    )
    scanner.set_query(faiss.swig_ptr(weights))
    scanner.set_list(0, 0.0)
    heaps = faiss.swig_ptr(bounds), faiss.swig_ptr(numbers)
    for codes, its_numbers in parts:
        its = faiss.swig_ptr(codes.reshape(-1)), faiss.swig_ptr(its_numbers)
        scanner.scan_codes(len(its_numbers), *its, *heaps, wanted)
    return numbers, bounds


def _quantizer(width: int, *, is_whole: bool = False) -> Any:
    """FAISS's reader of bytes as numbers less `CODE_ZERO`; without state, so one serves all.

    ``QT_8bit_direct_signed`` says the same in fewer words, and rounds the query to whole numbers: it is for those that
    are whole (``is_whole``).
    """
    key = (width, is_whole)
    quantizer = _quantizers.get(key)
    if quantizer is None and is_whole:
        quantizer = faiss.ScalarQuantizer(width, faiss.ScalarQuantizer.QT_8bit_direct_signed)
        _quantizers[key] = quantizer
    elif quantizer is None:
        quantizer = faiss.ScalarQuantizer(width, faiss.ScalarQuantizer.QT_8bit_uniform)
        # A byte b reads as least + (b + 1/2) / 255 * range.
        least_and_range = np.array([-CODE_ZERO - 0.5, 255], np.float32)
        faiss.copy_array_to_vector(least_and_range, quantizer.trained)
        _quantizers[key] = quantizer
    return quantizer
