"""Moments named by a time, where the wall clock was wrong when something was committed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from memdb import FailedPrecondition
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from tests.unit.engine.conftest import SECOND_NS

YEARS_NS = 10 * 365 * 86_400 * SECOND_NS


def at(time_ns: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)


def test_a_clock_that_was_ahead_gives_no_answer_of_before_it(
    db: EmbeddedDatabase, clock: ManualClock
) -> None:
    user = db.user("alice")
    user.put("k", 1)
    first_ns = clock.now_ns()
    clock.advance(60 * SECOND_NS)
    clock.jump(YEARS_NS)
    user.put("k", 2)
    clock.jump(-YEARS_NS)
    clock.advance(60 * SECOND_NS)
    newest = user.put("k", 3)
    clock.advance(60 * SECOND_NS)
    for ago_ns in (0, 30 * SECOND_NS, 119 * SECOND_NS):
        with pytest.raises(FailedPrecondition) as refused:
            user.get("k", as_of=at(clock.now_ns() - ago_ns))
        assert (refused.value.reason, refused.value.field) == ("CLOCK_AHEAD", "as_of")
    # What is known is told as ever.
    assert user.get("k", as_of=at(first_ns)) == 1
    assert user.get("k", as_of=at(first_ns - SECOND_NS)) is None
    assert user.get("k", as_of=newest) == user.get("k") == 3
    user.snapshot("now")
    assert user.get("k", as_of="now") == 3
    # Once the clock has come there, times say again what they said.
    clock.jump(2 * YEARS_NS)
    assert user.get("k", as_of=at(clock.now_ns() - SECOND_NS)) == 3
