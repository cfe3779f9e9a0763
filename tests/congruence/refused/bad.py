"""A call that must fail, what such calls are made of, and values that are odd wherever they stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from memdb import MemdbError
from memdb.types.database import Database, User
from tests.congruence.media import clip, vector

HUGE = 10**5000
"""Has no text: Python refuses to write more than 4300 digits."""
BIG = 10**400
"""Beyond every float."""
LONE = "\ud800"
"""Half of a pair: no text that UTF-8 knows."""
FAR = datetime(9999, 1, 1, tzinfo=UTC)
"""Its nanoseconds are more than 64 bits hold."""
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


def send(user: User, what: Any) -> None:
    """Write something through an ingest stream."""
    with user.stream("door").ingest() as writer:
        writer.send(what)


def ground(**options: Any) -> Callable[[Database, User], Any]:
    feature = options.pop("feature", vector(1))
    return lambda db, user: user.ground(feature, **options)
