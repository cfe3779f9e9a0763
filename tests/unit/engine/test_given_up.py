"""What goes through everything, given up half-way: as where a server stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from memdb import DeadlineExceeded, Retention
from memdb.deadline import Deadline
from memdb.engine import removal
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import verify_archive
from tests.unit.engine.archives import grow
from tests.unit.engine.door import filled, seqs


class Leaving(Deadline):
    """Nobody waits any more when it is asked for the n-th time."""

    __slots__ = ("_left",)

    def __init__(self, asked: int) -> None:
        super().__init__()
        self._left = asked

    def check(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.leave()
        super().check()


@pytest.mark.parametrize("asked", [1, 2, 5, 20])
def test_a_verification_ends_and_tells_no_damage(db: EmbeddedDatabase, asked: int) -> None:
    grow(db, "alice", 0)
    with pytest.raises(DeadlineExceeded):
        Leaving(asked).within(db.verify)
    assert db.verify().ok


@pytest.mark.parametrize("asked", [1, 2, 3, 4, 5])
def test_a_backup_leaves_nothing_behind(db: EmbeddedDatabase, folder: Path, asked: int) -> None:
    for name in ("alice", "bob"):
        grow(db, name, 0)
    with pytest.raises(DeadlineExceeded):
        Leaving(asked).within(db.backup, folder / "a")
    assert sorted(entry.name for entry in folder.iterdir()) == ["data"]
    db.backup(folder / "a")
    assert verify_archive(folder / "a").ok


def test_the_next_sweep_has_the_rest(db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal.batches, "__defaults__", (10,))
    filled(db, 50)
    db.user("alice").stream("door").set_retention(Retention(max_clips=5))
    with pytest.raises(DeadlineExceeded):
        # Before the first user, and after the second batch.
        Leaving(4).within(db.sweep)
    assert len(seqs(db)) == 30
    assert db.sweep().clips == 25
    assert len(seqs(db)) == 5
