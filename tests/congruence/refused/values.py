"""Values by key."""

from __future__ import annotations

from memdb import InvalidArgument, NotFound
from tests.congruence.media import vector
from tests.congruence.refused.bad import HUGE, LONE, Bad

VALUES: list[Bad] = [
    Bad("key", lambda db, user: user.put("", 1), InvalidArgument, "EMPTY", "key"),
    Bad("key.long", lambda db, user: user.put("é" * 200, 1), InvalidArgument, "TOO_LARGE", "key"),
    Bad("remove", lambda db, user: user.remove("k"), NotFound, "VALUE_NOT_FOUND", "key", "k"),
    Bad("remove.empty", lambda db, user: user.remove(""), InvalidArgument, "EMPTY", "key"),
    Bad(
        "keys.prefix.array",
        lambda db, user: user.keys(vector(1)),
        InvalidArgument,
        "BAD_TEXT",
        "prefix",
        "ndarray",
    ),
    Bad(
        "keys.limit",
        lambda db, user: user.keys(limit=0),
        InvalidArgument,
        "OUT_OF_RANGE",
        "limit",
        "0",
    ),
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
]
