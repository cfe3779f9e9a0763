"""py-lmdb's verifier, quicker where a tree or a leaf page is as nearly all are.

Most of a walk is spent on leaves, entry by entry.  Here a table that is ordinary
(`memdb.store.ordinary_tree`) is looked at level by level, and of others the entries of a leaf in one loop; a tree or
a page of which anything at all is out of the ordinary (or wrong) is left to the verifier's own walk, so
that this finds what that finds, and says it in its words.

And two things more, which that does not look at.  The keys of a branch page part its children: one that is damaged
sends who looks for a key to the wrong leaf, where it is not; a walk finds every entry, and a look-up does not.  And
nodes fill their page, each beginning where one ends: LMDB moves the others by the size that a node states, so where
that is damaged it writes over a neighbour, or beyond the page, as soon as something there is removed or split.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from lmdb import verify

from memdb.store.ordinary_tree import PageFile, Tree, ordinary_pages

_NODE: Final = struct.Struct("<HHHH")
_U64: Final = struct.Struct("<Q")
_OVERFLOW: Final = struct.Struct("<QHHI")
"""Header of a page: number, padding, flags, pages."""
_HEADER_BYTES: Final = 16
_F_BIGDATA: Final = 1
_P_OVERFLOW: Final = 4
_META_PAGES: Final = 2
_LEAVES_MIN: Final = 8
"""Of a tree that is looked at level by level: each level costs as much as some leaves."""


_Verifier: Any = getattr(verify, "_Verifier", object)
"""Not part of py-lmdb's interface: see `structure_errors`."""


