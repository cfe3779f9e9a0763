"""A version of a growing clip that is damaged: what is lost is what the clip was then, and not what it is now."""

from __future__ import annotations

from pathlib import Path

import pytest

from memdb import AlreadyExists, DataLoss
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from tests.unit.engine.conftest import CONFIG, SECOND_NS, clip, vector
from tests.unit.engine.damaged import ALTERED, change, flipped_value


def test_a_damaged_version_ends_the_one_before_it(folder: Path, clock: ManualClock) -> None:
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=8)
        door = db.user("alice").stream("door", space="cam")
        revisions = [
            door.write(clip(0, global_memory=vector(version), sealed=version == 2)).revision
            for version in range(3)
        ]
        path = db._directory.user_path("alice")
    change(path, "vectors", 1, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        alice = db.user("alice")
        answers = [alice.ground(vector(0), as_of=revision) for revision in revisions]
        assert [[hit.clip.revision for hit in answer.hits] for answer in answers] == [
            [revisions[0]],
            [],
            [revisions[2]],
        ]
        assert [gap.reason for gap in answers[1].gaps] == ["damaged"]


def test_a_clip_of_which_several_versions_are_damaged_is_one_gap(
    folder: Path, clock: ManualClock
) -> None:
    """Of which pages lose nothing, and which is counted once."""
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=8)
        door = db.user("alice").stream("door", space="cam")
        for version in range(3):
            end_ns = (11 + version) * SECOND_NS
            door.write(clip(0, end_ns=end_ns, sealed=version == 2))
        door.write(clip(1))
        path = db._directory.user_path("alice")
    for entry in (0, 2, 3):
        change(path, "vectors", entry, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        alice = db.user("alice")
        door = alice.stream("door")
        first, last = door.gaps()
        assert ((first.first_seq, first.end_ns), last.first_seq) == ((0, 13 * SECOND_NS), 1)
        assert door.gaps(limit=1) + door.gaps(limit=1, after=first) == [first, last]
        assert list(door.ledger().gaps) == [first, last]
        for revision, missing in ((1, 1), (2, 0), (3, 1), (4, 2)):
            answer = alice.ground(vector(0), as_of=revision, with_coverage=True)
            assert [part.missing for part in answer.coverage] == [missing]
            assert len(answer.gaps) == missing


@pytest.mark.parametrize("is_opened_anew", [True, False])
def test_a_clip_that_is_whole_as_it_is_now_is_missing_only_where_its_damaged_version_was(
    folder: Path, clock: ManualClock, *, is_opened_anew: bool
) -> None:
    """It was told as a gap of now, and sent again it was refused."""
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=8)
        alice = db.user("alice")
        door = alice.stream("door", space="cam")
        first = door.write(clip(0, sealed=False))
        last = door.write(clip(0, global_memory=vector(1)))
        path = db._directory.user_path("alice")
    if is_opened_anew:
        change(path, "vectors", 0, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        alice = db.user("alice")
        door = alice.stream("door", space="cam")
        if not is_opened_anew:
            with alice.memory() as memory:
                memory.view.note_damaged_version(0, first.revision, DataLoss("", field="clips/0"))
                memory.read(lambda view: view)
        before = alice.ground(vector(0), as_of=first.revision)
        assert [gap.reason for gap in before.gaps] == ["damaged"]
        answer = alice.ground(vector(0), with_coverage=True)
        assert [hit.clip.revision for hit in answer.hits] == [last.revision]
        assert answer.gaps == ()
        assert [part.missing for part in answer.coverage] == [0]
        assert list(door.gaps()) == []
        assert door.ledger().gaps == ()
        assert door.write(clip(0, global_memory=vector(1))).duplicate
        assert door.ledger().next_seq == 1
        door.write(clip(1))


@pytest.mark.parametrize("how", ALTERED)
@pytest.mark.parametrize("table", ["clips", "vectors"])
def test_a_clip_grows_on_whose_older_version_is_damaged(
    folder: Path, clock: ManualClock, table: str, how: str
) -> None:
    """The ledger said to go on with it, and where the version's record was the damaged part it was refused for ever."""
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=8)
        door = db.user("alice").stream("door", space="cam")
        first = door.write(clip(0, sealed=False))
        later = door.write(clip(0, sealed=False, global_memory=vector(1)))
        path = db._directory.user_path("alice")
    change(path, table, 0, ALTERED[how])
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        alice = db.user("alice")
        door = alice.stream("door")
        with door.ingest() as writer:
            assert writer.next_seq == 0
            writer.send(clip(0, sealed=False, global_memory=vector(2)))
            writer.send(clip(0, global_memory=vector(3)))
            writer.send(clip(1))
        copy = door.write(clip(0, sealed=False, global_memory=vector(1)))
        assert (copy.revision, copy.duplicate) == (later.revision, True)
        with pytest.raises(AlreadyExists):
            door.write(clip(0, global_memory=vector(4)))
        assert alice.ground(vector(0), as_of=first.revision).gaps != ()
        assert list(door.gaps()) == []


def test_damage_found_while_the_next_version_is_on_its_way_is_of_the_past(
    folder: Path, clock: ManualClock
) -> None:
    """Until the user was opened anew it was a gap of now, and the clip, which was open, could grow no more."""
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=8)
        alice = db.user("alice")
        door = alice.stream("door", space="cam")
        first = door.write(clip(0, sealed=False))
        with alice.memory() as memory:
            # As a reader that is still at it when the commit is shown.
            memory.view.note_damaged_version(0, first.revision, DataLoss("", field="clips/0"))
            assert door.write(clip(0, sealed=False, global_memory=vector(1))).revision == 2
            memory.read(lambda view: view)
        assert list(door.gaps()) == []
        assert [gap.reason for gap in alice.ground(vector(0), as_of=1).gaps] == ["damaged"]
        assert door.ledger().next_seq == 0
        assert door.write(clip(0)).revision == 3
