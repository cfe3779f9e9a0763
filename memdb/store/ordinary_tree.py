"""Whether a B-tree of an LMDB file is as nearly all are, level by level instead of page by page, or by the native edge
(`memdb.store.native_tree`).

*Ordinary* is a table of keys of one, even length, in the order of their bytes, with values of their own and
without duplicates, of which nothing at all is wrong.  Whatever is not ordinary is no finding: it is left to
py-lmdb's verifier, whose words say what it is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.store.native_tree import native_look
from memdb.types.arrays import Array

HEADER_BYTES: Final = 16
_NODE_BYTES: Final = 8
_BRANCH: Final = 1
_LEAF: Final = 2
_OVERFLOW: Final = 4
_BIG_DATA: Final = 1
_META_PAGES: Final = 2
_DEPTH_MAX: Final = 32
LEVEL_BYTES_MAX: Final = 16 << 20
"""Of the pages of a level that are looked at at once; a larger tree is looked at leaf by leaf."""
_OVERFLOW_HEAD: Final = np.dtype(
    [("pgno", "<u8"), ("pad", "<u2"), ("flags", "<u2"), ("pages", "<u4")]
)


@dataclass(frozen=True, slots=True)
class Tree:
    """What a table's record says of its tree."""

    root: int
    depth: int
    branch_pages: int
    leaf_pages: int
    overflow_pages: int
    entries: int


