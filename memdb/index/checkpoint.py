"""Rows of a user's partitions as the index wants them, in one file, so that an opening need not make
them of the vectors again.

What is kept are the planes of unit rows (`memdb.index.planes`), which cost most of a rebuild, and what was
learned of them (`memdb.index.kept_learned`), which costs most before many rows answer quickly.  It is
derived and proves nothing: the store is read and checked as ever, a row is taken from here only
where the store's own vector, checked, has the content from which it was made, and what was learned only
where all of the rows are.

::

    offset  size  field
         0     8  magic      b"mdbindex"
         8     4  version    u32, 1
        12     4  parts      u32
        16    16  owner      BLAKE2b of the user's key of ids
        32     8  revision   u64, of the user when it was written
        40     8  checksum   u64, xxh3_64 of the header with zeros here + the table of parts
        48     -  parts, 64 bytes each
         -     -  blocks, one for each part, in that order

    a part:
         0     4  kind       u32, 1 versions, 2 planes, 3 directions, 4 codes, 5 lists, 6 heads, 7 moment
         4     4  space_no   u32
         8     4  dim        u32
        12     4  cosine     u32, 1 where rows are of unit length
        16     8  rows       u64
        24     8  offset     u64, of its block in the file
        32     8  length     u64, bytes of its block
        40     8  checksum   u64, xxh3_64 of its block
        48     8  norm_max      f64, of planes: no row is longer; of directions: the step of bounds
        56     8  residual_max  f64, of planes: no row is farther from its head; of directions: their skew

    block of versions    clip_no u64, birth u64, content u64: three arrays of ``rows``
    block of planes      heads u16, tails i16: two arrays of (rows, dim padded to 16)
    block of heads       48 bytes of each row: stream_no u32, epoch u32, seq u64, start_ns i64, end_ns i64,
                         short_memory_bytes u32, keyframe_bytes u32, sealed u8, 7 reserved
    block of the moment  u64, xxh3_64 of the stored record of the revision in table `log`; its rows are those of all
                         spaces, and its space and dim are those of one of them
    directions to lists  `memdb.index.kept_learned`

Integers are little-endian.  Content is xxh3_64 of the vector's bytes in the store.  The parts of a
space are one of versions, then planes of at most `CHUNK_ROWS_MAX` rows that together are as many, then
what was learned, if anything, then heads; the moment is the last of all, and is there where the file keeps every row of
the user.  Parts of another kind are passed over: a later release may keep more, as an earlier one kept no codes and
lists, nor heads and the moment.

It is read into memory, and not mapped for good: a page of a mapped file that was checked may be read again from the
disk later, and then nobody would check it.  A large file that keeps every row answers the first questions mapped
(`CheckedFile`): before, all of it is compared with its checksums through a buffer, so that a disk that fails is an
error and no signal; soon after, its rows are read into memory, and compared once more.  A file under its name is
never written to or cut short, only removed and replaced.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np
import xxhash

from memdb.index.columns import ALIVE
from memdb.index.kept_learned import (
    KINDS,
    BadBlock,
    Block,
    LearnedReader,
    blocks_of,
    learned_bytes,
)
from memdb.index.learned import KeptLearned
from memdb.index.matrix import CHUNK_ROWS_MAX, Matrix
from memdb.index.partition import PartitionView
from memdb.index.planes import Planes, padded
from memdb.types.arrays import Array

_MAGIC: Final = b"mdbindex"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sII16sQQ")
_PART: Final = struct.Struct("<IIIIQQQQdd")
_VERSIONS: Final = 1
_PLANES: Final = 2
_HEADS: Final = 6
_MOMENT: Final = 7
_PARTS_MAX: Final = 1 << 20
_BUFFER_BYTES: Final = 1 << 19
"""Through which a block is compared with its checksum: as much as a core's cache holds."""
_ELEMENT_BYTES: Final = 2
"""Rows that are mapped begin at multiples of it; blocks of other kinds are of any length."""

HEAD: Final = np.dtype(
    {
        "names": [
            *("stream_no", "epoch", "seq", "start_ns", "end_ns"),
            *("short_memory_bytes", "keyframe_bytes", "sealed"),
        ],
        "formats": ["<u4", "<u4", "<u8", "<i8", "<i8", "<u4", "<u4", "?"],
        "itemsize": 48,
    }
)
"""What filters ask of a row, beside its version."""
_COPIED_ROWS: Final = 1024
"""Rows that are gathered at once to be written."""


class BadCheckpoint(Exception):
    """The file is no checkpoint of this user, or damaged; the message says which."""


