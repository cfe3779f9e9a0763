"""Versions of clips that are collected: which moments can still be asked for, and what others are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memdb import FailedPrecondition, NotFound, Retention, Utterance
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine import apply_removal, removal
from memdb.engine.applied import Removed
from memdb.engine.database import EmbeddedDatabase
from memdb.types.operation import CollectVersions, RemoveClips, ThinClips
from tests.unit.engine.conftest import CONFIG, SECOND_NS, clip, vector


def test_history_is_collected_but_for_snapshots_and_says_so(
    folder: Path, clock: ManualClock
) -> None:
    config = EngineConfig(
        map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20, open_history_s=3600
    )
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        db.create_space("cam", dim=8)
        user = db.user("alice")
        door = user.stream("door", space="cam")
        for version in range(1, 7):
            door.write(
                clip(
                    0,
                    end_ns=version * SECOND_NS,
                    sealed=version == 6,
                    transcript=(Utterance(0, 1, f"version{version}"),),
                )
            )
            if version == 3:
                snapshot = user.snapshot("kept", ttl_s=86_400)
        assert db.sweep().versions == 0
        clock.advance(2 * 3600 * SECOND_NS)
        user.put("time", "goes on")
        assert db.sweep().versions == 4
        assert user.clips(as_of=snapshot)[0].end_ns == 3 * SECOND_NS
        assert user.clips()[0].end_ns == 6 * SECOND_NS
        assert [
            hit.clip.end_ns for hit in user.recall("version3", as_of=snapshot).hits if hit.clip
        ] == [3 * SECOND_NS]
        for revision in (1, 2, 5):
            with pytest.raises(FailedPrecondition) as collected:
                user.clips(as_of=revision)
            assert collected.value.reason == "HISTORY_COLLECTED"
        assert db.verify().ok
        assert [change.clip is None for change in user.changes() if change.kind == "clip"] == [
            True, True, False, True, True, False,
        ]  # fmt: skip
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        assert db.user("alice").clips(as_of="kept")[0].end_ns == 3 * SECOND_NS
        with pytest.raises(FailedPrecondition):
            db.user("alice").clips(as_of=1)
        assert db.verify().ok


def test_a_lease_that_has_ended_keeps_nothing(folder: Path, clock: ManualClock) -> None:
    config = replace(CONFIG, open_history_s=3600)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        db.create_space("cam", dim=8)
        user = db.user("alice")
        door = user.stream("door", space="cam")
        snapshots = {}
        for version in range(1, 7):
            door.write(clip(0, end_ns=version * SECOND_NS, sealed=version == 6))
            if version in (2, 4):
                ttl_s = 3 * 3600 if version == 2 else 5 * 86_400
                snapshots[version] = user.snapshot(f"at{version}", ttl_s=ttl_s)
        user.snapshot("now", ttl_s=60)
        clock.advance(2 * 3600 * SECOND_NS)
        user.put("time", "goes on")
        assert db.sweep().versions == 3
        clock.advance(3600 * SECOND_NS + 1)  # the lease of version 2 ends
        ten_years_ns = 10 * 365 * 86_400 * SECOND_NS
        clock.jump(ten_years_ns)
        assert db.sweep().versions == 1  # that of version 4 does not, whatever the wall clock says
        clock.jump(-ten_years_ns)
        assert [snapshot.name for snapshot in user.snapshots()] == ["at4"]
        assert user.clips(as_of="at4")[0].end_ns == 4 * SECOND_NS
        with pytest.raises(FailedPrecondition) as collected:
            user.clips(as_of=snapshots[2].revision)
        assert collected.value.reason == "HISTORY_COLLECTED"
        # Also where the wall clock says again that it is leased: what it kept is gone.
        clock.jump(-2 * SECOND_NS)
        for moment in ("at2", snapshots[2]):
            with pytest.raises(NotFound) as gone:
                user.clips(as_of=moment)
            assert gone.value.reason == "SNAPSHOT_NOT_FOUND"
        told = [change.key for change in user.changes() if change.kind == "release"]
        assert sorted(map(str, told)) == ["at2", "now"]
        assert db.verify().ok
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        assert db.user("alice").clips(as_of="at4")[0].end_ns == 4 * SECOND_NS
        assert db.verify().ok


def test_a_hold_keeps_superseded_versions_and_what_was_chosen_before_it(
    folder: Path, clock: ManualClock
) -> None:
    """A sweep chooses, and commits afterwards: whoever sets a hold in between is right."""
    config = replace(CONFIG, open_history_s=3600)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        db.create_space("cam", dim=8)
        user = db.user("alice")
        memory = np.ones((4, 8), np.float16)
        for name in ("held", "free"):
            stream = user.stream(name, space="cam")
            for version in (1, 2):
                end_ns = version * SECOND_NS
                stream.write(clip(0, end_ns=end_ns, sealed=version == 2, short_memory=memory))
        clock.advance(2 * 3600 * SECOND_NS)
        user.put("time", "goes on")
        user.stream("held").set_retention(Retention(hold=True))
        assert db.sweep().versions == 1
        assert user.clips(stream="held", as_of=1)[0].end_ns == SECOND_NS
        with user.memory() as opened:
            (no,) = removal.clips_of(opened.view, "held", None, None)
            for operation in (
                ThinClips((no,), short_memory=True, keyframes=True),
                RemoveClips((no,), is_erasure=False),
                RemoveClips((no,), is_erasure=True),
                CollectVersions(((no, 1, 2),)),
            ):
                taken = removal.one(opened.write([operation]))
                assert isinstance(taken, Removed)
                assert (taken.clip_nos, taken.size) == ((), 0)
        (kept,) = user.clips(stream="held")
        assert user.short_memory([kept.id])[0].shape == memory.shape
        assert db.verify().ok


def test_a_history_that_was_collected_is_told_in_bounded_room(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply_removal, "SPANS_MAX", 4)
    config = replace(CONFIG, open_history_s=3600)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        db.create_space("cam", dim=8)
        user = db.user("alice")
        door = user.stream("door", space="cam")
        for seq in range(10):
            door.write(clip(seq, sealed=False))
            snapshot = user.snapshot(f"at{seq}", ttl_s=86_400)
            user.release(snapshot.name)
            door.write(clip(seq, global_memory=vector(seq + 100)))
        clock.advance(2 * 3600 * SECOND_NS)
        user.put("time", "goes on")
        assert db.sweep().versions == 10
        with user.memory() as memory:
            spans = memory.view.state.collected
        assert spans == ((1, 28), (29, 32), (33, 36), (37, 40))
        for revision, is_told in ((0, True), (4, False), (28, True), (32, True), (33, False)):
            if is_told:
                assert len(user.clips(as_of=revision)) == revision // 4
            else:
                with pytest.raises(FailedPrecondition):
                    user.clips(as_of=revision)
        assert db.verify().ok


@pytest.mark.parametrize("collects", [True, False])
def test_gaps_beside_a_clip_that_grew_stay_when_its_versions_go(
    folder: Path, clock: ManualClock, collects: bool
) -> None:
    """Or when it goes itself: as the clip is, not as it was first written, nor as far as one still knows."""
    config = replace(CONFIG, open_history_s=3600)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        db.create_space("cam", dim=8)
        door = db.user("alice").stream("door", space="cam")
        for seq, seconds, sealed in ((0, 1, False), (0, 5, False), (2, 10, True), (0, 10, True)):
            start_ns = seq * 10 * SECOND_NS
            door.write(clip(seq, end_ns=start_ns + seconds * SECOND_NS, sealed=sealed))
        if collects:
            clock.advance(2 * 3600 * SECOND_NS)
            assert db.sweep().versions == 2
        else:
            door.set_retention(Retention(max_clips=1))
            assert db.sweep().clips == 1
        gaps = door.gaps()
        assert [(gap.start_ns, gap.end_ns) for gap in gaps] == [(10 * SECOND_NS, 20 * SECOND_NS)]
        assert db.verify().ok
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        assert db.user("alice").stream("door").gaps() == gaps


def test_a_moment_between_collected_ones_is_told_where_a_snapshot_keeps_it(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply_removal, "SPANS_MAX", 1)
    with EmbeddedDatabase(
        folder / "data", config=replace(CONFIG, open_history_s=3600), clock=clock
    ) as db:
        db.create_space("cam", dim=8)
        user = db.user("alice")
        door = user.stream("door", space="cam")
        for seq in range(4):
            door.write(clip(seq, sealed=False))
            if seq == 1:
                snapshot = user.snapshot("kept", ttl_s=86_400)
            user.put("time", "goes on")
            door.write(clip(seq, global_memory=vector(seq + 100)))
        clock.advance(2 * 3600 * SECOND_NS)
        user.put("time", "goes on")
        assert db.sweep().versions == 3
        for moment in (snapshot, "kept", snapshot.revision):
            assert [found.sealed for found in user.clips(as_of=moment)] == [True, False]
        with pytest.raises(FailedPrecondition) as collected:
            user.clips(as_of=snapshot.revision - 2)
        assert collected.value.reason == "HISTORY_COLLECTED"
