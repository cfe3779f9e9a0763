"""The memory above single clips: day vectors for the past, hour vectors for the recent, within a
token budget.

At the newest revision the buckets come from the store, where the commit that seals a clip keeps
them.  As of an earlier revision they are summed again from the rows alive then, in the same order
and precision, so both ways agree.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from memdb.engine.pyramid import LENGTHS_NS, LEVEL_NAMES, Bucket, bucket_start, read_bucket
from memdb.engine.view import View
from memdb.index.partition import Filter, PartitionView
from memdb.store import schema
from memdb.store.environment import Environment, Transaction
from memdb.store.records import CountersRecord, unpack
from memdb.store.schema import DAY, HOUR, META_COUNTERS, Table
from memdb.types.fact import LongTermMemory, MemorySpan


@dataclass(frozen=True, slots=True, eq=False)
class _Token:
    start_ns: int
    stream_no: int
    level: int
    bucket: Bucket


Buckets = dict[tuple[int, int, int], Bucket]
"""(stream_no, level, start_ns) -> bucket."""


def long_term(
    environment: Environment,
    view: View,
    stream_nos: tuple[int, ...] | None,
    space_no: int,
    as_of: int | None,
    max_tokens: int,
) -> LongTermMemory:
    """At most ``max_tokens`` tokens of the space, oldest first."""
    space = view.state.spaces[space_no]
    wanted = {
        stream.no
        for stream in view.state.streams.values()
        if stream.space_no == space_no and (stream_nos is None or stream.no in stream_nos)
    }
    revision = view.revision if as_of is None else as_of
    partition = view.partitions.get(space_no)
    if partition is None:
        buckets: Buckets = {}
    elif as_of is None:
        # Only when no commit came between the view and the transaction are the buckets the view's.
        buckets = _stored(environment, wanted, revision) or summed_buckets(
            partition, wanted, revision
        )
    else:
        buckets = summed_buckets(partition, wanted, as_of)
    tokens = _within_budget(buckets, max_tokens)
    names = view.state.stream_names
    cosine = space.metric == "cosine"
    matrix = np.empty((len(tokens), space.dim), np.float32)
    for row, token in enumerate(tokens):
        matrix[row] = token.bucket.token(cosine=cosine)
    matrix.flags.writeable = False
    spans = tuple(
        MemorySpan(
            names[token.stream_no],
            LEVEL_NAMES[token.level],
            token.start_ns,
            token.start_ns + LENGTHS_NS[token.level],
            token.bucket.clips,
        )
        for token in tokens
    )
    return LongTermMemory(matrix, spans, space.name, revision)


def _stored(environment: Environment, wanted: set[int], revision: int) -> Buckets | None:
    """The stored buckets, None when the store is past ``revision``."""
    with environment.read() as txn:
        buckets = stored_buckets(txn, wanted)
        counters = txn.get(Table.META, META_COUNTERS)
        assert counters is not None, "an open user has counters"
        stored_revision = unpack(Table.META, META_COUNTERS, counters, CountersRecord).revision
    return buckets if stored_revision == revision else None


def stored_buckets(txn: Transaction, wanted: set[int]) -> Buckets:
    """The buckets of the streams ``wanted`` as they are stored; raises `DataLoss`."""
    return {
        schema.split_pyramid_key(key): read_bucket(key, stored)
        for stream_no in sorted(wanted)
        for key, stored in txn.scan(Table.PYRAMID, schema.number_key(stream_no))
    }


def summed_buckets(partition: PartitionView, wanted: set[int], as_of: int) -> Buckets:
    """The buckets of the streams ``wanted``, summed from the sealed rows alive at ``as_of``."""
    allowed = partition.allowed(Filter(tuple(sorted(wanted)), sealed_only=True), as_of)
    rows = np.arange(partition.rows) if allowed is None else np.flatnonzero(allowed)
    column = partition.columns
    buckets: Buckets = {}
    sums: defaultdict[tuple[int, int, int], list[int]] = defaultdict(list)
    for row in rows.tolist():
        for level in (HOUR, DAY):
            start = bucket_start(int(column["start_ns"][row]), level)
            sums[int(column["stream_no"][row]), level, start].append(row)
    for key, members in sums.items():
        total = np.zeros(partition.dim)
        for vector in partition.matrix.take(np.array(members)):
            total += vector.astype(np.float64)
        buckets[key] = Bucket(len(members), total)
    return buckets


def _within_budget(buckets: Buckets, max_tokens: int) -> list[_Token]:
    """Hours of the newest days, whole days before them; when days alone are too many, the newest
    days.
    """
    days: defaultdict[int, list[_Token]] = defaultdict(list)
    hours: defaultdict[int, list[_Token]] = defaultdict(list)
    for (stream_no, level, start_ns), bucket in buckets.items():
        day = bucket_start(start_ns, DAY)
        (days if level == DAY else hours)[day].append(_Token(start_ns, stream_no, level, bucket))
    chosen: list[_Token] = []
    left = max_tokens
    needed_by_days = sum(len(tokens) for tokens in days.values())
    for day in sorted(days, reverse=True):
        needed_by_days -= len(days[day])
        fine = hours[day]
        taken = fine if len(fine) + needed_by_days <= left else days[day]
        chosen.extend(sorted(taken, key=lambda token: -token.start_ns)[:left])
        left -= len(taken)
        if left <= 0:
            break
    return sorted(chosen, key=lambda token: (token.start_ns, token.stream_no, token.level))
