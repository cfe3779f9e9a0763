"""Ingest writers of one user share commits, each in its order."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from memdb.engine import shared_commit, shared_ingest
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.ingest_feed import Part
from memdb.engine.shared_commit import Place
from memdb.engine.shared_ingest import GROUP_CLIPS
from tests.unit.engine.conftest import CONFIG, DIM, SECOND_NS, clip
from tests.unit.engine.shared_ingest.cameras import (
    PATIENCE_S,
    camera,
    held_back,
    threads,
    wait_until_durable,
)
from tests.unit.engine.test_writer import in_threads


def test_clips_of_several_writers_are_in_one_commit(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    user.put("made", 1)
    before = user.revision()
    with ExitStack() as stack:
        writers = [stack.enter_context(camera(user, f"camera-{n}")) for n in range(5)]
        with held_back(db):
            for seq in range(4):
                for writer in writers:
                    writer.send(clip(seq))
        revisions = [[ack.revision for ack in writer.flush()] for writer in writers]
    assert all(len(each) == 4 and each == sorted(each) for each in revisions)
    # The first took eight or more of the twenty; two may have begun before all were there.
    assert user.revision() - before <= 3
    assert set(revisions[0]) & set(revisions[4])
    assert db.verify().ok


def test_many_writers_in_threads_each_in_its_order(db: EmbeddedDatabase) -> None:
    user = db.user("alice")

    def feed(number: int) -> None:
        with camera(user, f"camera-{number}") as writer:
            for seq in range(100):
                writer.send(clip(seq, end_ns=seq * 10 * SECOND_NS + 1, sealed=False))
                writer.send(clip(seq))
                if seq % 17 == number:
                    writer.flush()
            revisions = [ack.revision for ack in writer.flush()]
            assert revisions == sorted(revisions)
            assert writer.acks == 200

    in_threads(8, feed)
    for number in range(8):
        listed = user.clips(stream=f"camera-{number}", limit=1000)
        assert [(found.seq, found.sealed) for found in listed] == [(n, True) for n in range(100)]
    assert threads() == []
    assert db.verify().ok


def test_sealed_clips_wait_for_others_but_not_for_ever(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = db.user("alice")
    with camera(user, "door") as writer:
        writer.send(clip(0))
        writer.flush()
        # Nobody asks for it.
        writer.send(clip(1))
        wait_until_durable(db, 2)
        monkeypatch.setattr(shared_ingest, "LINGER_S", PATIENCE_S)
        for seq in range(2, 2 + GROUP_CLIPS):
            writer.send(clip(seq))
        wait_until_durable(db, 2 + GROUP_CLIPS)
        # What is open takes along what waits before it.
        writer.send(clip(10))
        writer.send(clip(11, sealed=False))
        wait_until_durable(db, 12)
        writer.send(clip(11))
        assert len(writer.flush()) == 12
        with camera(user, "other") as other:
            other.send(clip(0))
            writer.send(clip(12))
            writer.flush()
            assert other.acks == 1, "it was taken along"


def test_a_commit_takes_half_a_window_of_each(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other half is made ready meanwhile; it may join the first where that still waits for the disk."""
    taken: list[int] = []

    def write_parts(parts: Sequence[Part], place: Place) -> None:
        taken.extend(part.clips for part in parts)
        shared_commit.write_parts(parts, place)

    monkeypatch.setattr(shared_ingest, "write_parts", write_parts)
    user = db.user("alice")
    user.stream("door", space="cam").create()
    with user.stream("door").ingest(window=16) as writer:
        with held_back(db):
            writer.send(clip(0, sealed=False))
            while not writer._feed.going:
                threads()[0].join(0.001)
            writer.send(clip(0))
            for seq in range(1, 15):
                writer.send(clip(seq))
        assert len(writer.flush()) == 16
    assert sum(taken) == 16
    assert max(taken) == 8


def test_the_first_of_several_makes_the_user(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    nowhere = user.stream("nowhere").ingest()
    with camera(user, "a") as first, camera(user, "b") as second:
        for seq in range(GROUP_CLIPS):
            first.send(clip(seq))
            second.send(clip(seq))
    nowhere.send(clip(0))
    with pytest.raises(Exception, match="space"):
        nowhere.close()
    assert len(user.clips()) == 2 * GROUP_CLIPS


def test_numbers_that_are_on_their_way_are_not_skipped(folder: Path) -> None:
    """A commit is made ready while nobody sees the one before it yet."""
    with EmbeddedDatabase(folder / "data", config=replace(CONFIG, seq_ahead_max=0)) as db:
        db.create_space("cam", dim=DIM)
        with camera(db.user("alice"), "door") as writer:
            for seq in range(1000):
                writer.send(clip(seq))
            assert len(writer.flush()) == 1000
        assert db.user("alice").stream("door").ledger().gaps == ()
