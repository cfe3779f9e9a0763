"""Numbers of clips that an export has no clip for are taken in the copy, and are no gaps."""

from __future__ import annotations

from pathlib import Path

import pytest

from memdb import (
    Retention,
)
from memdb.types.database import Database, User
from memdb.types.limits import LATE_SEQ_MAX
from tests.congruence.media import clip, vector

pytest.importorskip("pyarrow", reason="the extra memdb[export] is not installed")
pytest.importorskip("safetensors", reason="the extra memdb[export] is not installed")

from pyarrow import parquet

pytestmark = pytest.mark.congruence


def test_numbers_that_are_taken_are_no_gaps_of_the_copy(
    db: Database, user: User, tmp_path: Path
) -> None:
    from memdb.portable.exporter import export_user
    from memdb.portable.importer import import_user

    door, yard = user.stream("door", space="clip"), user.stream("yard", space="clip")
    planted = {"name": "secret-of-alice"}
    acks = [door.write(clip(seq, labels=planted)) for seq in (*range(14), 17, 18)]
    door.write(clip(3, epoch=2))
    door.write(clip(19, sealed=False))
    user.erase_clips([acks[seq].clip_id for seq in (*range(10), 11, 15)])
    lost = [yard.write(clip(seq)) for seq in range(3)]
    user.erase_clips([ack.clip_id for ack in lost])
    gaps = [(gap.epoch, gap.first_seq, gap.last_seq) for gap in door.gaps()]
    assert gaps == [(0, 14, 16), (2, 0, 2)]

    export_user(db, "alice", tmp_path / "export")
    rows = parquet.read_table(tmp_path / "export" / "taken.parquet").to_pylist()
    assert rows == [
        {"stream": "door", "epoch": 0, "first_seq": 0, "last_seq": 9},
        {"stream": "door", "epoch": 0, "first_seq": 11, "last_seq": 11},
        {"stream": "door", "epoch": 0, "first_seq": 18, "last_seq": 18},
        {"stream": "yard", "epoch": 0, "first_seq": 0, "last_seq": 2},
    ]
    report = import_user(db, tmp_path / "export", user="bob")
    bob = db.user("bob")
    assert report.numbers_taken == 15
    copy = bob.stream("door")
    assert [(gap.epoch, gap.first_seq, gap.last_seq) for gap in copy.gaps()] == gaps
    assert bob.stream("yard").gaps() == []
    assert sorted(clip.seq for clip in bob.clips()) == sorted(clip.seq for clip in user.clips())
    for name in ("door", "yard"):
        theirs, ours = bob.stream(name).ledger(), user.stream(name).ledger()
        assert (theirs.next_seq, theirs.clips) == (ours.next_seq, ours.clips)
    # Another clip gets such a number neither here nor there.
    for handle in (door, copy):
        assert handle.write(clip(11, vector(1, 2, 3))).duplicate
        assert handle.write(clip(18, vector(1, 2, 3))).duplicate
    assert db.verify().ok
    revision = bob.revision()
    for name in ("bob", "alice"):
        assert import_user(db, tmp_path / "export", user=name).numbers_taken == 0
    assert bob.revision() == revision


def test_a_number_is_taken_before_the_clips_are_too_far_ahead_of_it(
    db: Database, user: User, tmp_path: Path
) -> None:
    from memdb.portable.exporter import export_user
    from memdb.portable.importer import import_user

    door = user.stream("door", space="clip")
    far = 3 * LATE_SEQ_MAX
    acks = [door.write(clip(seq)) for seq in (0, 1, 2, far, far + 1, far + 2)]
    user.erase_clips([acks[1].clip_id, acks[4].clip_id])
    export_user(db, "alice", tmp_path / "export")

    report = import_user(db, tmp_path / "export", user="bob")

    assert (report.clips_written, report.numbers_taken) == (4, 2)
    gaps = db.user("bob").stream("door").gaps()
    assert [(gap.first_seq, gap.last_seq) for gap in gaps] == [(3, far - 1)]


def test_numbers_are_taken_again_after_an_import_that_was_broken_off(
    db: Database, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memdb.portable import taken
    from memdb.portable.exporter import export_user
    from memdb.portable.importer import import_user

    door = user.stream("door", space="clip")
    ids = [door.write(clip(seq)).clip_id for seq in range(9)]
    user.erase_clips(ids[:5])
    export_user(db, "alice", tmp_path / "export")
    with monkeypatch.context() as broken:
        broken.setattr(taken.Taking, "_erase", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            import_user(db, tmp_path / "export", user="bob")
    bob = db.user("bob")
    assert len(bob.clips()) == 9
    import_user(db, tmp_path / "export", user="bob")
    assert [clip.seq for clip in bob.clips()] == [5, 6, 7, 8]
    assert bob.stream("door").gaps() == []
    # Who has a clip of such a number keeps it.
    carol = db.user("carol")
    carol.stream("door", space="clip").write(clip(2, sealed=False))
    assert import_user(db, tmp_path / "export", user="carol").numbers_taken == 4
    assert [clip.seq for clip in carol.clips()] == [2, 5, 6, 7, 8]
    # What is under hold is not erased, be it only a number.
    dave = db.user("dave").stream("door", space="clip")
    dave.create()
    dave.set_retention(Retention(hold=True))
    held = import_user(db, tmp_path / "export", user="dave")
    assert (held.clips_written, held.numbers_taken, held.numbers_left) == (4, 0, 5)
    assert [(gap.first_seq, gap.last_seq) for gap in dave.gaps()] == [(0, 4)]
