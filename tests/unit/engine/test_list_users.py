"""Pages of users while others are made: none fails, and none leaves out who was there."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from memdb.engine.database import EmbeddedDatabase
from memdb.types.limits import LIMIT_MAX

BEFORE = 200
MEANWHILE = 60


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("after", [None, "a"])
def test_users_are_listed_while_others_are_made(
    db: EmbeddedDatabase, restless: None, after: str | None
) -> None:
    there = [f"b{number:03}" for number in range(BEFORE)]
    for user in there:
        db._catalog.add_user(user)

    def make() -> None:
        for number in range(MEANWHILE):
            db._catalog.add_user(f"c{number:03}")

    maker = threading.Thread(target=make)
    maker.start()
    while maker.is_alive():
        assert db.users(limit=3, after=after) == there[:3]
        assert db.users(limit=BEFORE, after=after) == there
    maker.join()
    assert len(db.users(limit=LIMIT_MAX, after=after)) == BEFORE + MEANWHILE
