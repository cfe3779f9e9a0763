"""Users and spaces."""

from __future__ import annotations

import numpy as np

from memdb import AlreadyExists, InvalidArgument, NotFound
from tests.congruence.refused.bad import HUGE, LONE, Bad

BAD_ID = "../etc/passwd"
LONG_ID = "x" * 64

USERS: list[Bad] = [
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
        "space.name",
        lambda db, user: db.create_space("a/b", dim=4),
        InvalidArgument,
        "BAD_ID",
        "space.name",
        "a/b",
    ),
    Bad(
        "space.unknown",
        lambda db, user: db.space("nope"),
        NotFound,
        "SPACE_NOT_FOUND",
        "space",
        "nope",
    ),
    Bad(
        "text_space",
        lambda db, user: user.configure(text_space=" "),
        InvalidArgument,
        "BAD_ID",
        "text_space",
        " ",
    ),
    Bad(
        "user.unknown",
        lambda db, user: db.user("nobody").clips(),
        NotFound,
        "USER_NOT_FOUND",
        "user",
        "nobody",
    ),
    Bad(
        "text_space.unknown",
        lambda db, user: user.configure(text_space="nope"),
        NotFound,
        "SPACE_NOT_FOUND",
        "space",
        "nope",
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
    Bad("space.list", lambda db, user: db.space([]), InvalidArgument, "BAD_ID", "space", "[]"),
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
        "metric.array",
        lambda db, user: db.create_space("x", dim=4, metric=np.ones(2)),
        InvalidArgument,
        "BAD_METRIC",
        "space.metric",
    ),
    Bad(
        "dim.huge",
        lambda db, user: db.create_space("x", dim=HUGE),
        InvalidArgument,
        "BAD_SHAPE",
        "space.dim",
        "<int>",
    ),
    Bad("user.none", lambda db, user: db.user(None).revision(), InvalidArgument, "BAD_ID", "user"),
]