@dataclass(frozen=True, slots=True, eq=False)
class KeptRows:
    """The rows of one space, in the order of the partition that they were of."""

    dim: int
    cosine: bool
    clip_no: Array
    birth: Array
    content: Array
    planes: list[Planes] = field(default_factory=list)
    learned: KeptLearned | None = None
    heads: Array | None = None
    """(n,) `HEAD`, None in a file of an earlier release."""

    def are_all_in(self, columns: Mapping[str, Array] | None) -> bool:
        """Whether the rows of a partition have every one of these."""
        mine = np.stack((self.clip_no, self.birth, self.content), axis=1)
        if columns is None:
            return not len(mine)
        theirs = [columns[name] for name in ("clip_no", "birth", "content")]
        if np.array_equal(mine, np.stack([one[: len(mine)] for one in theirs], axis=1)):
            return True
        return {tuple(row) for row in mine.tolist()} <= set(
            zip(*(one.tolist() for one in theirs), strict=True)
        )

    def taken(self, places: Array) -> Array:
        """(n, dim) float32 copies of some rows, as they went in."""
        matrix = Matrix(self.dim)
        for planes in self.planes:
            matrix.adopt(planes)
        return matrix.take(places)


class _Part(NamedTuple):
    kind: int
    space_no: int
    dim: int
    cosine: int
    rows: int
    offset: int
    length: int
    checksum: int
    norm_max: float
    residual_max: float


@dataclass(frozen=True, slots=True, eq=False)
class KeptUser:
    """Every row of a user as of one moment."""

    revision: int
    log_content: int
    """Of the log's record of the revision: another life of the user has another."""
    rows: int
    """Of all spaces together."""
    spaces: dict[int, KeptRows]


