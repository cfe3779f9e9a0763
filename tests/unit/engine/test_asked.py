"""What a view remembers between questions is bounded, and what it forgets is made again."""

from __future__ import annotations

import numpy as np
import pytest

from memdb.engine import view
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from tests.unit.engine.conftest import clip, vector

GAPS = 40


def with_gaps(db: EmbeddedDatabase) -> EmbeddedUser:
    user = db.user("alice")
    user.stream("door", space="cam").write_many([clip(2 * n + 1) for n in range(GAPS)])
    return user


def remembered(user: EmbeddedUser) -> int:
    """Gaps, and the stream with each."""
    with user.memory() as memory:
        return sum(count for _, count in memory.view.asked.values())


def test_gaps_of_many_ranges_are_not_all_remembered(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "ASKED_PARTS_MAX", 10 * (GAPS + 1))
    user = with_gaps(db)

    for start_ns in range(-35, 0):
        assert len(user.ground(vector(0), start_ns=start_ns).gaps) == GAPS
        assert 0 < remembered(user) <= 10 * (GAPS + 1)


def test_what_is_too_much_is_made_for_each_call(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "ASKED_PARTS_MAX", GAPS)
    user = with_gaps(db)

    one = user.ground(vector(0))
    first, second = user.ground_many(np.stack([vector(0), vector(1)]))

    assert one.gaps == first.gaps
    assert first.gaps[0] is second.gaps[0]
    assert remembered(user) == 0