class _QuickVerifier(_Verifier):  # type: ignore[misc]  # of no known type
    """Reads by `os.pread`, trees by `_took`, and leaves by `_is_ordinary`."""

    def __init__(self, file: Any, size: int, *, values: bool) -> None:
        super().__init__(file, size)
        self._fd = file.fileno()
        self._values = values

    def _read_at(self, off: int, n: int) -> bytes:
        return os.pread(self._fd, n, off)

    def _verify_tree(
        self, name: str, db: Any, key_cmp: Any, dup_cmp: Any, is_free: bool
    ) -> tuple[int, int]:
        if not is_free and self._took(db):
            return db.branch_pages, db.leaf_pages
        counted: tuple[int, int] = super()._verify_tree(name, db, key_cmp, dup_cmp, is_free)
        return counted

    def _took(self, db: Any) -> bool:
        """Whether a tree is ordinary; then its pages are taken into account, and else nothing was."""
        if db.leaf_pages < _LEAVES_MIN or db.flags or self.hdrsz != _HEADER_BYTES or self.pagebase:
            return False
        file = PageFile(self._fd, self.filesize, self.psize, self.next_pgno, values=self._values)
        tree = Tree(
            db.root, db.depth, db.branch_pages, db.leaf_pages, db.overflow_pages, db.entries
        )
        pages = ordinary_pages(file, tree)
        if pages is None:
            return False
        live = np.frombuffer(self.live, np.uint8)
        once = np.zeros(len(live), np.uint8)
        once[pages] = 1
        if np.count_nonzero(once) != len(pages) or live[pages].any():
            return False
        live |= once
        return True

    def _check_cover(self) -> None:
        used = np.frombuffer(self.live, np.uint8) + np.frombuffer(self.free, np.uint8)
        if (used[_META_PAGES:] != 1).any():
            super()._check_cover()

    def _walk_branch(self, ctx: dict[str, Any], pgno: int, buf: bytes, depth: int) -> None:
        ctx.setdefault("parting", {}).update(self._parting(buf))
        self._check_filled(ctx, pgno, buf, is_leaf=False)
        super()._walk_branch(ctx, pgno, buf, depth)

    def _parting(self, buf: bytes) -> Iterator[tuple[int, bytes]]:
        """(child, the key that parts it from the child before it) of a branch page, of nodes that are inside."""
        if self.hdrsz != _HEADER_BYTES or self.pagebase:
            return
        (lower,) = struct.unpack_from("<H", buf, self.hdrsz - 4)
        count = max(0, min(lower, self.psize) - _HEADER_BYTES) >> 1
        for offset in struct.unpack_from(f"<{count}H", buf, self.hdrsz)[1:]:
            if offset + 8 > self.psize:
                continue
            low, high, upper, key_size = _NODE.unpack_from(buf, offset)
            yield low | high << 16 | upper << 32, buf[offset + 8 : offset + 8 + key_size]

    def _walk_page(self, ctx: dict[str, Any], pgno: int, depth: int) -> None:
        key = ctx.get("parting", {}).pop(pgno, None)
        if key is not None:
            # The next leaf is the first below this page: a branch page parts its first child from none.
            ctx["parted"] = key
        super()._walk_page(ctx, pgno, depth)

    def _check_parted(self, ctx: dict[str, Any], pgno: int, buf: bytes) -> None:
        """Tell of a leaf that begins before the key that parts it from the one before it, or of that one where it ends
        behind.
        """
        parting = ctx.pop("parted", None)
        if parting is None:
            return
        last, compare = ctx["last_key"], ctx["key_cmp"]
        first = self._first_key(buf)
        if (last is not None and compare(last, parting) >= 0) or (
            first is not None and compare(first, parting) < 0
        ):
            self.err(f"{ctx['name']} DB: a branch page sends look-ups past leaf page {pgno}")

    def _first_key(self, buf: bytes) -> bytes | None:
        """The first key of a leaf, None where there is none inside the page."""
        lower, _, offset = struct.unpack_from("<HHH", buf, self.hdrsz - 4)
        if lower < self.hdrsz + 2 or offset + 8 > self.psize:
            return None
        key_size = _NODE.unpack_from(buf, offset)[3]
        return buf[offset + 8 : offset + 8 + key_size]

    def _check_filled(self, ctx: dict[str, Any], pgno: int, buf: bytes, *, is_leaf: bool) -> None:
        """Tell of a page whose nodes overlap or leave something between them."""
        size = self.psize
        lower, upper = struct.unpack_from("<HH", buf, self.hdrsz - 4)
        if self.hdrsz != _HEADER_BYTES or self.pagebase or not self.hdrsz <= lower <= upper <= size:
            return
        begins = struct.unpack_from(f"<{(lower - _HEADER_BYTES) >> 1}H", buf, _HEADER_BYTES)
        ends = []
        for begin in begins:
            if begin + 8 > size:
                return  # which is told
            low, high, flags, key_size = _NODE.unpack_from(buf, begin)
            room = 0 if not is_leaf else 8 if flags & _F_BIGDATA else low | high << 16
            ends.append(begin + _even(8 + key_size + room))
        if not _fill(upper, size, begins, ends):
            self.err(f"{ctx['name']} DB: nodes of page {pgno} do not fill it")

    def _walk_leaf(self, ctx: dict[str, Any], pgno: int, buf: bytes) -> None:
        self._check_parted(ctx, pgno, buf)
        if not self._is_ordinary(ctx, buf):
            self._check_filled(ctx, pgno, buf, is_leaf=True)
            super()._walk_leaf(ctx, pgno, buf)

    def _is_ordinary(self, ctx: dict[str, Any], buf: bytes) -> bool:
        """Whether nothing is wrong with a leaf and it has only keys in the order of their bytes, with
        values of their own; then it is taken into account, and else nothing was.
        """
        if ctx["is_free"] or ctx["db"].flags or self.hdrsz != _HEADER_BYTES or self.pagebase:
            return False
        size = self.psize
        lower, upper = struct.unpack_from("<HH", buf, _HEADER_BYTES - 4)
        if not _HEADER_BYTES <= lower <= upper <= size:
            return False
        count = (lower - _HEADER_BYTES) >> 1
        last: bytes | None = ctx["last_key"]
        extents: list[tuple[int, int]] = []
        offsets = struct.unpack_from(f"<{count}H", buf, _HEADER_BYTES)
        ends: list[int] = []
        for offset in offsets:
            if offset < upper or offset + 8 > size:
                return False
            low, high, flags, key_size = _NODE.unpack_from(buf, offset)
            begin = offset + 8 + key_size
            key = buf[offset + 8 : begin]
            if begin > size or (last is not None and key <= last):
                return False
            last = key
            length = low | high << 16
            if flags == 0:
                end = begin + length
                if end > size:
                    return False
            elif flags == _F_BIGDATA and begin + 8 <= size:
                pages = (_HEADER_BYTES - 1 + length) // size + 1
                extents.append((_U64.unpack_from(buf, begin)[0], pages))
                end = begin + 8
            else:
                return False
            ends.append(end + (end & 1))
        if not _fill(upper, size, offsets, ends) or not self._are_ordinary(extents):
            return False
        for first, pages in extents:
            self.live[first : first + pages] = b"\1" * pages
            ctx["overflow"] += pages
        ctx["entries"] += count
        ctx["last_key"] = last
        return True

    def _bigdata(
        self,
        ctx: dict[str, Any],
        pgno: int,
        place: int,
        buf: bytes,
        begin: int,
        size: int,
        want_bytes: bool,
    ) -> bytes | None:
        taken = max(size, self._room(buf, begin))
        data: bytes | None = super()._bigdata(ctx, pgno, place, buf, begin, taken, want_bytes)
        return None if data is None else data[:size]

    def _room(self, buf: bytes, begin: int) -> int:
        """Bytes that the overflow pages at ``begin`` of a leaf have room for; 0 where they do not say it."""
        if self.hdrsz != _HEADER_BYTES or begin + 8 > self.psize:
            return 0
        (first,) = _U64.unpack_from(buf, begin)
        if not _META_PAGES <= first < self.next_pgno or (first + 1) * self.psize > self.filesize:
            return 0
        head = self._read_at(first * self.psize, _HEADER_BYTES)
        pages = _OVERFLOW.unpack(head)[3]
        if head != _OVERFLOW.pack(first, 0, _P_OVERFLOW, pages) or first + pages > self.next_pgno:
            return 0
        room: int = pages * self.psize - _HEADER_BYTES
        return room

    def _are_ordinary(self, extents: list[tuple[int, int]]) -> bool:
        """Whether overflow pages are there, say so, and are nobody else's."""
        fd, size, find, end = self._fd, self.psize, self.live.find, self.next_pgno
        pread, header = os.pread, _OVERFLOW.pack
        behind = _META_PAGES
        # In their order, so that none may begin before the end of the one before.
        for first, pages in sorted(extents):
            if first < behind or first + pages > end or (first + 1) * size > self.filesize:
                return False
            behind = first + pages
            if self._values and pread(fd, _HEADER_BYTES, first * size) != header(
                first, 0, _P_OVERFLOW, pages
            ):
                return False
            if find(1, first, behind) >= 0:
                return False
        return True


def _even(size: int) -> int:
    return size + (size & 1)


def _fill(upper: int, size: int, begins: Sequence[int], ends: list[int]) -> bool:
    """Whether nodes follow each other without a gap from ``upper`` to the end of the page."""
    # As sorted: what begins where another ends is in the place of that.
    return [*sorted(begins), size] == [upper, *sorted(ends)]


def structure_errors(data_file: Path, *, values: bool = True) -> list[str]:
    """What `lmdb.verify.verify` says of the file; raises what the system does.

    values: whether to look at the first page of each value that has pages of its own, which is half of the time where
    there are many.  LMDB looks at it before it gives the value; before anything is written it has to be looked at.
    """
    try:
        with data_file.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            found: list[str] = _QuickVerifier(file, size, values=values).verify()
            return found
    except verify.VerifyError as error:
        return [str(error)]
    except (AttributeError, KeyError, TypeError):
        # A release of py-lmdb whose verifier is built otherwise: by its interface, then.
        return _theirs(data_file)


def _theirs(data_file: Path) -> list[str]:
    try:
        found: list[str] = verify.verify(str(data_file.parent))  # type: ignore[no-untyped-call]  # py-lmdb types it not
    except verify.VerifyError as error:
        return [str(error)]
    return found
