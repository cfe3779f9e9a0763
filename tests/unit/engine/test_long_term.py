"""Hours and days within a budget: the same from the store as from the clips, and no more read than given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memdb import ResourceExhausted
from memdb.engine import long_term
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
