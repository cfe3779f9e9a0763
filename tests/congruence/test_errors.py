"""Bad input: the same class, reason, field and value on every transport, and nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import repeat
from typing import Any, cast

import numpy as np
import pytest
import xxhash
import zstandard

from memdb import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    Keyframe,
    MemdbError,
    NotFound,
    Snapshot,
    SoundEvent,
    Unavailable,
    Utterance,
)
from memdb.types import limits
from memdb.types.database import Database, User
from memdb.types.tensor import Codec, EncodedTensor
from tests.congruence.media import SECOND_NS, T0_NS, clip, vector

pytestmark = pytest.mark.congruence

NOBODYS_ID = "0" * 32


@dataclass(frozen=True)
class Bad:
    """A call that must fail, and how."""

    name: str
    call: Callable[[Any, Any], Any]
    """Of a `Database` and a `User`; untyped, since most arguments are of a wrong type."""
    error: type[MemdbError]
    reason: str
    field: str | None
    value: str | None = None


def write(**fields: Any) -> Callable[[Database, User], Any]:
    """Write a clip to the stream that exists; it is made only when the test runs."""
    return lambda db, user: user.stream("door").write(clip(**{"seq": 5, **fields}))


def tensor(
    shape: tuple[int, ...], payload: Any, codec: Any = Codec.F16, **fields: Any
) -> EncodedTensor:
    checksum = fields["checksum"] if fields else xxhash.xxh3_64_intdigest(payload)
    return EncodedTensor(codec, shape, payload, checksum)


def ground(**options: Any) -> Callable[[Database, User], Any]:
    feature = options.pop("feature", vector(1))
    return lambda db, user: user.ground(feature, **options)


def rewritten(**fields: Any) -> Callable[[Database, User], Any]:
    """Write again what was read, with fields that nobody checked."""

    def write_again(db: Database, user: User) -> Any:
        return user.stream("door").write(replace(user.clips()[0], **fields))

    return write_again


def send(user: User, what: Any) -> None:
    with user.stream("door").ingest() as writer:
        writer.send(what)


BAD_ID = "../etc/passwd"
LONG_ID = "x" * 64

IDS = [
    Bad(
        "user",
        lambda db, user: db.user(BAD_ID).revision(),
        InvalidArgument,
        "BAD_ID",
        "user",
        BAD_ID,
    ),
    Bad(
        "user.long",
        lambda db, user: db.user(LONG_ID).revision(),
        InvalidArgument,
        "BAD_ID",
        "user",
        LONG_ID,
    ),
    Bad(
        "user.empty", lambda db, user: db.user("").revision(), InvalidArgument, "BAD_ID", "user", ""
    ),
    Bad(
        "stream",
        lambda db, user: user.stream(".hidden").create(),
        InvalidArgument,
        "BAD_ID",
        "stream",
        ".hidden",
    ),
    Bad(
        "stream.space",
        lambda db, user: user.stream("a", space="a b"),
        InvalidArgument,
        "BAD_ID",
        "space",
        "a b",
    ),
    Bad(
        "space",
        lambda db, user: db.create_space("a/b", dim=4),
        InvalidArgument,
        "BAD_ID",
        "space.name",
        "a/b",
    ),
    Bad(
        "space.get", lambda db, user: db.space("nope"), NotFound, "SPACE_NOT_FOUND", "space", "nope"
    ),
    Bad(
        "snapshot",
        lambda db, user: user.snapshot("é"),
        InvalidArgument,
        "BAD_ID",
        "snapshot",
        "\\xe9",
    ),
    Bad(
        "release", lambda db, user: user.release("-x"), InvalidArgument, "BAD_ID", "snapshot", "-x"
    ),
    Bad(
        "as_of", lambda db, user: user.clips(as_of="a b"), InvalidArgument, "BAD_ID", "as_of", "a b"
    ),
    Bad(
        "text_space",
        lambda db, user: user.configure(text_space=" "),
        InvalidArgument,
        "BAD_ID",
        "text_space",
        " ",
    ),
    Bad("clip", lambda db, user: user.clip("nope"), NotFound, "CLIP_NOT_FOUND", "clip_id", "nope"),
    Bad(
        "clip.other",
        lambda db, user: user.clip(NOBODYS_ID),
        NotFound,
        "CLIP_NOT_FOUND",
        "clip_id",
        NOBODYS_ID,
    ),
    Bad(
        "clips",
        lambda db, user: user.short_memory([NOBODYS_ID]),
        NotFound,
        "CLIP_NOT_FOUND",
        "clip_ids[0]",
        NOBODYS_ID,
    ),
    Bad(
        "after",
        lambda db, user: user.clips(after="nope"),
        NotFound,
        "CLIP_NOT_FOUND",
        "after",
        "nope",
    ),
    Bad(
        "fact", lambda db, user: user.history("nope"), NotFound, "FACT_NOT_FOUND", "fact_id", "nope"
    ),
    Bad(
        "forget",
        lambda db, user: user.forget(NOBODYS_ID),
        NotFound,
        "FACT_NOT_FOUND",
        "fact_id",
        NOBODYS_ID,
    ),
    Bad(
        "revise",
        lambda db, user: user.revise("nope", text="x"),
        NotFound,
        "FACT_NOT_FOUND",
        "fact_id",
        "nope",
    ),
]

UNKNOWN = [
    Bad(
        "user",
        lambda db, user: db.user("nobody").clips(),
        NotFound,
        "USER_NOT_FOUND",
        "user",
        "nobody",
    ),
    Bad(
        "user.write",
        lambda db, user: db.user("nobody").stream("a").write(clip(0)),
        NotFound,
        "USER_NOT_FOUND",
        "user",
        "nobody",
    ),
    Bad(
        "stream.write",
        lambda db, user: user.stream("nope").write(clip(0)),
        NotFound,
        "STREAM_NOT_FOUND",
        "stream",
        "nope",
    ),
    Bad(
        "stream.read",
        lambda db, user: user.clips(stream="nope"),
        NotFound,
        "STREAM_NOT_FOUND",
        "streams",
        "nope",
    ),
    Bad(
        "stream.gaps",
        lambda db, user: user.stream("nope").gaps(),
        NotFound,
        "STREAM_NOT_FOUND",
        "streams",
        "nope",
    ),
    Bad("stream.ground", ground(streams=["nope"]), NotFound, "STREAM_NOT_FOUND", "streams", "nope"),
    Bad(
        "space.write",
        lambda db, user: user.stream("x", space="nope").write(clip(0)),
        NotFound,
        "SPACE_NOT_FOUND",
        "space",
        "nope",
    ),
    Bad("space.ground", ground(space="nope"), NotFound, "SPACE_NOT_FOUND", "space", "nope"),
    Bad(
        "space.text",
        lambda db, user: user.configure(text_space="nope"),
        NotFound,
        "SPACE_NOT_FOUND",
        "space",
        "nope",
    ),
    Bad("snapshot", ground(as_of="nope"), NotFound, "SNAPSHOT_NOT_FOUND", "as_of", "nope"),
    Bad("revision", ground(as_of=10**6), NotFound, "REVISION_NOT_FOUND", "as_of", "1000000"),
    Bad(
        "min_revision", ground(min_revision=10**6), Unavailable, "BEHIND", "min_revision", "1000000"
    ),
    Bad(
        "evidence",
        lambda db, user: user.remember("x", evidence=[NOBODYS_ID]),
        NotFound,
        "CLIP_NOT_FOUND",
        "evidence[0]",
        NOBODYS_ID,
    ),
]

FRAME = zstandard.ZstdCompressor().compress(bytes(8))

CLIPS = [
    Bad(
        "dim",
        write(memory=np.ones(5, np.float32)),
        InvalidArgument,
        "DIM_MISMATCH",
        "clip.global_memory",
        "5",
    ),
    Bad(
        "dtype",
        write(memory=np.ones(4, np.float64)),
        InvalidArgument,
        "BAD_DTYPE",
        "clip.global_memory",
        "float64",
    ),
    Bad(
        "nan",
        write(memory=vector(float("nan"))),
        InvalidArgument,
        "NOT_FINITE",
        "clip.global_memory",
    ),
    Bad(
        "inf",
        write(memory=vector(float("inf"))),
        InvalidArgument,
        "NOT_FINITE",
        "clip.global_memory",
    ),
    Bad(
        "empty",
        write(memory=np.ones(0, np.float32)),
        InvalidArgument,
        "EMPTY",
        "clip.global_memory",
        "(0,)",
    ),
    Bad(
        "zero",
        write(memory=np.zeros(4, np.float32)),
        InvalidArgument,
        "ZERO_VECTOR",
        "clip.global_memory",
    ),
    Bad(
        "shape",
        write(memory=np.ones((2, 4), np.float32)),
        InvalidArgument,
        "BAD_SHAPE",
        "clip.global_memory",
        "(2, 4)",
    ),
    Bad(
        "tokens.zero",
        write(short_memory=np.ones((0, 4), np.float32)),
        InvalidArgument,
        "EMPTY",
        "clip.short_memory",
        "(0, 4)",
    ),
    Bad(
        "tokens.dim",
        write(short_memory=np.ones((2, 5), np.float32)),
        InvalidArgument,
        "DIM_MISMATCH",
        "clip.short_memory",
        "(2, 5)",
    ),
    Bad(
        "tokens.nan",
        write(short_memory=np.full((2, 4), np.nan, np.float32)),
        InvalidArgument,
        "NOT_FINITE",
        "clip.short_memory",
    ),
    Bad(
        "tokens.float16",
        write(short_memory=np.full((2, 4), 1e6, np.float32)),
        InvalidArgument,
        "NOT_FINITE",
        "clip.short_memory",
    ),
    Bad(
        "tensor.length",
        write(short_memory=tensor((2, 4), bytes(15))),
        InvalidArgument,
        "LENGTH_MISMATCH",
        "clip.short_memory",
        "15",
    ),
    Bad(
        "tensor.checksum",
        write(short_memory=tensor((2, 4), bytes(16), checksum=1)),
        InvalidArgument,
        "CHECKSUM",
        "clip.short_memory",
    ),
    Bad(
        "tensor.overflow",
        write(short_memory=tensor((2**16, 4), bytes(16))),
        InvalidArgument,
        "LENGTH_MISMATCH",
        "clip.short_memory",
        "16",
    ),
    Bad(
        "tensor.rows",
        write(short_memory=tensor((2**20, 4), bytes(16))),
        InvalidArgument,
        "BAD_SHAPE",
        "clip.short_memory",
        "(1048576, 4)",
    ),
    Bad(
        "tensor.zstd",
        write(short_memory=tensor((2, 4), FRAME, Codec.F16_ZSTD)),
        InvalidArgument,
        "BAD_FRAME",
        "clip.short_memory",
        "8",
    ),
    Bad(
        "tensor.nozstd",
        write(short_memory=tensor((2, 4), b"junk", Codec.F16_ZSTD)),
        InvalidArgument,
        "BAD_FRAME",
        "clip.short_memory",
    ),
    Bad(
        "tensor.int4",
        write(short_memory=tensor((2, 4), bytes(9), Codec.INT4)),
        InvalidArgument,
        "LENGTH_MISMATCH",
        "clip.short_memory",
        "9",
    ),
    Bad(
        "tensor.delta",
        write(short_memory=tensor((2, 4), b"junk" * 4, Codec.DELTA)),
        InvalidArgument,
        "BAD_FRAME",
        "clip.short_memory",
    ),
    Bad(
        "codec",
        lambda db, user: user.stream("door", space="clip", codec="mp3"),
        InvalidArgument,
        "BAD_CODEC",
        "codec",
        "mp3",
    ),
    Bad(
        "times",
        write(start_ns=T0_NS, end_ns=T0_NS - 1),
        InvalidArgument,
        "TIME_RANGE",
        "clip.end_ns",
        f"[{T0_NS}, {T0_NS - 1})",
    ),
    Bad(
        "time.far",
        write(start_ns=2**63),
        InvalidArgument,
        "TIME_RANGE",
        "clip.start_ns",
        str(2**63),
    ),
    Bad(
        "seq",
        write(seq=-1, start_ns=T0_NS, end_ns=T0_NS),
        InvalidArgument,
        "OUT_OF_RANGE",
        "clip.seq",
        "-1",
    ),
    Bad("epoch", write(epoch=2**32), InvalidArgument, "OUT_OF_RANGE", "clip.epoch", str(2**32)),
    Bad(
        "seq.ahead",
        write(seq=10**15, start_ns=T0_NS, end_ns=T0_NS),
        FailedPrecondition,
        "TOO_FAR_AHEAD",
        "clip.seq",
        str(10**15),
    ),
    Bad(
        "seq.ahead.user",
        lambda db, user: (
            db.user("new")
            .stream("a", space="clip")
            .write(clip(10**15, start_ns=T0_NS, end_ns=T0_NS))
        ),
        FailedPrecondition,
        "TOO_FAR_AHEAD",
        "clip.seq",
        str(10**15),
    ),
    Bad(
        "seq.ahead.ingest",
        lambda db, user: send(user, clip(10**15, start_ns=T0_NS, end_ns=T0_NS)),
        FailedPrecondition,
        "TOO_FAR_AHEAD",
        "clip.seq",
        str(10**15),
    ),
    Bad(
        "seq.reused",
        write(seq=0, memory=vector(0, 1)),
        AlreadyExists,
        "SEQ_REUSED",
        "clip.seq",
        "0",
    ),
    Bad(
        "space",
        lambda db, user: user.stream("door", space="five").write(clip(1)),
        FailedPrecondition,
        "SPACE_MISMATCH",
        "space",
        "five",
    ),
    Bad(
        "labels",
        write(labels={str(n): "" for n in range(65)}),
        InvalidArgument,
        "TOO_LARGE",
        "clip.labels",
        "65",
    ),
    Bad(
        "label.key", write(labels={"k" * 65: ""}), InvalidArgument, "TOO_LARGE", "clip.labels", "65"
    ),
    Bad(
        "label.value",
        write(labels={"k": "v" * 1025}),
        InvalidArgument,
        "TOO_LARGE",
        "clip.labels[k]",
        "1025",
    ),
    Bad(
        "transcript",
        write(transcript=[Utterance(0, 1, "x")] * 1025),
        InvalidArgument,
        "TOO_LARGE",
        "clip.transcript",
        "1025",
    ),
    Bad(
        "surrogate",
        lambda db, user: Utterance(0, 1, "\ud800"),
        InvalidArgument,
        "BAD_TEXT",
        "utterance.text",
        "\\ud800",
    ),
    Bad(
        "features",
        write(transcript_features=np.ones((1, 3), np.float32)),
        InvalidArgument,
        "BAD_SHAPE",
        "clip.transcript_features",
        "(1, 3)",
    ),
    Bad(
        "features.space",
        write(transcript=[Utterance(0, 1, "x")], transcript_features=np.ones((1, 3), np.float32)),
        FailedPrecondition,
        "NO_TEXT_SPACE",
        "clip.transcript_features",
    ),
    Bad(
        "keyframe",
        lambda db, user: Keyframe(0, bytes(2**20 + 1)),
        InvalidArgument,
        "TOO_LARGE",
        "keyframe.jpeg",
        str(2**20 + 1),
    ),
    Bad(
        "17 MiB",
        write(keyframes=[bytes(2**20)] * 17),
        InvalidArgument,
        "TOO_LARGE",
        "clip",
        str(17 * 2**20 + 16),
    ),
]

QUESTIONS = [
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
    Bad("as_of", ground(as_of=1.5), InvalidArgument, "BAD_TYPE", "as_of", "float"),
    Bad(
        "clips.limit",
        lambda db, user: user.clips(limit=1001),
        InvalidArgument,
        "OUT_OF_RANGE",
        "limit",
        "1001",
    ),
    Bad(
        "clips.times",
        lambda db, user: user.clips(start_ns=2, end_ns=1),
        InvalidArgument,
        "TIME_RANGE",
        "end_ns",
        "[2, 1)",
    ),
    Bad(
        "max_tokens",
        lambda db, user: user.long_term(max_tokens=0),
        InvalidArgument,
        "OUT_OF_RANGE",
        "max_tokens",
        "0",
    ),
]

MEMORY = [
    Bad("text", lambda db, user: user.remember(""), InvalidArgument, "EMPTY", "text"),
    Bad(
        "text.long",
        lambda db, user: user.remember("x" * 16385),
        InvalidArgument,
        "TOO_LARGE",
        "text",
        "16385",
    ),
    Bad(
        "about",
        lambda db, user: user.remember("x", about="Alice"),
        InvalidArgument,
        "BAD_TYPE",
        "about",
        "Alice",
    ),
    Bad(
        "about.many",
        lambda db, user: user.remember("x", about=["a"] * 65),
        InvalidArgument,
        "TOO_LARGE",
        "about",
        "65",
    ),
    Bad(
        "about.empty",
        lambda db, user: user.remember("x", about=[""]),
        InvalidArgument,
        "EMPTY",
        "about[0]",
    ),
    Bad(
        "evidence",
        lambda db, user: user.remember("x", evidence="id"),
        InvalidArgument,
        "BAD_TYPE",
        "evidence",
        "id",
    ),
    Bad(
        "validity",
        lambda db, user: user.remember("x", valid_from=2, valid_to=1),
        InvalidArgument,
        "TIME_RANGE",
        "valid_to",
        "[2, 1)",
    ),
    Bad(
        "feature",
        lambda db, user: user.remember("x", feature=vector(1)),
        FailedPrecondition,
        "NO_TEXT_SPACE",
        "feature",
    ),
    Bad("question", lambda db, user: user.recall(""), InvalidArgument, "EMPTY", "question"),
    Bad(
        "recall.limit",
        lambda db, user: user.recall("x", limit=-1),
        InvalidArgument,
        "OUT_OF_RANGE",
        "limit",
        "-1",
    ),
    Bad(
        "recall.feature",
        lambda db, user: user.recall("x", feature=vector(1)),
        FailedPrecondition,
        "NO_TEXT_SPACE",
        "feature",
    ),
    Bad("key", lambda db, user: user.put("", 1), InvalidArgument, "EMPTY", "key"),
    Bad("key.long", lambda db, user: user.put("é" * 200, 1), InvalidArgument, "TOO_LARGE", "key"),
    Bad(
        "value",
        lambda db, user: user.put("k", object()),
        InvalidArgument,
        "BAD_VALUE",
        "value",
        "object",
    ),
    Bad(
        "value.nan",
        lambda db, user: user.put("k", float("nan")),
        InvalidArgument,
        "BAD_VALUE",
        "value",
        "float",
    ),
    Bad(
        "value.large",
        lambda db, user: user.put("k", "x" * 2**20),
        InvalidArgument,
        "TOO_LARGE",
        "value",
        str(2**20 + 2),
    ),
    Bad(
        "ttl",
        lambda db, user: user.snapshot("s", ttl_s=0),
        InvalidArgument,
        "OUT_OF_RANGE",
        "ttl_s",
        "0",
    ),
    Bad(
        "ttl.long",
        lambda db, user: user.snapshot("s", ttl_s=10**9),
        InvalidArgument,
        "OUT_OF_RANGE",
        "ttl_s",
        "1000000000",
    ),
    Bad(
        "watch",
        lambda db, user: list(user.watch(from_revision=-1)),
        InvalidArgument,
        "OUT_OF_RANGE",
        "from_revision",
        "-1",
    ),
    Bad(
        "window",
        lambda db, user: user.stream("door").ingest(window=0),
        InvalidArgument,
        "OUT_OF_RANGE",
        "window",
        "0",
    ),
    Bad(
        "epoch",
        lambda db, user: user.stream("door").ledger(epoch=-1),
        InvalidArgument,
        "OUT_OF_RANGE",
        "epoch",
        "-1",
    ),
    Bad(
        "dim",
        lambda db, user: db.create_space("x", dim=8193),
        InvalidArgument,
        "BAD_SHAPE",
        "space.dim",
        "8193",
    ),
    Bad(
        "metric",
        lambda db, user: db.create_space("x", dim=4, metric="l2"),
        InvalidArgument,
        "BAD_METRIC",
        "space.metric",
        "l2",
    ),
    Bad(
        "exists",
        lambda db, user: db.create_space("clip", dim=8),
        AlreadyExists,
        "SPACE_EXISTS",
        "space.name",
        "clip",
    ),
]

HUGE = 10**5000
"""Has no text: Python refuses to write more than 4300 digits."""
BIG = 10**400
"""Beyond every float."""
LONE = "\ud800"
FAR = datetime(9999, 1, 1, tzinfo=UTC)

ODD_CLIPS = [
    Bad(
        "seq",
        write(seq=HUGE, start_ns=0, end_ns=1),
        InvalidArgument,
        "OUT_OF_RANGE",
        "clip.seq",
        "<int>",
    ),
    Bad("epoch", write(epoch=HUGE), InvalidArgument, "OUT_OF_RANGE", "clip.epoch", "<int>"),
    Bad("time", write(start_ns=HUGE), InvalidArgument, "TIME_RANGE", "clip.start_ns", "<int>"),
    Bad(
        "datetime",
        write(start_ns=FAR, end_ns=FAR),
        InvalidArgument,
        "TIME_RANGE",
        "clip.start_ns",
        "253370764800000000000",
    ),
    Bad(
        "ratio",
        write(frames_per_token_row=BIG),
        InvalidArgument,
        "OUT_OF_RANGE",
        "clip.frames_per_token_row",
    ),
    Bad(
        "ratio.zero",
        write(frames_per_token_row=0),
        InvalidArgument,
        "OUT_OF_RANGE",
        "clip.frames_per_token_row",
        "0",
    ),
    Bad(
        "score",
        lambda db, user: SoundEvent(0, 1, "x", BIG),
        InvalidArgument,
        "OUT_OF_RANGE",
        "event.score",
    ),
    Bad(
        "list", write(memory=[BIG] * 4), InvalidArgument, "BAD_DTYPE", "clip.global_memory", "list"
    ),
    Bad(
        "list.text",
        write(memory=["1"] * 4),
        InvalidArgument,
        "BAD_DTYPE",
        "clip.global_memory",
        "list",
    ),
    Bad(
        "list.large", write(memory=[1e300] * 4), InvalidArgument, "NOT_FINITE", "clip.global_memory"
    ),
    Bad(
        "list.ragged",
        write(memory=[[1], [2, 3]]),
        InvalidArgument,
        "BAD_DTYPE",
        "clip.global_memory",
        "list",
    ),
    Bad(
        "masked",
        write(memory=np.ma.masked_array(vector(1), mask=[True, False, False, False])),
        InvalidArgument,
        "BAD_DTYPE",
        "clip.global_memory",
        "MaskedArray",
    ),
    Bad(
        "transcript",
        write(transcript=None),
        InvalidArgument,
        "BAD_TYPE",
        "clip.transcript",
        "NoneType",
    ),
    Bad("events", write(events=5), InvalidArgument, "BAD_TYPE", "clip.events", "int"),
    Bad(
        "keyframes",
        write(keyframes=None),
        InvalidArgument,
        "BAD_TYPE",
        "clip.keyframes",
        "NoneType",
    ),
    Bad(
        "keyframes.bytes",
        write(keyframes=b"jpeg"),
        InvalidArgument,
        "BAD_TYPE",
        "clip.keyframes",
        "bytes",
    ),
    Bad(
        "keyframes.endless",
        write(keyframes=repeat(b"jpeg")),
        InvalidArgument,
        "TOO_LARGE",
        "clip.keyframes",
        "65",
    ),
    Bad(
        "labels",
        write(labels={"a": np.ones(2)}),
        InvalidArgument,
        "BAD_TEXT",
        "clip.labels[a]",
        "ndarray",
    ),
    Bad("labels.key", write(labels={1: "a"}), InvalidArgument, "BAD_TEXT", "clip.labels", "int"),
    Bad("sealed", write(sealed="yes"), InvalidArgument, "BAD_TYPE", "clip.sealed", "str"),
    Bad(
        "tensor.shape",
        write(short_memory=tensor((), b"")),
        InvalidArgument,
        "BAD_SHAPE",
        "clip.short_memory",
        "()",
    ),
    Bad(
        "tensor.shape.huge",
        write(short_memory=tensor((HUGE, 4), b"")),
        InvalidArgument,
        "BAD_SHAPE",
        "clip.short_memory",
        "<tuple>",
    ),
    Bad(
        "tensor.negative",
        write(short_memory=tensor((-1, 4), bytes(8))),
        InvalidArgument,
        "EMPTY",
        "clip.short_memory",
        "(-1, 4)",
    ),
    Bad(
        "tensor.payload",
        write(short_memory=tensor((1, 4), None, checksum=0)),
        InvalidArgument,
        "BAD_TYPE",
        "clip.short_memory",
        "NoneType",
    ),
    Bad(
        "tensor.codec",
        write(short_memory=tensor((1, 4), bytes(8), "x")),
        InvalidArgument,
        "BAD_CODEC",
        "clip.short_memory",
        "x",
    ),
    Bad(
        "tensor.codec.number",
        write(short_memory=tensor((1, 4), bytes(8), 9)),
        InvalidArgument,
        "BAD_CODEC",
        "clip.short_memory",
        "9",
    ),
    Bad(
        "tensor.checksum",
        write(short_memory=tensor((1, 4), bytes(8), checksum=-1)),
        InvalidArgument,
        "CHECKSUM",
        "clip.short_memory",
    ),
    Bad(
        "clip",
        lambda db, user: user.stream("door").write("x"),
        InvalidArgument,
        "BAD_TYPE",
        "clip",
        "str",
    ),
    Bad(
        "many",
        lambda db, user: user.stream("door").write_many(None),
        InvalidArgument,
        "BAD_TYPE",
        "clips",
        "NoneType",
    ),
    Bad(
        "many.number",
        lambda db, user: user.stream("door").write_many(5),
        InvalidArgument,
        "BAD_TYPE",
        "clips",
        "int",
    ),
    Bad(
        "many.text",
        lambda db, user: user.stream("door").write_many("x"),
        InvalidArgument,
        "BAD_TYPE",
        "clips",
        "x",
    ),
    Bad("stored.seq", rewritten(seq=-1), InvalidArgument, "OUT_OF_RANGE", "clip.seq", "-1"),
    Bad(
        "stored.dtype",
        rewritten(seq=5, global_memory=np.ones(4)),
        InvalidArgument,
        "BAD_DTYPE",
        "clip.global_memory",
        "float64",
    ),
    Bad(
        "stored.nan",
        rewritten(seq=5, global_memory=vector(float("nan"))),
        InvalidArgument,
        "NOT_FINITE",
        "clip.global_memory",
    ),
]

ODD_CALLS = [
    Bad("space", lambda db, user: db.space([]), InvalidArgument, "BAD_ID", "space", "[]"),
    Bad(
        "space.id",
        lambda db, user: db.space("bad id!"),
        InvalidArgument,
        "BAD_ID",
        "space",
        "bad id!",
    ),
    Bad(
        "model",
        lambda db, user: db.create_space("x", dim=4, model=LONE),
        InvalidArgument,
        "BAD_TEXT",
        "space.model",
        "\\ud800",
    ),
    Bad(
        "metric",
        lambda db, user: db.create_space("x", dim=4, metric=np.ones(2)),
        InvalidArgument,
        "BAD_METRIC",
        "space.metric",
    ),
    Bad(
        "dim",
        lambda db, user: db.create_space("x", dim=HUGE),
        InvalidArgument,
        "BAD_SHAPE",
        "space.dim",
        "<int>",
    ),
    Bad("user", lambda db, user: db.user(None).revision(), InvalidArgument, "BAD_ID", "user"),
    Bad("min_score", ground(min_score=BIG), InvalidArgument, "OUT_OF_RANGE", "min_score"),
    Bad("limit", ground(limit=HUGE), InvalidArgument, "OUT_OF_RANGE", "limit", "<int>"),
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
    Bad("policy", ground(policy=np.array(["top", "top"])), InvalidArgument, "BAD_POLICY", "policy"),
    Bad("fallback", ground(fallback=None), InvalidArgument, "BAD_FALLBACK", "fallback"),
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
    Bad("as_of.far", ground(as_of=FAR), InvalidArgument, "TIME_RANGE", "as_of"),
    Bad("as_of.naive", ground(as_of=datetime(2026, 1, 1)), InvalidArgument, "TIME_RANGE", "as_of"),  # noqa: DTZ001
    Bad("as_of.flag", ground(as_of=True), InvalidArgument, "BAD_TYPE", "as_of", "bool"),
    Bad("as_of.negative", ground(as_of=-1), NotFound, "REVISION_NOT_FOUND", "as_of", "-1"),
    Bad("as_of.huge", ground(as_of=HUGE), NotFound, "REVISION_NOT_FOUND", "as_of", "<int>"),
    Bad(
        "as_of.snapshot",
        ground(as_of=Snapshot("x", cast(int, "y"), 0, 0)),
        InvalidArgument,
        "BAD_TYPE",
        "as_of",
        "str",
    ),
    Bad(
        "as_of.nobody",
        lambda db, user: db.user("nobody").clips(as_of=1.5),
        InvalidArgument,
        "BAD_TYPE",
        "as_of",
        "float",
    ),
    Bad(
        "min_revision",
        ground(min_revision=HUGE),
        InvalidArgument,
        "OUT_OF_RANGE",
        "min_revision",
        "<int>",
    ),
    Bad("clip", lambda db, user: user.clip(""), InvalidArgument, "EMPTY", "clip_id"),
    Bad(
        "clip.none",
        lambda db, user: user.clip(None),
        InvalidArgument,
        "BAD_TEXT",
        "clip_id",
        "NoneType",
    ),
    Bad(
        "clip.lone",
        lambda db, user: user.clip(LONE),
        InvalidArgument,
        "BAD_TEXT",
        "clip_id",
        "\\ud800",
    ),
    Bad(
        "clip.nobody",
        lambda db, user: db.user("nobody").clip(5),
        InvalidArgument,
        "BAD_TEXT",
        "clip_id",
        "int",
    ),
    Bad("after", lambda db, user: user.clips(after=5), InvalidArgument, "BAD_TEXT", "after", "int"),
    Bad(
        "clip_ids",
        lambda db, user: user.short_memory(None),
        InvalidArgument,
        "BAD_TYPE",
        "clip_ids",
        "NoneType",
    ),
    Bad(
        "clip_ids.text",
        lambda db, user: user.short_memory("abc"),
        InvalidArgument,
        "BAD_TYPE",
        "clip_ids",
        "abc",
    ),
    Bad(
        "clip_ids.item",
        lambda db, user: user.short_memory([5]),
        InvalidArgument,
        "BAD_TEXT",
        "clip_ids[0]",
        "int",
    ),
    Bad(
        "clip_ids.nobody",
        lambda db, user: db.user("nobody").short_memory([]),
        NotFound,
        "USER_NOT_FOUND",
        "user",
        "nobody",
    ),
    Bad("forget", lambda db, user: user.forget(""), InvalidArgument, "EMPTY", "fact_id"),
    Bad("history", lambda db, user: user.history(5), InvalidArgument, "BAD_TEXT", "fact_id", "int"),
    Bad(
        "revise",
        lambda db, user: user.revise(None, text="x"),
        InvalidArgument,
        "BAD_TEXT",
        "fact_id",
        "NoneType",
    ),
    Bad("facts", lambda db, user: user.facts(about=""), InvalidArgument, "EMPTY", "about"),
    Bad("text", lambda db, user: user.remember(b"x"), InvalidArgument, "BAD_TEXT", "text", "bytes"),
    Bad(
        "question",
        lambda db, user: user.recall(LONE),
        InvalidArgument,
        "BAD_TEXT",
        "question",
        "\\ud800",
    ),
    Bad(
        "about",
        lambda db, user: user.remember("x", about=None),
        InvalidArgument,
        "BAD_TYPE",
        "about",
        "NoneType",
    ),
    Bad(
        "about.number",
        lambda db, user: user.remember("x", about=5),
        InvalidArgument,
        "BAD_TYPE",
        "about",
        "int",
    ),
    Bad(
        "evidence",
        lambda db, user: user.remember("x", evidence=None),
        InvalidArgument,
        "BAD_TYPE",
        "evidence",
        "NoneType",
    ),
    Bad(
        "evidence.lone",
        lambda db, user: user.remember("x", evidence=[LONE]),
        InvalidArgument,
        "BAD_TEXT",
        "evidence[0]",
        "\\ud800",
    ),
    Bad(
        "valid_from",
        lambda db, user: user.remember("x", valid_from=FAR),
        InvalidArgument,
        "TIME_RANGE",
        "valid_from",
    ),
    Bad("key.bytes", lambda db, user: user.get("é" * 200), InvalidArgument, "TOO_LARGE", "key"),
    Bad(
        "value.keys",
        lambda db, user: user.put("k", {"a": [{1: 2}]}),
        InvalidArgument,
        "BAD_VALUE",
        "value",
        "int",
    ),
    Bad(
        "value.huge",
        lambda db, user: user.put("k", HUGE),
        InvalidArgument,
        "BAD_VALUE",
        "value",
        "int",
    ),
    Bad(
        "value.lone",
        lambda db, user: user.put("k", LONE),
        InvalidArgument,
        "BAD_VALUE",
        "value",
        "str",
    ),
    Bad(
        "ttl",
        lambda db, user: user.snapshot("s", ttl_s=1e-12),
        InvalidArgument,
        "OUT_OF_RANGE",
        "ttl_s",
        "1e-12",
    ),
    Bad(
        "ttl.nan",
        lambda db, user: user.snapshot("s", ttl_s=float("nan")),
        InvalidArgument,
        "OUT_OF_RANGE",
        "ttl_s",
        "nan",
    ),
    Bad(
        "ttl.big",
        lambda db, user: user.snapshot("s", ttl_s=BIG),
        InvalidArgument,
        "OUT_OF_RANGE",
        "ttl_s",
    ),
    Bad(
        "watch",
        lambda db, user: list(user.watch(from_revision=HUGE)),
        InvalidArgument,
        "OUT_OF_RANGE",
        "from_revision",
        "<int>",
    ),
    Bad(
        "follow",
        lambda db, user: list(user.watch(follow="no")),
        InvalidArgument,
        "BAD_TYPE",
        "follow",
        "str",
    ),
    Bad("send", lambda db, user: send(user, "x"), InvalidArgument, "BAD_TYPE", "clip", "str"),
    Bad(
        "send.epoch",
        lambda db, user: send(user, clip(5, epoch=7)),
        InvalidArgument,
        "EPOCH_MISMATCH",
        "clip.epoch",
        "7",
    ),
]

TABLES = {
    "ids": IDS,
    "unknown": UNKNOWN,
    "clips": CLIPS,
    "questions": QUESTIONS,
    "memory": MEMORY,
    "odd clips": ODD_CLIPS,
    "odd calls": ODD_CALLS,
}


@pytest.mark.parametrize("table", TABLES)
def test_bad_input_is_refused_alike_and_changes_nothing(
    db: Database, user: User, table: str
) -> None:
    """One database for a table: what one call left behind would show in the next."""
    db.create_space("five", dim=5)
    user.stream("door", space="clip").write(clip(0, short_memory=np.ones((2, 4), np.float32)))
    before = (db.users(), db.spaces(), user.revision(), user.streams(), user.snapshots())
    wrong: list[str] = []

    for bad in TABLES[table]:
        expected = (bad.error, bad.reason, bad.field, bad.value)
        try:
            bad.call(db, user)
        except MemdbError as error:
            value = error.value if bad.value is not None else None
            found: object = (type(error), error.reason, error.field, value)
            if error.field is not None and not error.violations:
                wrong.append(f"{bad.name}: no violations")
        except Exception as error:
            found = repr(error)
        else:
            found = "accepted"
        if found != expected:
            wrong.append(f"{bad.name}: {found}\n{' ' * len(bad.name)}  {expected}")

    assert wrong == [], "\n".join(wrong)
    assert (db.users(), db.spaces(), user.revision(), user.streams(), user.snapshots()) == before
    assert user.ground(vector(1), end_ns=T0_NS + SECOND_NS).hits[0].clip.seq == 0
    assert db.verify().ok


def test_a_remote_error_names_its_request(db: Database, user: User, transport: str) -> None:
    with pytest.raises(NotFound) as caught:
        user.revision()
    assert (caught.value.request_id is None) is (transport == "embedded")
    (violation,) = caught.value.violations
    assert (violation.field, violation.value) == ("user", "alice")


def test_a_closed_database_says_so(db: Database, user: User) -> None:
    user.put("diet", 1)
    db.close()

    with pytest.raises(Unavailable) as caught:
        user.put("diet", 2)
    assert caught.value.reason == "CLOSED"


def test_what_is_odd_but_plain_is_taken_alike(db: Database, user: User) -> None:
    """Integers of numpy, generators, and vectors in lists mean what they say."""
    door = user.stream("door", space="clip")
    acks = door.write_many(clip(seq) for seq in range(3))
    assert [ack.revision for ack in acks] == [acks[0].revision] * 3
    assert door.write_many([]) == door.write_many(iter(())) == []
    assert db.user("nobody").stream("a").write_many([]) == []

    found = user.ground(
        [1.0, 0, 0, 0],  # type: ignore[arg-type]
        as_of=np.int64(1),  # type: ignore[arg-type]
        streams=(name for name in ["door"]),  # type: ignore[arg-type]
        limit=np.int32(2),  # type: ignore[arg-type]
        min_score=np.float32(-1),  # type: ignore[arg-type]
    )
    assert (found.revision, len(found.hits)) == (1, 2)
    assert user.short_memory([]) == []
    text = np.str_("said")
    spoken = clip(3, transcript=[Utterance(0, 1, text)], labels={text: text})
    door.write(spoken)
    assert user.clips()[-1].labels == {"said": "said"}
    assert user.remember(text, about=[text], key=text).key == "said"
    assert db.create_space("numpy", dim=np.int64(3)).dim == 3  # type: ignore[arg-type]
    assert user.snapshot("soon", ttl_s=np.float32(3)).revision == user.revision()  # type: ignore[arg-type]


def test_what_was_read_can_be_written_again(db: Database, user: User) -> None:
    door = user.stream("door", space="clip")
    door.write(clip(0, labels={"zone": "porch"}, keyframes=[b"jpeg"]))
    (read,) = user.clips()

    assert door.write(read).duplicate
    assert not user.stream("copy", space="clip").write(read).duplicate
    assert user.clips(stream="copy")[0].labels == {"zone": "porch"}


def test_a_clip_holds_what_its_vector_held_when_it_was_made(db: Database, user: User) -> None:
    """The encoder may use its buffer again while the clip waits."""
    buffer = vector(1)
    tokens = np.ones((2, 4), np.float16)
    with user.stream("door", space="clip").ingest() as writer:
        writer.send(clip(0, memory=buffer, short_memory=tokens))
        buffer[:] = np.nan
        tokens[:] = np.inf

    (read,) = user.clips()
    assert np.array_equal(read.global_memory, vector(1))
    assert np.array_equal(user.short_memory([read.id])[0], np.ones((2, 4)))
