"""Hours and days within a budget: the same from the pyramid as from the clips, and no more summed than given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memdb import ResourceExhausted
from memdb.engine import long_term, memory, pyramid
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.pyramid import DAY_NS, HOUR_NS, Pyramid, add_rows
from memdb.engine.user import EmbeddedUser
from tests.unit.engine.conftest import DIM, clip

DAYS = 4
HOURS = 5


@pytest.fixture
def user(db: EmbeddedDatabase) -> EmbeddedUser:
    """Two streams with a clip in each of the same hours; the second stream's came first."""
    made = db.user("alice")
    made.stream("first", space="cam").create()
    for name in ("second", "first"):
        stream = made.stream(name, space="cam")
        for seq in range(DAYS * HOURS):
            start_ns = (seq // HOURS) * DAY_NS + (seq % HOURS) * HOUR_NS
            stream.write(clip(seq, start_ns=start_ns, end_ns=start_ns + 1))
    return made


@pytest.mark.parametrize("max_tokens", [1, 2, 3, 7, 8, 9, 20, 21, 45, 512])
def test_a_revision_has_the_answer_that_it_had(user: EmbeddedUser, max_tokens: int) -> None:
    now = user.long_term(max_tokens=max_tokens)
    revision = user.revision()
    user.put("something", "later")
    then = user.long_term(max_tokens=max_tokens, as_of=revision)
    assert now.spans == then.spans
    assert np.array_equal(now.tokens, then.tokens)
    assert len(now.spans) <= max_tokens


def test_only_what_is_given_is_summed(user: EmbeddedUser, monkeypatch: pytest.MonkeyPatch) -> None:
    summed: list[int] = []

    def counting(total: Any, matrix: Any, rows: Any) -> None:
        summed.append(len(rows))
        add_rows(total, matrix, rows)

    monkeypatch.setattr(pyramid, "add_rows", counting)
    assert len(user.long_term(max_tokens=3).spans) == len(summed) == 3
    summed.clear()
    with pytest.raises(ResourceExhausted) as refused:
        user.long_term(max_tokens=512, answer_bytes_max=39 * 4 * DIM)
    assert (refused.value.reason, refused.value.field) == ("MESSAGE_TOO_LARGE", "max_tokens")
    assert summed == []
    assert len(user.long_term(max_tokens=512, answer_bytes_max=40 * 4 * DIM).spans) == 40


def test_a_view_that_the_pyramid_is_past_costs_a_newer_view_and_not_all_sums(
    user: EmbeddedUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, summed = Pyramid.buckets, []

    def late(self: Pyramid, *arguments: Any) -> Any:
        if user.get("came") is None:
            user.put("came", 1)
            user.long_term()  # somebody else's, at the newer view
        return real(self, *arguments)

    monkeypatch.setattr(Pyramid, "buckets", late)
    monkeypatch.setattr(long_term, "_summed", lambda *_: summed.append(1))
    found = user.long_term()
    assert found.revision == user.revision()
    assert len(found.spans) == 2 * DAYS * HOURS
    assert summed == []


def test_where_the_pyramid_is_always_past_the_view_there_is_an_answer_all_the_same(
    user: EmbeddedUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = user.long_term()
    monkeypatch.setattr(memory, "SHOWN_TIMEOUT_S", 0.001)
    monkeypatch.setattr(Pyramid, "buckets", lambda *_: None)
    found = user.long_term()
    assert found.spans == expected.spans
    assert np.array_equal(found.tokens, expected.tokens)
