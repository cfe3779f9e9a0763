"""Moments: revisions, times, snapshots, and watching from one on."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from memdb import InvalidArgument, NotFound, Snapshot, Unavailable
from tests.congruence.refused.bad import BIG, FAR, HUGE, Bad, ground

MOMENTS: list[Bad] = [
    Bad(
        "snapshot.name",
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
        "as_of.name",
        lambda db, user: user.clips(as_of="a b"),
        InvalidArgument,
        "BAD_ID",
        "as_of",
        "a b",
    ),
    Bad("snapshot.unknown", ground(as_of="nope"), NotFound, "SNAPSHOT_NOT_FOUND", "as_of", "nope"),
    Bad(
        "revision.unknown", ground(as_of=10**6), NotFound, "REVISION_NOT_FOUND", "as_of", "1000000"
    ),
    Bad(
        "min_revision.behind",
        ground(min_revision=10**6),
        Unavailable,
        "BEHIND",
        "min_revision",
        "1000000",
    ),
    Bad("as_of.float", ground(as_of=1.5), InvalidArgument, "BAD_TYPE", "as_of", "float"),
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
        "watch.time",
        lambda db, user: list(user.watch(from_revision=1, revision_time_ns=cast(int, 1.5))),
        InvalidArgument,
        "OUT_OF_RANGE",
        "revision_time_ns",
        "1.5",
    ),
    Bad("as_of.far", ground(as_of=FAR), InvalidArgument, "TIME_RANGE", "as_of"),
    Bad("as_of.naive", ground(as_of=datetime(2026, 1, 1)), InvalidArgument, "TIME_RANGE", "as_of"),  # noqa: DTZ001
    Bad("as_of.flag", ground(as_of=True), InvalidArgument, "BAD_TYPE", "as_of", "bool"),
    Bad("as_of.negative", ground(as_of=-1), NotFound, "REVISION_NOT_FOUND", "as_of", "-1"),
    Bad("as_of.huge", ground(as_of=HUGE), NotFound, "REVISION_NOT_FOUND", "as_of", "<int>"),
    Bad(
        "as_of.snapshot",
        ground(as_of=Snapshot("x", cast(int, "y"), 0, 0, "alice")),
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
        "min_revision.huge",
        ground(min_revision=HUGE),
        InvalidArgument,
        "OUT_OF_RANGE",
        "min_revision",
        "<int>",
    ),
    Bad(
        "ttl.small",
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
        "watch.huge",
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
]
