"""Reading clips by time and by id."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from memdb import deadline
from memdb.engine.calendar_rows import within_calendar
from memdb.engine.footage import searched_streams
from memdb.engine.hydrate import USUAL, Parts, clip_bytes, clip_no_of, load_clip
from memdb.engine.view import View
from memdb.errors import DataLoss, NotFound
from memdb.index.partition import Filter, PartitionView
from memdb.store import clips
from memdb.store.records import LedgerRecord, unpack
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.arrays import Array
from memdb.types.calendar import Calendar
from memdb.types.clip import StoredClip
from memdb.types.limits import TIME_NS_MAX, TIME_NS_MIN
from memdb.types.tensor import EncodedTensor

_CURSOR_START: Final = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)


def list_clips(
    txn: Transaction,
    view: View,
    which: Filter,
    as_of: int | None,
    after: str | None,
    limit: int,
    page_bytes: int | None = None,
    calendar: Calendar | None = None,
    parts: Parts = USUAL,
    *,
    newest_first: bool = False,
) -> list[StoredClip]:
    """At most ``limit`` clips, by start time and number (or backwards), after the clip with that cursor or id; no
    more once they have ``page_bytes``.

    Raises `NotFound` (``CLIP_NOT_FOUND``, field ``after``).
    """
    found = [
        # Each by itself: of numbers with a sign and without numpy makes floats, which know a time of today to 256 ns.
        np.stack(
            [
                partition.columns[name][rows].astype(np.int64)
                for name in ("start_ns", "clip_no", "birth")
            ]
        )
        for space_no, partition in view.partitions.items()
        for allowed in (_admitted(view, space_no, partition, which, as_of, calendar),)
        for rows in (slice(None) if allowed is None else allowed,)
    ]
    if not found:
        return []
    start_ns, clip_no, birth = np.concatenate(found, axis=1)
    # Both as far from the smallest number as from the largest, so their opposites are numbers as well.
    sign = -1 if newest_first else 1
    by_time, by_no = sign * start_ns, sign * clip_no
    if after is not None:
        after_ns, no = _place(txn, view, after, as_of)
        time, number = sign * after_ns, sign * no
        later = np.flatnonzero((by_time > time) | ((by_time == time) & (by_no > number)))
        by_time, by_no = by_time[later], by_no[later]
        clip_no, birth = clip_no[later], birth[later]
    page: list[StoredClip] = []
    size = 0
    for row in _in_order(by_time, by_no, limit):
        if len(page) == limit:
            break
        deadline.check()
        try:
            page.append(load_clip(txn, view.state, int(clip_no[row]), int(birth[row]), parts))
        except DataLoss as error:
            # Told by the gaps of its stream from now on; the others are listed all the same.
            view.note_damaged_version(int(clip_no[row]), int(birth[row]), error)
            continue
        if page_bytes is not None:
            size += clip_bytes(page[-1])
            if size >= page_bytes:
                break
    return page


def count_clips(view: View, which: Filter, as_of: int | None, calendar: Calendar | None) -> int:
    """How many clips `list_clips` would list in all; none is read.

    Raises `FailedPrecondition` (``ZONE_UNKNOWN``).
    """
    clips = 0
    for space_no, partition in view.partitions.items():
        deadline.check()
        allowed = _admitted(view, space_no, partition, which, as_of, calendar)
        clips += partition.rows if allowed is None else int(np.count_nonzero(allowed))
    return clips


def _admitted(
    view: View,
    space_no: int,
    partition: PartitionView,
    which: Filter,
    as_of: int | None,
    calendar: Calendar | None,
) -> Array | None:
    """(rows,) bool of the rows that may be listed, None for all; raises `FailedPrecondition` (``ZONE_UNKNOWN``)."""
    allowed = partition.allowed(which, as_of)
    if calendar is None:
        return allowed
    revision = view.revision if as_of is None else as_of
    streams = searched_streams(view.state, which.stream_nos, space_no, revision)
    return within_calendar(calendar, partition, allowed, streams)


def _in_order(start_ns: Array, clip_no: Array, limit: int) -> Iterator[int]:
    """Places of clips by start time and number; the rest is not sorted before it is asked for: a page is
    one of many, and sorting all for each would take hours.
    """
    rest = np.arange(len(start_ns))
    if limit < len(rest):
        last = np.partition(start_ns, limit)[limit]
        first = np.flatnonzero(start_ns <= last)
        yield from first[np.lexsort((clip_no[first], start_ns[first]))].tolist()
        rest = np.flatnonzero(start_ns > last)
    yield from rest[np.lexsort((clip_no[rest], start_ns[rest]))].tolist()


def get_clip(
    txn: Transaction,
    view: View,
    clip_id: str,
    as_of: int | None,
    parts: Parts,
    field: str = "clip_id",
) -> StoredClip:
    """One clip by id; raises `NotFound` (``CLIP_NOT_FOUND``) of ``field``, `DataLoss`."""
    no, birth = _version(txn, view, clip_id, as_of, field)
    try:
        return load_clip(txn, view.state, no, birth, parts)
    except DataLoss as error:
        view.note_damaged_version(no, birth, error)
        raise


def get_clips(
    txn: Transaction,
    view: View,
    clip_ids: Sequence[str],
    first: int,
    as_of: int | None,
    parts: Parts,
    page_bytes: int | None = None,
) -> list[StoredClip]:
    """The clips of the ids from place ``first`` on, in their order; no more once they have ``page_bytes``.

    Raises `NotFound` (``CLIP_NOT_FOUND``) naming the id's place, `DataLoss`.
    """
    page: list[StoredClip] = []
    size = 0
    for index in range(first, len(clip_ids)):
        deadline.check()
        page.append(get_clip(txn, view, clip_ids[index], as_of, parts, f"clip_ids[{index}]"))
        if page_bytes is not None:
            size += clip_bytes(page[-1])
            if size >= page_bytes:
                break
    return page


def get_short_memory(
    txn: Transaction, view: View, clip_ids: Sequence[str], as_of: int | None, first: int = 0
) -> list[EncodedTensor]:
    """The short-term memory of each clip, as it is stored.

    first: the place of the first id among those that the caller was asked for.

    Raises `NotFound` (``CLIP_NOT_FOUND``, ``NO_SHORT_MEMORY``) naming the id's place, `DataLoss`.
    """
    revision = view.revision if as_of is None else as_of
    tensors: list[EncodedTensor] = []
    for index, clip_id in enumerate(clip_ids, first):
        tensor = _at_known_place(txn, view, clip_id, revision)
        if tensor is not None:
            tensors.append(tensor)
            continue
        field = f"clip_ids[{index}]"
        no = clip_no_of(view.state, clip_id, field)
        try:
            found = clips.record_at(txn, no, revision)
            if found is None:
                raise NotFound("no such clip", reason="CLIP_NOT_FOUND", field=field, value=clip_id)
            birth, record = found
            tensor = clips.short_memory_of(txn, no, birth, record)
        except DataLoss as error:
            damaged = clips.version_at(txn, no, revision)
            view.note_damaged_version(no, damaged or 0, error)
            raise
        if tensor is None:
            raise NotFound(
                "the clip has no short-term memory: it was written without, or retention gave it up",
                reason="NO_SHORT_MEMORY",
                field=field,
                value=clip_id,
            )
        if record.sealed:  # the last of its versions: whatever is asked as of, it stays there
            view.kept.put_place(clip_id, clips.tensor_place(no, birth, tensor))
        tensors.append(tensor)
    return tensors


def _at_known_place(
    txn: Transaction, view: View, clip_id: str, revision: int
) -> EncodedTensor | None:
    """The short-term memory of a clip that was read before, without its record; None where the record
    must say what is there, or what is wrong.
    """
    place = view.kept.places.get(clip_id)
    if place is None or place.birth > revision:
        return None
    try:
        return clips.tensor_at(txn, place)
    except DataLoss:
        return None  # told by who looks at the record


def _place(txn: Transaction, view: View, after: str, as_of: int | None) -> tuple[int, int]:
    """(start, clip number) behind a cursor or an id.

    A cursor says its place itself: a clip that was removed since has one still.
    """
    start, colon, clip_id = after.rpartition(":")
    no = clip_no_of(view.state, clip_id, "after")
    if colon:
        if not _CURSOR_START.fullmatch(start) or not TIME_NS_MIN <= int(start) <= TIME_NS_MAX:
            raise NotFound("no such clip", reason="CLIP_NOT_FOUND", field="after", value=after)
        return int(start), no
    found = clips.record_at(txn, no, view.revision if as_of is None else as_of)
    if found is not None:
        return found[1].start_ns, no
    start_ns = _start_of_given_up(txn, no)
    if start_ns is None:
        raise NotFound("no such clip", reason="CLIP_NOT_FOUND", field="after", value=after)
    return start_ns, no


def _start_of_given_up(txn: Transaction, clip_no: int) -> int | None:
    """When a clip began that retention gave up; of one that was erased nobody knows.

    Reads the ledger from its beginning: for the few who page by ids while a sweep is on.
    """
    for key, stored in txn.scan(Table.LEDGER):
        try:
            row = unpack(Table.LEDGER, key, stored, LedgerRecord)
        except DataLoss:
            continue  # of another number, as far as anyone can tell
        if row.clip_no == clip_no:
            return row.start_ns
    return None


def _version(
    txn: Transaction, view: View, clip_id: str, as_of: int | None, field: str
) -> tuple[int, int]:
    """(clip number, birth) of the version behind an id."""
    no = clip_no_of(view.state, clip_id, field)
    birth = clips.version_at(txn, no, view.revision if as_of is None else as_of)
    if birth is None:
        raise NotFound("no such clip", reason="CLIP_NOT_FOUND", field=field, value=clip_id)
    return no, birth
