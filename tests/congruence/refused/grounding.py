"""Groundings."""

from __future__ import annotations

from datetime import UTC, datetime
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
    Bad("weighting", ground(weighting="tf"), InvalidArgument, "BAD_WEIGHTING", "weighting", "tf"),
    Bad(
        "tokens.many",
        ground(rerank=3, question_tokens=np.ones((100_000, 4), np.float32)),
        InvalidArgument,
        "BAD_SHAPE",
        "question_tokens",
        "(100000, 4)",
    ),
    Bad(
        "standalone.none",
        ground(policy="tokens", feature=None),
        InvalidArgument,
        "TOKENS_REQUIRED",
        "policy",
        "tokens",
    ),
    Bad(
        "standalone.dim",
        ground(policy="tokens", feature=None, question_tokens=np.ones((2, 5), np.float32)),
        InvalidArgument,
        "DIM_MISMATCH",
        "question_tokens",
        "5",
    ),
    Bad(
        "standalone.zero",
        ground(policy="tokens", feature=None, question_tokens=np.zeros((2, 4), np.float32)),
        InvalidArgument,
        "ZERO_VECTOR",
        "question_tokens",
    ),
    Bad(
        "standalone.feature",
        ground(policy="tokens", question_tokens=np.ones((2, 4), np.float32)),
        InvalidArgument,
        "NOT_USED",
        "question_feature",
    ),
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
