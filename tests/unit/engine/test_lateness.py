"""Late clips fill their gaps up to a stated bound; a stored clip is acknowledged at any time."""

from __future__ import annotations

import random

import pytest

from memdb import AlreadyExists, FailedPrecondition, ResourceExhausted
from memdb.engine import lateness
from memdb.engine.database import EmbeddedDatabase
from memdb.types.limits import SEQ_MAX
from tests.unit.engine.conftest import clip


def test_any_order_within_the_bound_gives_the_same_clips(db: EmbeddedDatabase) -> None:
    order = list(range(60))
    random.Random(4).shuffle(order)
    door = db.user("alice").stream("door", space="cam")
    for seq in order:
        assert not door.write(clip(seq)).duplicate
    assert [found.seq for found in db.user("alice").clips()] == list(range(60))
    assert door.gaps() == []
    assert db.verify().ok


def test_beyond_the_bound_a_missing_number_is_refused_and_a_stored_one_acknowledged(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lateness, "LATE_SEQ_MAX", 10)
    door = db.user("alice").stream("door", space="cam")
    door.write(clip(0))
    door.write(clip(20))
    with pytest.raises(FailedPrecondition) as late:
        door.write(clip(10))
    assert (late.value.reason, late.value.field, late.value.value) == ("TOO_LATE", "clip.seq", "10")
    assert door.write(clip(11)).duplicate is False
    assert door.write(clip(0)).duplicate is True
    with pytest.raises(AlreadyExists):
        door.write(clip(0, labels={"other": "content"}))
    # One of a batch does not stop the others.
    with pytest.raises(FailedPrecondition):
        door.write_many([clip(12), clip(5), clip(13)])
    assert [found.seq for found in db.user("alice").clips()] == [0, 11, 12, 13, 20]
    assert [(gap.first_seq, gap.last_seq) for gap in door.gaps()] == [(1, 10), (14, 19)]


def test_the_gaps_of_an_epoch_are_bounded(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lateness, "GAPS_MAX", 3)
    door = db.user("alice").stream("door", space="cam")
    for seq in (1, 3, 5):
        door.write(clip(seq))
    with pytest.raises(ResourceExhausted) as many:
        door.write(clip(7))
    assert (many.value.reason, many.value.field) == ("QUOTA", "clip.seq")
    door.write(clip(6))
    door.write(clip(0))
    door.write(clip(8))
    assert db.verify().ok


def test_a_number_far_ahead_is_one_gap(db: EmbeddedDatabase) -> None:
    door = db.user("alice").stream("door", space="cam")
    door.write(clip(SEQ_MAX, start_ns=0, end_ns=1))
    assert [(gap.first_seq, gap.last_seq) for gap in door.gaps()] == [(0, SEQ_MAX - 1)]