class PageFile:
    """The data file, and which of its pages are known to be in use."""

    def __init__(
        self, fd: int, size: int, page_bytes: int, end: int, *, values: bool = True
    ) -> None:
        """size: of the file in bytes; end: the first page that was never used; values: whether to look at the pages
        of values as well, and not only where they are.
        """
        self.fd = fd
        self._size = size
        self.page_bytes = page_bytes
        self.end = min(end, size // page_bytes)
        self.values = values

    def pages(self, numbers: Array) -> Array | None:
        """(n, page bytes) u8, None where the file is shorter."""
        out = np.empty((len(numbers), self.page_bytes), np.uint8)
        # Runs of pages in one read each.
        breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
        begin = 0
        for stop in [*breaks.tolist(), len(numbers)]:
            if not self._fill(out[begin:stop], int(numbers[begin])):
                return None
            begin = stop
        return out

    def heads(self, numbers: Array) -> bytes:
        """The headers of some pages."""
        fd, pread = self.fd, os.pread
        places = (numbers * self.page_bytes).tolist()
        return b"".join([pread(fd, HEADER_BYTES, place) for place in places])

    def _fill(self, pages: Array, first: int) -> bool:
        """Read pages from ``first`` on; whether they are all there."""
        view = memoryview(pages.reshape(-1).data)
        done = 0
        while done < len(view):
            count = os.preadv(self.fd, [view[done:]], first * self.page_bytes + done)
            if not count:
                return False
            done += count
        return True


def ordinary_pages(file: PageFile, tree: Tree) -> Array | None:
    """The numbers of all pages of a tree; None unless it is ordinary."""
    look = native_look()
    if look is None:
        return pages_by_level(file, tree)
    told = (
        tree.root,
        tree.depth,
        tree.branch_pages,
        tree.leaf_pages,
        tree.overflow_pages,
        tree.entries,
    )
    return look(file.fd, file.page_bytes, file.end, file.values, *told)


def pages_by_level(file: PageFile, tree: Tree) -> Array | None:
    """`ordinary_pages` without the native edge; None as well where a level is too large (`LEVEL_BYTES_MAX`)."""
    if not 1 <= tree.depth <= _DEPTH_MAX or not _are_inside(file, np.array([tree.root], np.uint64)):
        return None
    level = np.array([tree.root], np.int64)
    seen = [level]
    above: list[_Nodes] = []
    branches = 0
    for _ in range(tree.depth - 1):
        branches += len(level)
        nodes = _nodes(file, level, _BRANCH)
        if nodes is None or not nodes.are_branches():
            return None
        above.append(nodes)
        children = nodes.children()
        if not _are_inside(file, children):
            return None
        level = children.astype(np.int64)
        seen.append(level)
    nodes = _nodes(file, level, _LEAF)
    if nodes is None or not nodes.are_leaves() or not _are_parted(above, nodes):
        return None
    extents = nodes.extents(file)
    if extents is None or (branches, len(level), len(nodes.places), len(extents)) != (
        tree.branch_pages,
        tree.leaf_pages,
        tree.entries,
        tree.overflow_pages,
    ):
        return None
    return np.concatenate([*seen, extents])


def _are_inside(file: PageFile, numbers: Array) -> bool:
    return bool(len(numbers) and numbers.min() >= _META_PAGES and numbers.max() < file.end)


@dataclass(frozen=True, slots=True, eq=False)
class _Nodes:
    """The nodes of the pages of one level, in order."""

    words: Array
    """(m,) u16: the pages, one after the other; nodes begin at even bytes."""
    page_bytes: int
    upper: Array
    """(pages,) int64: the byte of each page where its nodes begin."""
    places: Array
    """(n,) int64: the word where each begins."""
    first: Array
    """(n,) bool: whether it is the first of its page."""
    low: Array
    """(n,) u64: the lower 32 bits of a child's number, or bytes of a value."""
    flags: Array
    """(n,) u64: of a value, or the upper 16 bits of a child's number."""
    key_bytes: Array
    """(n,) int64."""

    def are_branches(self) -> bool:
        """Whether the keys between the children of each page are in order."""
        # What stands before the first child of a page is no key.
        between = ~self.first
        keys = self.keys(between)
        if keys is None or not self._end_inside(self.key_bytes).all():
            return False
        if not self._fill(self.key_bytes):
            return False
        pages = self.places[between] // (self.page_bytes >> 1)
        return _are_ascending(keys, pages[1:] == pages[:-1])

    def are_leaves(self) -> bool:
        """Whether all keys are in order, with values that are in their page or beside it."""
        keys = self.keys(np.ones(len(self.places), bool))
        if keys is None:
            return False
        big = self.flags == _BIG_DATA
        room = self.key_bytes + np.where(big, 8, self.low.astype(np.int64))
        return bool(
            ((self.flags == 0) | big).all()
            and self._end_inside(room).all()
            and self._fill(room)
            and _are_ascending(keys, np.ones(len(keys) - 1, bool))
        )

    def _fill(self, room: Array) -> bool:
        """Whether nodes with so many bytes behind their heads follow each other without a gap from where those of
        their page begin to its end.
        """
        words = self.page_bytes >> 1
        pages = np.arange(len(self.upper)) * words
        begins = np.sort(np.append(self.places, pages + words))
        ends = self.places + (_NODE_BYTES + room + 1 >> 1)
        return np.array_equal(begins, np.sort(np.append(ends, pages + (self.upper >> 1))))

    def _end_inside(self, room: Array) -> Array:
        """(n,) bool: whether so many bytes behind each node's head are still of its page."""
        begin = self.places * 2 % self.page_bytes
        return np.asarray(begin + _NODE_BYTES + room <= self.page_bytes)

    def keys(self, chosen: Array) -> Array | None:
        """(m, words) u64 that compare as the keys of some nodes do; None where they are not of one length,
        or not inside their pages."""
        places, lengths = self.places[chosen], self.key_bytes[chosen]
        if not len(places):
            return np.empty((0, 1), np.uint64)
        length = int(lengths[0])
        if length == 0 or length & 1 or (lengths != length).any():
            return None
        if not self._end_inside(self.key_bytes)[chosen].all():
            return None
        raw = np.zeros((len(places), -(-length // 8) * 4), "<u2")
        raw[:, : length >> 1] = self.words[
            places[:, None] + (_NODE_BYTES >> 1) + np.arange(length >> 1)
        ]
        words: Array = raw.view(">u8")
        return words

    def children(self) -> Array:
        """(n,) u64."""
        return np.asarray(self.low | self.flags << np.uint64(32))

    def extents(self, file: PageFile) -> Array | None:
        """The pages of the values that are beside their nodes' pages; None where one is not there, or says
        otherwise."""
        big = self.flags == _BIG_DATA
        places = self.places[big] + (_NODE_BYTES + self.key_bytes[big] >> 1)
        if not len(places):
            return np.empty(0, np.int64)
        firsts = self.words[places[:, None] + np.arange(4)].view("<u8")[:, 0]
        if not _are_inside(file, firsts):
            return None
        first = firsts.astype(np.int64)
        count = (HEADER_BYTES - 1 + self.low[big].astype(np.int64)) // file.page_bytes + 1
        if (first + count > file.end).any():
            return None
        if file.values and not _are_heads(file.heads(first), firsts, count):
            return None
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        return np.asarray(np.repeat(first, count) + within)


def _are_heads(read: bytes, firsts: Array, count: Array) -> bool:
    """Whether these are the headers of values that begin at some pages and take so many."""
    heads = np.frombuffer(read, _OVERFLOW_HEAD)
    return len(heads) == len(firsts) and bool(
        (heads["pgno"] == firsts).all()
        and (heads["pad"] == 0).all()
        and (heads["flags"] == _OVERFLOW).all()
        and (heads["pages"] == count).all()
    )


def _nodes(file: PageFile, numbers: Array, flags: int) -> _Nodes | None:
    """The nodes of some pages; None where a page is not of that kind, or they are not inside."""
    size = file.page_bytes
    if len(numbers) * size > LEVEL_BYTES_MAX:
        return None
    pages = file.pages(numbers)
    if pages is None:
        return None
    words = pages.view("<u2")
    lower, upper = words[:, 6].astype(np.int64), words[:, 7].astype(np.int64)
    if not (
        (pages[:, :8].view("<u8")[:, 0] == numbers.astype(np.uint64)).all()
        and (words[:, 5] == flags).all()
        and ((lower >= HEADER_BYTES) & (lower <= upper) & (upper <= size)).all()
    ):
        return None
    counts = (lower - HEADER_BYTES) >> 1
    if (counts < 1).any():
        return None
    words = words.reshape(-1)
    begin = np.repeat(np.arange(len(numbers)) * (size >> 1), counts)
    index = np.arange(len(begin)) - np.repeat(np.cumsum(counts) - counts, counts)
    offsets = words[begin + (HEADER_BYTES >> 1) + index].astype(np.int64)
    is_outside = (offsets < np.repeat(upper, counts)) | (offsets > size - _NODE_BYTES)
    if (is_outside | (offsets & 1 == 1)).any():
        return None
    places = begin + (offsets >> 1)
    heads = words[places[:, None] + np.arange(_NODE_BYTES >> 1)].view("<u8")[:, 0]
    return _Nodes(
        words,
        size,
        upper,
        places,
        index == 0,
        heads & np.uint64(0xFFFFFFFF),
        heads >> np.uint64(32) & np.uint64(0xFFFF),
        (heads >> np.uint64(48)).astype(np.int64),
    )


def _are_parted(above: list[_Nodes], leaves: _Nodes) -> bool:
    """Whether the keys between two children are behind all that is below the one, and before none below the other.

    above: the branches, from the root on.  Else who looks for a key may be sent past it.
    """
    # The first key and the last of each leaf.
    firsts, lasts = leaves.keys(leaves.first), leaves.keys(np.append(leaves.first[1:], True))
    if firsts is None or lasts is None:
        return False
    # The first leaf below each page of a level.
    leftmost = np.arange(len(firsts))
    for nodes in reversed(above):
        between = ~nodes.first
        parting = nodes.keys(between)
        behind = leftmost[between]
        if parting is None or len(nodes.places) != len(leftmost):
            return False
        if len(parting) and (
            nodes.key_bytes[between][0] != leaves.key_bytes[0]
            or _greater(parting, firsts[behind]).any()
            or not _greater(parting, lasts[behind - 1]).all()
        ):
            return False
        leftmost = leftmost[nodes.first]
    return True


def _are_ascending(keys: Array, joined: Array) -> bool:
    """Whether each key is greater than the one before it, where the two are joined."""
    return bool(_greater(keys[1:], keys[:-1])[joined].all())


def _greater(keys: Array, others: Array) -> Array:
    """(n,) bool: whether each key is greater than the other beside it."""
    greater = np.zeros(len(keys), bool)
    equal = np.ones(len(keys), bool)
    for word in range(keys.shape[1]):
        greater |= equal & (keys[:, word] > others[:, word])
        equal &= keys[:, word] == others[:, word]
    return greater
