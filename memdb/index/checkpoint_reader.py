"""Reading a checkpoint of an index (`memdb.index.checkpoint`): every byte is compared with its checksum first."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import xxhash

from memdb.index.checkpoint import (
    HEAD,
    HEADS,
    MOMENT,
    PLANES,
    VERSIONS,
    BadCheckpoint,
    KeptRows,
    Part,
    check_stated,
    read_table,
)
from memdb.index.kept_learned import KINDS, BadBlock, LearnedReader
from memdb.index.learned import KeptLearned
from memdb.index.matrix import CHUNK_ROWS_MAX
from memdb.index.planes import Planes, padded
from memdb.types.arrays import Array


def read_checkpoint(path: Path, owner: bytes, revision: int) -> dict[int, KeptRows]:
    """What a file keeps, by space number, every byte of it checked.

    Raises `BadCheckpoint` for one that is of another user, version or layout, of a later ``revision``, or
    damaged; `OSError` as the system does.
    """
    with path.open("rb", buffering=0) as file:
        parts, stated_owner, stated_revision = read_table(file)
        check_stated(stated_owner, stated_revision, owner, revision)
        for part in parts:
            if part.kind == MOMENT:
                read_moment(file, part)  # of no use here, but nothing that is damaged is used
        return spaces_of(file, parts, lambda part: read_planes(file, part))


def spaces_of(
    file: BinaryIO, parts: list[Part], planes_of: Callable[[Part], Planes]
) -> dict[int, KeptRows]:
    """What the parts of a file keep, by space number, planes as ``planes_of`` gives them; raises `BadCheckpoint`."""
    found: dict[int, KeptRows] = {}
    learned: dict[int, LearnedReader] = {}
    for part in parts:
        if part.kind == VERSIONS:
            if part.space_no in found:
                raise BadCheckpoint("two parts of versions of one space")
            clip_no, birth, content = _read_versions(file, part)
            found[part.space_no] = KeptRows(part.dim, bool(part.cosine), clip_no, birth, content)
        elif part.kind in (PLANES, HEADS) or part.kind in KINDS:
            rows = found.get(part.space_no)
            if rows is None or (rows.dim, rows.cosine) != (part.dim, bool(part.cosine)):
                raise BadCheckpoint("planes or codes of no space")
            if part.kind == PLANES:
                rows.planes.append(planes_of(part))
            elif part.kind == HEADS:
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


def read_moment(file: BinaryIO, part: Part) -> int:
    """`KeptUser.log_content`; raises `BadCheckpoint`."""
    moment = np.empty(1, "<u8")
    if part.length != moment.nbytes:
        raise BadCheckpoint("a moment of another length")
    _fill(file, part, [moment])
    return int(moment[0])


def _read_heads(file: BinaryIO, part: Part, rows: KeptRows) -> Array:
    if part.rows != len(rows.clip_no) or part.length != HEAD.itemsize * part.rows:
        raise BadCheckpoint("heads of another length than their number")
    heads = np.empty(part.rows, HEAD)
    _fill(file, part, [heads])
    return heads


def _read_learned(file: BinaryIO, part: Part, reader: LearnedReader) -> None:
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


def _read_versions(file: BinaryIO, part: Part) -> Array:
    if part.length != 24 * part.rows:
        raise BadCheckpoint("versions of another length than their number")
    block = np.empty((3, part.rows), "<u8")
    _fill(file, part, [block])
    return block


def width_of_planes(part: Part) -> int:
    """Elements of a row, padded; raises `BadCheckpoint` for a block of another length than its rows have."""
    width = padded(part.dim)
    if part.rows > CHUNK_ROWS_MAX or part.length != 4 * part.rows * width:
        raise BadCheckpoint("planes of another length than their number")
    return width


def read_planes(file: BinaryIO, part: Part) -> Planes:
    """The rows of a block, in memory; raises `BadCheckpoint`."""
    width = width_of_planes(part)
    head = np.empty((part.rows, width), "<u2")
    tail = np.empty((part.rows, width), "<i2")
    _fill(file, part, [head, tail])
    return Planes(head, tail, part.residual_max, part.norm_max)


def _fill(file: BinaryIO, part: Part, arrays: list[Array]) -> None:
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
