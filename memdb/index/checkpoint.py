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
(`memdb.index.checked_file`): before, all of it is compared with its checksums through a buffer, so that a disk that
fails is an error and no signal; soon after, its rows are read into memory, and compared once more.  A file under its
name is never written to or cut short, only removed and replaced.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import BinaryIO, Final, NamedTuple

import numpy as np
import xxhash

from memdb.index.learned import KeptLearned
from memdb.index.matrix import Matrix
from memdb.index.planes import Planes
from memdb.types.arrays import Array

_MAGIC: Final = b"mdbindex"
_VERSION: Final = 1
HEADER: Final = struct.Struct("<8sII16sQQ")
PART: Final = struct.Struct("<IIIIQQQQdd")
VERSIONS: Final = 1
PLANES: Final = 2
HEADS: Final = 6
MOMENT: Final = 7
_PARTS_MAX: Final = 1 << 20

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


class Part(NamedTuple):
    """A block, as the table tells it."""

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


def packed_head(owner: bytes, revision: int, parts: list[Part]) -> bytes:
    """The header of a file and its table of parts."""
    table = b"".join(PART.pack(*part) for part in parts)
    zeroed = HEADER.pack(_MAGIC, _VERSION, len(parts), owner, revision, 0)
    checksum = xxhash.xxh3_64_intdigest(zeroed + table)
    return HEADER.pack(_MAGIC, _VERSION, len(parts), owner, revision, checksum) + table


def check_stated(stated_owner: bytes, stated_revision: int, owner: bytes, revision: int) -> None:
    """Raise `BadCheckpoint` unless a file states that it is of this user, and of no later revision."""
    if stated_owner != owner:
        raise BadCheckpoint("of another user")
    if stated_revision > revision:
        raise BadCheckpoint("newer than the user: an older state of it was put back")


def read_table(file: BinaryIO) -> tuple[list[Part], bytes, int]:
    """The parts of a file, its owner and its revision, none of which was compared with anything.

    Raises `BadCheckpoint` for what is no whole file of this layout, `OSError` as the system does.
    """
    size = os.fstat(file.fileno()).st_size
    header = file.read(HEADER.size)
    if len(header) != HEADER.size:
        raise BadCheckpoint("shorter than a header")
    magic, version, count, owner, revision, checksum = HEADER.unpack(header)
    if magic != _MAGIC or version != _VERSION:
        raise BadCheckpoint("not a file of this layout")
    # Before as much is read as it claims.
    if count > _PARTS_MAX or HEADER.size + count * PART.size > size:
        raise BadCheckpoint("shorter than its table")
    table = file.read(count * PART.size)
    zeroed = HEADER.pack(magic, version, count, owner, revision, 0)
    if xxhash.xxh3_64_intdigest(zeroed + table) != checksum:
        raise BadCheckpoint("header does not match its checksum")
    parts = [Part(*fields) for fields in PART.iter_unpack(table)]
    at = HEADER.size + len(table)
    for part in parts:
        if part.offset != at:
            raise BadCheckpoint("a block is not where the one before ends")
        at += part.length
    if at != size:
        raise BadCheckpoint("of another length than its table says")
    return parts, owner, revision
