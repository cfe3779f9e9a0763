"""Bad input: the same class, reason, field and value on every transport, and nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
    call: Callable[[Database, User], Any]
    error: type[MemdbError]
    reason: str
    field: str | None
    value: str | None = None


def write(**fields: Any) -> Callable[[Database, User], Any]:
    """Write a clip to the stream that exists; it is made only when the test runs."""
    return lambda db, user: user.stream("door").write(clip(**{"seq": 5, **fields}))


def tensor(
    shape: tuple[int, ...], payload: bytes, codec: Codec = Codec.F16, **fields: Any
) -> EncodedTensor:
    return EncodedTensor(
        codec, shape, payload, fields.get("checksum", xxhash.xxh3_64_intdigest(payload))
    )


def ground(**options: Any) -> Callable[[Database, User], Any]:
    feature = options.pop("feature", vector(1))
    return lambda db, user: user.ground(feature, **options)


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

TABLES = {"ids": IDS, "unknown": UNKNOWN, "clips": CLIPS, "questions": QUESTIONS, "memory": MEMORY}


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
