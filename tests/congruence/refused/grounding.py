"""Groundings."""

from __future__ import annotations

from datetime import UTC, datetime, time
from itertools import repeat

import numpy as np

from memdb import InvalidArgument, NotFound
from memdb.types import limits
from tests.congruence.media import vector
from tests.congruence.refused.bad import BIG, FAR, HUGE, Bad, ground

QUESTIONS: list[Bad] = [
    Bad(
        "stream.unknown", ground(streams=["nope"]), NotFound, "STREAM_NOT_FOUND", "streams", "nope"
    ),
    Bad("space.unknown", ground(space="nope"), NotFound, "SPACE_NOT_FOUND", "space", "nope"),
    Bad(
        "dim",
        ground(feature=np.ones(5, np.float32)),
        InvalidArgument,
        "DIM_MISMATCH",
        "question_feature",
        "5",
    ),
    Bad(
        "dtype",
        ground(feature=np.ones(4, np.int32)),
        InvalidArgument,
        "BAD_DTYPE",
        "question_feature",
        "int32",
    ),
    Bad(
        "nan",
        ground(feature=vector(float("nan"))),
        InvalidArgument,
        "NOT_FINITE",
        "question_feature",
    ),
    Bad(
        "empty",
        ground(feature=np.ones(0, np.float32)),
        InvalidArgument,
        "EMPTY",
        "question_feature",
        "(0,)",
    ),
    Bad(
        "zero",
        ground(feature=np.zeros(4, np.float32)),
        InvalidArgument,
        "ZERO_VECTOR",
        "question_feature",
    ),
    Bad("limit", ground(limit=0), InvalidArgument, "OUT_OF_RANGE", "limit", "0"),
    Bad(
        "limit.max",
        ground(limit=limits.LIMIT_MAX + 1),
        InvalidArgument,
        "OUT_OF_RANGE",
        "limit",
        "1001",
    ),
    Bad("policy", ground(policy="best"), InvalidArgument, "BAD_POLICY", "policy", "best"),
    Bad("fallback", ground(fallback="any"), InvalidArgument, "BAD_FALLBACK", "fallback", "any"),
    Bad(
        "min_score",
        ground(min_score=float("nan")),
        InvalidArgument,
        "OUT_OF_RANGE",
        "min_score",
        "nan",
    ),
    Bad("times", ground(start_ns=2, end_ns=1), InvalidArgument, "TIME_RANGE", "end_ns", "[2, 1)"),
    Bad("rerank", ground(rerank=3), InvalidArgument, "TOKENS_REQUIRED", "rerank", "3"),
    Bad(
        "tokens.dim",
        ground(rerank=3, question_tokens=np.ones((2, 5), np.float32)),
        InvalidArgument,
        "DIM_MISMATCH",
        "question_tokens",
        "5",
    ),
    Bad(
        "min_relevance",
        ground(min_relevance=1.01),
        InvalidArgument,
        "OUT_OF_RANGE",
        "min_relevance",
        "1.01",
    ),
    Bad(
        "relevance.nan",
        ground(min_relevance=float("nan")),
        InvalidArgument,
        "OUT_OF_RANGE",
        "min_relevance",
    ),
    Bad("hours.none", ground(hours=[]), InvalidArgument, "EMPTY", "hours"),
    Bad("hours.type", ground(hours=5), InvalidArgument, "BAD_TYPE", "hours", "int"),
    Bad("hours.text", ground(hours=["22:00"]), InvalidArgument, "BAD_HOURS", "hours[0]", "22:00"),
    Bad("hours.one", ground(hours=[("22:00",)]), InvalidArgument, "BAD_HOURS", "hours[0]"),
    Bad("hours.same", ground(hours=[("05:00", "05:00")]), InvalidArgument, "BAD_HOURS", "hours[0]"),
    Bad(
        "hours.clock",
        ground(hours=[("08:00", "09:00"), ("25:00", "06:00")]),
        InvalidArgument,
        "BAD_HOURS",
        "hours[1]",
        "25:00",
    ),
    Bad(
        "hours.aware",
        ground(hours=[(time(8, tzinfo=UTC), time(9))]),
        InvalidArgument,
        "BAD_HOURS",
        "hours[0]",
    ),
    Bad(
        "hours.endless",
        ground(hours=repeat(("08:00", "09:00"))),
        InvalidArgument,
        "TOO_LARGE",
        "hours",
        "25",
    ),
    Bad("weekdays.none", ground(weekdays=()), InvalidArgument, "EMPTY", "weekdays"),
    Bad("weekdays.text", ground(weekdays="mon"), InvalidArgument, "BAD_TYPE", "weekdays", "mon"),
    Bad("weekday", ground(weekdays=[7]), InvalidArgument, "BAD_WEEKDAY", "weekdays[0]", "7"),
    Bad("weekday.flag", ground(weekdays=[True]), InvalidArgument, "BAD_WEEKDAY", "weekdays[0]"),
    Bad(
        "zone",
        ground(weekdays=[1], zone="Mars/Olympus"),
        InvalidArgument,
        "BAD_ZONE",
        "zone",
        "Mars/Olympus",
    ),
    Bad("zone.path", ground(zone="../etc/passwd"), InvalidArgument, "BAD_ZONE", "zone"),
    Bad("zone.folder", ground(zone="America"), InvalidArgument, "BAD_ZONE", "zone", "America"),
    Bad("zone.local", ground(zone="localtime"), InvalidArgument, "BAD_ZONE", "zone", "localtime"),
    Bad("coverage", ground(with_coverage=2), InvalidArgument, "BAD_TYPE", "with_coverage", "int"),
    Bad("min_score.big", ground(min_score=BIG), InvalidArgument, "OUT_OF_RANGE", "min_score"),
    Bad("limit.huge", ground(limit=HUGE), InvalidArgument, "OUT_OF_RANGE", "limit", "<int>"),
    Bad("streams", ground(streams=5), InvalidArgument, "BAD_TYPE", "streams", "int"),
    Bad("streams.text", ground(streams="door"), InvalidArgument, "BAD_TYPE", "streams", "door"),
    Bad("streams.empty", ground(streams=iter(())), InvalidArgument, "EMPTY", "streams"),
    Bad(
        "streams.endless",
        ground(streams=repeat("door")),
        InvalidArgument,
        "TOO_LARGE",
        "streams",
        "1001",
    ),
    Bad(
        "streams.array",
        ground(streams=np.array(["door", "nope"])),
        NotFound,
        "STREAM_NOT_FOUND",
        "streams",
        "nope",
    ),
    Bad(
        "policy.array",
        ground(policy=np.array(["top", "top"])),
        InvalidArgument,
        "BAD_POLICY",
        "policy",
    ),
    Bad("fallback.none", ground(fallback=None), InvalidArgument, "BAD_FALLBACK", "fallback"),
    Bad(
        "flag",
        ground(with_short_memory=np.ones(2)),
        InvalidArgument,
        "BAD_TYPE",
        "with_short_memory",
        "ndarray",
    ),
    Bad(
        "start",
        ground(start_ns=datetime(1, 1, 1, tzinfo=UTC)),
        InvalidArgument,
        "TIME_RANGE",
        "start_ns",
    ),
    Bad(
        "end", ground(end_ns=FAR), InvalidArgument, "TIME_RANGE", "end_ns", "253370764800000000000"
    ),
]
