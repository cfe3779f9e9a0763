"""Clips, written and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import repeat
from typing import Any

import numpy as np

from memdb import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    Keyframe,
    NotFound,
    SoundEvent,
    Utterance,
)
from memdb.types.database import Database, User
from tests.congruence.media import T0_NS, clip, vector
from tests.congruence.refused.bad import BIG, FAR, HUGE, LONE, NOBODYS_ID, Bad, send, write


def rewritten(**fields: Any) -> Callable[[Database, User], Any]:
    """Write again what was read, with fields that nobody checked."""

    def write_again(db: Database, user: User) -> Any:
        return user.stream("door").write(replace(user.clips()[0], **fields))

    return write_again


CLIPS: list[Bad] = [
    Bad("id", lambda db, user: user.clip("nope"), NotFound, "CLIP_NOT_FOUND", "clip_id", "nope"),
    Bad(
        "id.other",
        lambda db, user: user.clip(NOBODYS_ID),
        NotFound,
        "CLIP_NOT_FOUND",
        "clip_id",
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
        "seq.huge",
        write(seq=HUGE, start_ns=0, end_ns=1),
        InvalidArgument,
        "OUT_OF_RANGE",
        "clip.seq",
        "<int>",
    ),
    Bad("epoch.huge", write(epoch=HUGE), InvalidArgument, "OUT_OF_RANGE", "clip.epoch", "<int>"),
    Bad("time.huge", write(start_ns=HUGE), InvalidArgument, "TIME_RANGE", "clip.start_ns", "<int>"),
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
        "transcript.none",
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
        "labels.array",
        write(labels={"a": np.ones(2)}),
        InvalidArgument,
        "BAD_TEXT",
        "clip.labels[a]",
        "ndarray",
    ),
    Bad("labels.key", write(labels={1: "a"}), InvalidArgument, "BAD_TEXT", "clip.labels", "int"),
    Bad("sealed", write(sealed="yes"), InvalidArgument, "BAD_TYPE", "clip.sealed", "str"),
    Bad(
        "write.text",
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
    Bad("id.empty", lambda db, user: user.clip(""), InvalidArgument, "EMPTY", "clip_id"),
    Bad(
        "id.none",
        lambda db, user: user.clip(None),
        InvalidArgument,
        "BAD_TEXT",
        "clip_id",
        "NoneType",
    ),
    Bad(
        "id.lone",
        lambda db, user: user.clip(LONE),
        InvalidArgument,
        "BAD_TEXT",
        "clip_id",
        "\\ud800",
    ),
    Bad(
        "id.nobody",
        lambda db, user: db.user("nobody").clip(5),
        InvalidArgument,
        "BAD_TEXT",
        "clip_id",
        "int",
    ),
    Bad(
        "after.number",
        lambda db, user: user.clips(after=5),
        InvalidArgument,
        "BAD_TEXT",
        "after",
        "int",
    ),
]
