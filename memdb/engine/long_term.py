"""The memory above single clips: day vectors for the past, hour vectors for the recent, within a
token budget.

At the newest revision the buckets come from the user's pyramid, which keeps the sums of large ones.  As of an
earlier revision they are summed again from the rows alive then, in the same order and precision, so both ways
agree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from memdb.engine.hydrate import ClipGone
from memdb.engine.pyramid import (
    DAY,
    LENGTHS_NS,
    LEVEL_NAMES,
    Bucket,
    Buckets,
    Choice,
    Place,
    add_rows,
    bucket_start,
    grouped,
)
from memdb.engine.view import View
from memdb.errors import ResourceExhausted
from memdb.index.partition import Filter, PartitionView
from memdb.types.arrays import Array
from memdb.types.fact import LongTermMemory, MemorySpan
from memdb.types.space import Space


def long_term(
    view: View,
    stream_nos: tuple[int, ...] | None,
    space_no: int,
    as_of: int | None,
    max_tokens: int,
    answer_bytes_max: int | None = None,
    *,
    may_sum: bool = True,
) -> LongTermMemory:
    """At most ``max_tokens`` tokens of the space, oldest first.

    may_sum: whether to sum anew where the pyramid is past the view; a newer view costs less.

    Which hours and days these are is known before any of them is summed: a year of many cameras has
    more of them than memory holds.

    Raises `ResourceExhausted` (``MESSAGE_TOO_LARGE``) above ``answer_bytes_max``, `ClipGone` where it
    may not sum.
    """
    space = view.state.spaces[space_no]
    wanted = {
        stream.no
        for stream in view.state.streams.values()
        if stream.space_no == space_no and (stream_nos is None or stream.no in stream_nos)
    }
    revision = view.revision if as_of is None else as_of
    partition = view.partitions.get(space_no)

    def choose(places: Iterable[Place]) -> list[Place]:
        chosen = _within_budget(places, max_tokens)
        if answer_bytes_max is not None and len(chosen) * 4 * space.dim > answer_bytes_max:
            raise ResourceExhausted(
                f"the answer has more than {answer_bytes_max} bytes; ask for fewer tokens",
                reason="MESSAGE_TOO_LARGE",
                field="max_tokens",
                value=max_tokens,
            )
        return chosen

    buckets: Buckets | None = {}
    if partition is not None:
        buckets = None
        if as_of is None:
            buckets = view.pyramid.buckets(space_no, partition, revision, wanted, choose)
        if buckets is None:
            if as_of is None and not may_sum:
                raise ClipGone
            buckets = _summed(partition, wanted, revision, choose)
    tokens = sorted((buckets or {}).items(), key=lambda item: (item[0][2], item[0][0], item[0][1]))
    names = view.state.stream_names
    cosine = space.metric == "cosine"
    matrix = np.empty((len(tokens), space.dim), np.float32)
    for row, (_, bucket) in enumerate(tokens):
        matrix[row] = bucket.token(cosine=cosine)
    matrix.flags.writeable = False
    spans = tuple(
        MemorySpan(
            names[stream_no],
            LEVEL_NAMES[level],
            start_ns,
            start_ns + LENGTHS_NS[level],
            bucket.clips,
        )
        for (stream_no, level, start_ns), bucket in tokens
    )
    return LongTermMemory(matrix, spans, space.name, revision)


def nothing_remembered(space: Space, revision: int) -> LongTermMemory:
    """That of a user who has no stream in the space."""
    tokens = np.empty((0, space.dim), np.float32)
    tokens.flags.writeable = False
    return LongTermMemory(tokens, (), space.name, revision)


def summed_buckets(partition: PartitionView, wanted: set[int], as_of: int) -> Buckets:
    """The buckets of the streams ``wanted``, summed from the sealed rows alive at ``as_of``."""
    return _sums(partition, _members(partition, wanted, as_of))


def _summed(partition: PartitionView, wanted: set[int], as_of: int, choose: Choice) -> Buckets:
    """Those of `summed_buckets` that are chosen."""
    members = _members(partition, wanted, as_of)
    return _sums(partition, {place: members[place] for place in choose(members)})


def _members(partition: PartitionView, wanted: set[int], as_of: int) -> dict[Place, Array]:
    """The rows of each bucket, ascending."""
    allowed = partition.allowed(Filter(tuple(sorted(wanted)), sealed_only=True), as_of)
    rows = np.arange(partition.rows) if allowed is None else np.flatnonzero(allowed)
    return grouped(partition.columns, rows)


def _sums(partition: PartitionView, members: dict[Place, Array]) -> Buckets:
    buckets: Buckets = {}
    for place, rows in members.items():
        total = np.zeros(partition.dim)
        add_rows(total, partition.matrix, rows)
        buckets[place] = Bucket(len(rows), total)
    return buckets


def _within_budget(places: Iterable[Place], max_tokens: int) -> list[Place]:
    """Hours of the newest days, whole days before them; when days alone are too many, the newest
    days.
    """
    days: defaultdict[int, list[Place]] = defaultdict(list)
    hours: defaultdict[int, list[Place]] = defaultdict(list)
    for place in places:
        _, level, start_ns = place
        (days if level == DAY else hours)[bucket_start(start_ns, DAY)].append(place)
    chosen: list[Place] = []
    left = max_tokens
    needed_by_days = sum(len(tokens) for tokens in days.values())
    for day in sorted(days, reverse=True):
        needed_by_days -= len(days[day])
        fine = hours[day]
        taken = fine if len(fine) + needed_by_days <= left else days[day]
        # In one order, wherever they come from: the last that fit are the same ever after.
        chosen.extend(sorted(taken, key=lambda place: (-place[2], place[0]))[:left])
        left -= len(taken)
        if left <= 0:
            break
    return chosen