def owner_of(id_key: bytes) -> bytes:
    """How a file tells whose it is, from the key that was drawn when the user was made."""
    return blake2b(id_key, digest_size=16, person=b"memdb-index").digest()


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
        self._parts: list[_Part] = []

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
        self._file.write(bytes(_HEADER.size + len(planned) * _PART.size))
        for space_no, view, block in planned:
            yield from self._block(space_no, view, block)
        self._file.seek(0)
        self._file.write(_head(self._owner, self._revision, self._parts))
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
        return [(space_no, view, Block(_MOMENT, kept, (0.0, 0.0), content))]

    def _block(self, space_no: int, view: PartitionView, block: Block) -> Iterator[int]:
        offset, checksum = self._file.tell(), xxhash.xxh3_64()
        for piece in block.pieces:
            checksum.update(piece)
            self._file.write(piece)
            yield self._file.tell()
        self._parts.append(
            _Part(
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
    blocks = [Block(_VERSIONS, len(places), longest, _versions(view, places))]
    for begin in range(0, len(places), CHUNK_ROWS_MAX):
        rows = places[begin : begin + CHUNK_ROWS_MAX]
        blocks.append(Block(_PLANES, len(rows), longest, _planes(view, rows)))
    blocks += blocks_of(view.tiers.learned, view.matrix, places)
    return [*blocks, Block(_HEADS, len(places), (0.0, 0.0), iter((_heads(view, places),)))]


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


def _head(owner: bytes, revision: int, parts: list[_Part]) -> bytes:
    table = b"".join(_PART.pack(*part) for part in parts)
    zeroed = _HEADER.pack(_MAGIC, _VERSION, len(parts), owner, revision, 0)
    checksum = xxhash.xxh3_64_intdigest(zeroed + table)
    return _HEADER.pack(_MAGIC, _VERSION, len(parts), owner, revision, checksum) + table


def read_checkpoint(path: Path, owner: bytes, revision: int) -> dict[int, KeptRows]:
    """What a file keeps, by space number, every byte of it checked.

    Raises `BadCheckpoint` for one that is of another user, version or layout, of a later ``revision``, or
    damaged; `OSError` as the system does.
    """
    with path.open("rb", buffering=0) as file:
        parts = _read_parts(file, owner, revision)
        for part in parts:
            if part.kind == _MOMENT:
                _read_moment(file, part)  # of no use here, but nothing that is damaged is used
        return _spaces(file, parts, lambda part: _read_planes(file, part))


def _spaces(
    file: BinaryIO, parts: list[_Part], planes_of: Callable[[_Part], Planes]
) -> dict[int, KeptRows]:
    """What the parts of a file keep, by space number."""
    found: dict[int, KeptRows] = {}
    learned: dict[int, LearnedReader] = {}
    for part in parts:
        if part.kind == _VERSIONS:
            if part.space_no in found:
                raise BadCheckpoint("two parts of versions of one space")
            clip_no, birth, content = _read_versions(file, part)
            found[part.space_no] = KeptRows(part.dim, bool(part.cosine), clip_no, birth, content)
        elif part.kind in (_PLANES, _HEADS) or part.kind in KINDS:
            rows = found.get(part.space_no)
            if rows is None or (rows.dim, rows.cosine) != (part.dim, bool(part.cosine)):
                raise BadCheckpoint("planes or codes of no space")
            if part.kind == _PLANES:
                rows.planes.append(planes_of(part))
            elif part.kind == _HEADS:
                found[part.space_no] = replace(rows, heads=_read_heads(file, part, rows))
            else:
                reader = learned.setdefault(part.space_no, LearnedReader(part.dim))
                _read_learned(file, part, reader)
    for space_no, rows in found.items():
        if sum(len(planes.head) for planes in rows.planes) != len(rows.clip_no):
            raise BadCheckpoint("not as many planes as versions")
        if space_no in learned:
            found[space_no] = replace(rows, learned=_learned(learned[space_no], rows))
    return found


def _check_moment(parts: list[_Part]) -> None:
    if not parts or parts[-1].kind != _MOMENT:
        raise BadCheckpoint("without a moment")


def _read_moment(file: BinaryIO, part: _Part) -> int:
    moment = np.empty(1, "<u8")
    if part.length != moment.nbytes:
        raise BadCheckpoint("a moment of another length")
    _fill(file, part, [moment])
    return int(moment[0])


def _read_heads(file: BinaryIO, part: _Part, rows: KeptRows) -> Array:
    if part.rows != len(rows.clip_no) or part.length != HEAD.itemsize * part.rows:
        raise BadCheckpoint("heads of another length than their number")
    heads = np.empty(part.rows, HEAD)
    _fill(file, part, [heads])
    return heads


class CheckedFile:
    """A large file that keeps every row of a user, and a thread that compares its rows with their checksums while the
    caller has other things to do.  Its mapped rows stay valid once it is closed.
    """

    def __init__(self, path: Path) -> None:
        """Raises `BadCheckpoint` for a file that has no moment or is otherwise none of this layout, `OSError`, and
        `RuntimeError` where there is no thread to be had.
        """
        self._file = path.open("rb", buffering=0)
        self._failure: Exception | None = None
        self._checked: list[_Part] = []
        self._left = False
        self._sources: dict[int, _Part] = {}
        """What rows that were mapped are of, by the id of their planes."""
        try:
            self._parts, self._owner, self._revision = _read_table(self._file)
            _check_moment(self._parts)
            self._planes = [part for part in self._parts if part.kind == _PLANES]
            # Two threads take them: ours, and who reads.
            self._unchecked = deque(self._planes)
            self._thread = threading.Thread(
                target=self._check, name="memdb-checkpoint", daemon=True
            )
            self._thread.start()
        except BaseException:
            self._file.close()
            raise

    def read(self, owner: bytes, revision: int) -> KeptUser:
        """What the file keeps, its planes mapped; raises as `read_checkpoint`."""
        _check_stated(self._owner, self._revision, owner, revision)
        content = _read_moment(self._file, self._parts[-1])
        spaces = _spaces(self._file, self._parts[:-1], self._mapped)
        self._check()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        if len(self._checked) != len(self._planes):
            raise BadCheckpoint("a block could not be compared with its checksum")
        rows = sum(len(one.clip_no) for one in spaces.values())
        if rows != self._parts[-1].rows:
            raise BadCheckpoint("a moment of other rows")
        return KeptUser(self._revision, content, rows, spaces)

    def copied(self, planes: Planes) -> Planes:
        """The same rows, read into memory and compared with their checksum once more; raises as `read_checkpoint`."""
        part = self._sources.get(id(planes))
        return planes if part is None else _read_planes(self._file, part)

    def close(self) -> None:
        """Leave the rest."""
        self._left = True
        self._thread.join()
        self._file.close()

    def _mapped(self, part: _Part) -> Planes:
        width = _width_of_planes(part)
        if part.offset % _ELEMENT_BYTES:
            return _read_planes(self._file, part)
        begin = part.offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        # One for each block, so that it goes with the last who looks at its rows.
        try:
            mapped = mmap.mmap(
                self._file.fileno(),
                part.offset + part.length - begin,
                mmap.MAP_SHARED,
                mmap.PROT_READ,
                offset=begin,
            )
        except ValueError as error:
            raise BadCheckpoint("a block is cut off") from error
        shape, count = (part.rows, width), part.rows * width
        head = np.frombuffer(mapped, "<u2", count, part.offset - begin).reshape(shape)
        tail = np.frombuffer(mapped, "<i2", count, part.offset - begin + 2 * count).reshape(shape)
        planes = Planes(head, tail, part.residual_max, part.norm_max)
        self._sources[id(planes)] = part
        return planes

    def _check(self) -> None:
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        try:
            while self._unchecked and not self._left:
                part = self._unchecked.popleft()
                self._check_part(part, buffer)
                self._checked.append(part)
        except IndexError:
            pass  # the other thread took the last
        except (BadCheckpoint, OSError) as error:
            self._failure = error

    def _check_part(self, part: _Part, buffer: memoryview) -> None:
        checksum, at, end = xxhash.xxh3_64(), part.offset, part.offset + part.length
        while at < end and not self._left:
            read = os.preadv(self._file.fileno(), [buffer[: end - at]], at)
            if not read:
                raise BadCheckpoint("a block is cut off")
            checksum.update(buffer[:read])
            at += read
        if checksum.intdigest() != part.checksum:
            raise BadCheckpoint("a block does not match its checksum")


def _read_learned(file: BinaryIO, part: _Part, reader: LearnedReader) -> None:
    try:
        arrays = reader.arrays(part.kind, part.rows, part.length)
    except BadBlock as error:
        raise BadCheckpoint(str(error)) from error
    if arrays is not None:
        _fill(file, part, arrays)
        reader.take(part.kind, (part.norm_max, part.residual_max), arrays)


def _learned(reader: LearnedReader, rows: KeptRows) -> KeptLearned | None:
    try:
        return reader.learned(len(rows.clip_no))
    except BadBlock as error:
        raise BadCheckpoint(str(error)) from error


def _read_parts(file: BinaryIO, owner: bytes, revision: int) -> list[_Part]:
    parts, stated_owner, stated_revision = _read_table(file)
    _check_stated(stated_owner, stated_revision, owner, revision)
    return parts


def _check_stated(stated_owner: bytes, stated_revision: int, owner: bytes, revision: int) -> None:
    if stated_owner != owner:
        raise BadCheckpoint("of another user")
    if stated_revision > revision:
        raise BadCheckpoint("newer than the user: an older state of it was put back")


def _read_table(file: BinaryIO) -> tuple[list[_Part], bytes, int]:
    """The parts of a file, its owner and its revision, none of which was compared with anything."""
    size = os.fstat(file.fileno()).st_size
    header = file.read(_HEADER.size)
    if len(header) != _HEADER.size:
        raise BadCheckpoint("shorter than a header")
    magic, version, count, owner, revision, checksum = _HEADER.unpack(header)
    if magic != _MAGIC or version != _VERSION:
        raise BadCheckpoint("not a file of this layout")
    # Before as much is read as it claims.
    if count > _PARTS_MAX or _HEADER.size + count * _PART.size > size:
        raise BadCheckpoint("shorter than its table")
    table = file.read(count * _PART.size)
    zeroed = _HEADER.pack(magic, version, count, owner, revision, 0)
    if xxhash.xxh3_64_intdigest(zeroed + table) != checksum:
        raise BadCheckpoint("header does not match its checksum")
    parts = [_Part(*fields) for fields in _PART.iter_unpack(table)]
    at = _HEADER.size + len(table)
    for part in parts:
        if part.offset != at:
            raise BadCheckpoint("a block is not where the one before ends")
        at += part.length
    if at != size:
        raise BadCheckpoint("of another length than its table says")
    return parts, owner, revision


def _read_versions(file: BinaryIO, part: _Part) -> Array:
    if part.length != 24 * part.rows:
        raise BadCheckpoint("versions of another length than their number")
    block = np.empty((3, part.rows), "<u8")
    _fill(file, part, [block])
    return block


def _width_of_planes(part: _Part) -> int:
    width = padded(part.dim)
    if part.rows > CHUNK_ROWS_MAX or part.length != 4 * part.rows * width:
        raise BadCheckpoint("planes of another length than their number")
    return width


def _read_planes(file: BinaryIO, part: _Part) -> Planes:
    width = _width_of_planes(part)
    head = np.empty((part.rows, width), "<u2")
    tail = np.empty((part.rows, width), "<i2")
    _fill(file, part, [head, tail])
    return Planes(head, tail, part.residual_max, part.norm_max)


def _fill(file: BinaryIO, part: _Part, arrays: list[Array]) -> None:
    """Read a block into arrays, and check what came."""
    checksum, at = xxhash.xxh3_64(), part.offset
    for array in arrays:
        view = memoryview(array.reshape(-1).view(np.uint8).data)
        done = 0
        while done < len(view):
            read = os.preadv(file.fileno(), [view[done:]], at)
            if not read:
                raise BadCheckpoint("a block is cut off")
            done += read
            at += read
        checksum.update(view)
    if checksum.intdigest() != part.checksum:
        raise BadCheckpoint("a block does not match its checksum")
