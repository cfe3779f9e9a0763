"""What is refused stops its writer and what is behind it, and nobody else that shares its commit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from memdb import AlreadyExists, FailedPrecondition, failpoints
from memdb.engine import shared_ingest
from memdb.engine.database import EmbeddedDatabase
from memdb.failpoints import FailpointError
from tests.unit.engine.conftest import clip, vector
from tests.unit.engine.shared_ingest.cameras import PATIENCE_S, camera, held_back, threads


def test_what_is_refused_stops_its_writer_alone(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    user.stream("bad", space="cam").write(clip(2, global_memory=vector(99)))
    good, bad, late = (camera(user, name) for name in ("good", "bad", "late"))
    with held_back(db):
        for seq in range(6):
            good.send(clip(seq))
            bad.send(clip(seq))
            late.send(clip(seq) if seq != 4 else replace(clip(seq), seq=1 << 40))
    assert len(good.flush()) == 6
    for _ in range(2):
        with pytest.raises(AlreadyExists):
            bad.flush()
    with pytest.raises(AlreadyExists):
        bad.send(clip(6))
    assert (bad.acks, late.acks) == (2, 4)
    for writer, error in ((bad, AlreadyExists), (late, Exception)):
        with pytest.raises(error):
            writer.close()
    good.send(clip(6))
    good.close()
    assert [c.seq for c in user.clips(stream="good")] == list(range(7))
    assert threads() == []


def test_behind_a_refused_clip_nothing_more_is_taken(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    user.stream("bad", space="cam").write(clip(0, global_memory=vector(99)))
    bad = camera(user, "bad")
    other = camera(user, "other")
    bad.send(clip(0))
    with pytest.raises(AlreadyExists):
        bad.flush()
    with held_back(db):
        for seq in range(1, 4):
            with pytest.raises(AlreadyExists):
                bad.send(clip(seq))
            other.send(clip(seq))
    other.close()
    assert bad._feed.on_their_way == 0
    with pytest.raises(AlreadyExists):
        bad.close()
    assert [c.seq for c in user.clips(stream="bad")] == [0]


def test_what_is_no_refusal_is_raised_again_as_well(db: EmbeddedDatabase) -> None:
    """As where memory is short: what was sent after it was told once was dropped, and nobody said so."""
    user = db.user("alice")
    door = user.stream("door", space="cam")
    door.create()
    writer = door.ingest()
    failpoints.arm("commit.before=error@1")
    writer.send(clip(0))
    calls = (writer.flush, writer.flush, lambda: writer.send(clip(1)), writer.flush, writer.close)
    for call in calls:
        with pytest.raises(FailpointError):
            call()
    with door.ingest() as again:
        again.send(clip(again.next_seq))
    assert [c.seq for c in user.clips()] == [0]


def test_a_number_that_skips_too_many_lets_none_behind_it_in(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor in the next commit: all numbers that were meant would be too late."""
    monkeypatch.setattr(shared_ingest, "GROUP_CLIPS", 2)
    monkeypatch.setattr(shared_ingest, "LINGER_S", PATIENCE_S)
    user = db.user("alice")
    user.put("made", 1)
    writer = camera(user, "door")
    with held_back(db):
        for taken, seq in enumerate((0, 1 << 40, (1 << 40) + 1, (1 << 40) + 2), 1):
            writer.send(replace(clip(0), seq=seq))
            while len(writer._feed.going) < taken // 2:
                threads()[0].join(0.001)
    with pytest.raises(FailedPrecondition) as caught:
        writer.close()
    assert (caught.value.reason, caught.value.value) == ("TOO_FAR_AHEAD", str(1 << 40))
    assert user.stream("door").ledger().next_seq == 1
