"""Late clips fill their gaps up to a stated bound; a stored clip is acknowledged at any time."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from memdb import AlreadyExists, FailedPrecondition, ResourceExhausted
from memdb.engine import lateness, reached
from memdb.engine.database import EmbeddedDatabase
from memdb.types.limits import SEQ_MAX
from tests.unit.engine.conftest import CONFIG, DIM, clip


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
    # As many as there may be: clips that follow each other come all the same, be it together.
    assert len(door.write_many([clip(seq) for seq in range(9, 20)])) == 11
    assert db.verify().ok


@pytest.fixture
def few_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch may have three."""
    monkeypatch.setattr(lateness, "GAPS_MAX", 3)
    monkeypatch.setattr(reached, "GAPS_MAX", 3)


@pytest.mark.usefixtures("few_gaps")
@pytest.mark.parametrize("labels", [{}, {"where": "porch"}])
def test_late_numbers_part_no_gap_where_there_are_as_many_as_there_may_be(
    db: EmbeddedDatabase, labels: dict[str, str]
) -> None:
    """Of half a million that are missing each other one was let in, and made one gap more."""
    door = db.user("alice").stream("door", space="cam")
    door.write(clip(100, labels=labels))
    door.write_many([clip(20, labels=labels), clip(40, labels=labels)])
    assert len(door.gaps()) == 3
    for late in ([clip(60, labels=labels)], [clip(21, labels=labels), clip(23, labels=labels)]):
        with pytest.raises(ResourceExhausted) as many:
            door.write_many(late)
        assert (many.value.reason, many.value.field) == ("QUOTA", "clip.seq")
        assert many.value.value == str(late[-1].seq)
    # From both ends they are filled, in one batch or each by itself, and what is stored is stored.
    door.write_many([clip(seq, labels=labels) for seq in (22, 23, 39, 38, 0)])
    door.write(clip(99, labels=labels))
    assert door.write(clip(40, labels=labels)).duplicate
    assert [(gap.first_seq, gap.last_seq) for gap in door.gaps()] == [(1, 19), (24, 37), (41, 98)]
    door.write_many([clip(seq, labels=labels) for seq in range(24, 38)])
    door.write(clip(60, labels=labels))
    assert len(door.gaps()) == 3
    assert db.verify().ok


@pytest.mark.usefixtures("few_gaps")
def test_numbers_of_one_batch_open_no_more_gaps_than_there_may_be(db: EmbeddedDatabase) -> None:
    door = db.user("alice").stream("door", space="cam")
    with pytest.raises(ResourceExhausted) as many:
        door.write_many([clip(seq) for seq in (1, 3, 5, 7, 6, 9)])
    assert many.value.value == "7"
    assert [found.seq for found in db.user("alice").clips()] == [1, 3, 5, 6]
    with pytest.raises(ResourceExhausted):
        door.write_many([clip(seq) for seq in (0, 8)])


def test_a_number_far_ahead_is_one_gap(folder: Path) -> None:
    with EmbeddedDatabase(folder / "x", config=replace(CONFIG, seq_ahead_max=SEQ_MAX)) as db:
        db.create_space("cam", dim=DIM)
        door = db.user("alice").stream("door", space="cam")
        door.write(clip(SEQ_MAX, start_ns=0, end_ns=1))
        assert [(gap.first_seq, gap.last_seq) for gap in door.gaps()] == [(0, SEQ_MAX - 1)]


def test_a_number_too_far_ahead_is_refused_and_changes_nothing(folder: Path) -> None:
    with EmbeddedDatabase(folder / "x", config=replace(CONFIG, seq_ahead_max=10)) as db:
        db.create_space("cam", dim=DIM)
        alice = db.user("alice")
        door = alice.stream("door", space="cam")
        with pytest.raises(FailedPrecondition) as first:
            door.write(clip(11))
        assert (first.value.reason, first.value.value) == ("TOO_FAR_AHEAD", "11")
        assert db.users() == []
        door.write(clip(10))
        with pytest.raises(FailedPrecondition) as jump:
            door.write(clip(22))
        assert (jump.value.reason, jump.value.field, jump.value.value) == (
            "TOO_FAR_AHEAD",
            "clip.seq",
            "22",
        )
        with pytest.raises(FailedPrecondition):
            alice.stream("yard", space="cam").write(clip(11))
        assert [info.name for info in alice.streams()] == ["door"]
        assert alice.revision() == 1
        # Of a batch, each is measured from what comes before it; one does not stop the others.
        with pytest.raises(FailedPrecondition):
            door.write_many([clip(21), clip(99), clip(32), clip(3)])
        assert [found.seq for found in alice.clips()] == [3, 10, 21, 32]
        # Each epoch begins anew, and what is stored is acknowledged whatever the bound.
        assert not door.write(clip(10, epoch=1)).duplicate
        assert door.write(clip(32)).duplicate
    with EmbeddedDatabase(folder / "x", config=replace(CONFIG, seq_ahead_max=0)) as db:
        door = db.user("alice").stream("door")
        assert door.write(clip(32)).duplicate
        assert not door.write(clip(4)).duplicate
        assert not door.write(clip(33)).duplicate
        with pytest.raises(FailedPrecondition):
            door.write(clip(35))
        assert db.verify().ok
