"""Hours and days within a budget: the same from the store as from the clips, and no more read than given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memdb import ResourceExhausted
from memdb.engine import long_term, memory
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.pyramid import DAY_NS, HOUR_NS, read_bucket
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
    assert np.allclose(now.tokens, then.tokens)
    assert len(now.spans) <= max_tokens


def test_only_what_is_given_is_read(user: EmbeddedUser, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []

    def counting(key: bytes, stored: Any) -> Any:
        read.append(key)
        return read_bucket(key, stored)

    monkeypatch.setattr(long_term, "read_bucket", counting)
    assert len(user.long_term(max_tokens=3).spans) == len(read) == 3
    read.clear()
    with pytest.raises(ResourceExhausted) as refused:
        user.long_term(max_tokens=512, answer_bytes_max=39 * 4 * DIM)
    assert (refused.value.reason, refused.value.field) == ("MESSAGE_TOO_LARGE", "max_tokens")
    assert read == []
    assert len(user.long_term(max_tokens=512, answer_bytes_max=40 * 4 * DIM).spans) == 40


def test_a_commit_that_comes_in_between_costs_a_newer_view_and_not_all_sums(
    user: EmbeddedUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, summed = long_term._stored, []

    def late(*arguments: Any) -> Any:
        if user.get("came") is None:
            user.put("came", 1)
        return stored(*arguments)

    monkeypatch.setattr(long_term, "_stored", late)
    monkeypatch.setattr(long_term, "_summed", lambda *_: summed.append(1))
    found = user.long_term()
    assert found.revision == user.revision()
    assert len(found.spans) == 2 * DAYS * HOURS
    assert summed == []


def test_a_commit_that_nobody_shows_costs_one_wait(
    user: EmbeddedUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []

    def wait(_: object, revision: int, timeout_s: float) -> bool:
        waits.append(revision)
        return False

    monkeypatch.setattr(memory.UserMemory, "wait_for_revision", wait)
    monkeypatch.setattr(long_term, "_stored", lambda *_: None)
    user.long_term()
    assert len(waits) == 1


def test_where_a_commit_always_comes_in_between_there_is_an_answer_all_the_same(
    user: EmbeddedUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = user.long_term()
    monkeypatch.setattr(memory, "SHOWN_TIMEOUT_S", 0.001)
    monkeypatch.setattr(long_term, "_stored", lambda *_: None)
    found = user.long_term()
    assert found.spans == expected.spans
    assert np.allclose(found.tokens, expected.tokens)
