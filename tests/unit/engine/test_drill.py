"""Drills: they tell a difference, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from memdb import DeadlineExceeded, InvalidArgument, Unavailable
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.drill import drill
from memdb.engine.user import EmbeddedUser
from memdb.store.shredding import KEY_FILE
from memdb_client import connect
from tests.unit.engine.archives import grow
from tests.unit.engine.encrypted import grown, keys
from tests.unit.engine.test_encryption import OLD, key_file


@pytest.fixture
def encrypted(folder: Path) -> Iterator[EmbeddedDatabase]:
    """An encrypted database."""
    with grown(folder) as made:
        yield made


def test_a_drill_tells_a_difference(db: EmbeddedDatabase, folder: Path) -> None:
    grow(db, "alice", 0)
    db.backup(folder / "a0")
    for fact in db.user("alice").facts():
        db.user("alice").forget(fact.id)
    found = drill(folder / "a0", db, scratch=folder)
    assert ("alice", "facts") in found.differences
    assert not found.ok
    assert sorted(e.name for e in folder.iterdir()) == ["a0", "data"]


def test_a_user_that_is_gone_is_one_difference(db: EmbeddedDatabase, folder: Path) -> None:
    grow(db, "alice", 0)
    grow(db, "bob", 0)
    db.backup(folder / "a0")
    db.user("alice").erase()
    found = drill(folder / "a0", db, scratch=folder)
    assert found.differences == (("alice", "user"),)
    assert found.questions > 1


def test_a_database_that_goes_away_ends_the_drill(db: EmbeddedDatabase, folder: Path) -> None:
    """Each question after it would wait for a server that is gone, and count as a difference."""
    grow(db, "alice", 0)
    db.backup(folder / "a0")
    with connect(f"unix:{folder}/none.sock", timeout_s=0.2) as away, pytest.raises(Unavailable):
        drill(folder / "a0", away, scratch=folder)
    assert sorted(e.name for e in folder.iterdir()) == ["a0", "data"]


def test_one_that_goes_away_in_the_middle_does_too(
    db: EmbeddedDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(db, "alice", 0)
    db.backup(folder / "a0")

    def gone(*_: object, **__: object) -> NoReturn:
        raise DeadlineExceeded("no answer")

    monkeypatch.setattr(EmbeddedUser, "clip", gone)
    with pytest.raises(DeadlineExceeded):
        drill(folder / "a0", db, scratch=folder)


def test_a_drill_that_asks_nothing_is_refused(db: EmbeddedDatabase, folder: Path) -> None:
    grow(db, "alice", 0)
    db.backup(folder / "a0")
    for questions in (0, -1):
        with pytest.raises(InvalidArgument) as refused:
            drill(folder / "a0", db, questions=questions, scratch=folder)
        assert (refused.value.reason, refused.value.field) == ("OUT_OF_RANGE", "questions")


def test_a_drill_leaves_no_key_behind(
    encrypted: EmbeddedDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encrypted.backup(folder / "a0")
    linked: list[Path] = []
    real = EmbeddedDatabase.close

    def link_first(one: EmbeddedDatabase) -> None:
        for key in one._directory.path.rglob("KEY"):
            linked.append(folder / f"linked-{len(linked)}")
            linked[-1].hardlink_to(key)
        real(one)

    monkeypatch.setattr(EmbeddedDatabase, "close", link_first)
    assert drill(folder / "a0", encrypted, scratch=folder, keys=keys(folder)).ok
    monkeypatch.undo()
    assert len(linked) == 3
    assert {path.read_bytes() for path in linked} == {bytes(81)}


DRILL = """
import sys
from memdb.engine import drill as drills
from memdb.engine.restore import restore
from memdb.store.archivekeys import KeyFiles

def stopped(*_):
    print("restored", flush=True)
    sys.stdin.read()

drills._compared = stopped
archive, scratch, key = sys.argv[1:]
drills.drill(archive, None, scratch=scratch, keys=KeyFiles(key))
"""


def test_what_a_killed_drill_leaves_goes_with_the_next(
    encrypted: EmbeddedDatabase, folder: Path
) -> None:
    encrypted.backup(folder / "e0")
    scratch = folder / "scratch"
    scratch.mkdir()
    (scratch / ".memdb-drill-photos").mkdir()  # not ours
    process = subprocess.Popen(
        [sys.executable, "-c", DRILL, str(folder / "e0"), str(scratch), key_file(folder, OLD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"restored\n"
    (left,) = (path for path in scratch.iterdir() if path.name != ".memdb-drill-photos")
    linked = folder / "linked"
    linked.hardlink_to(next(left.rglob(KEY_FILE)))
    assert drill(folder / "e0", encrypted, scratch=scratch, keys=keys(folder)).ok
    assert left.exists()  # it runs
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert left.exists()
    assert drill(folder / "e0", encrypted, scratch=scratch, keys=keys(folder)).ok
    assert [path.name for path in scratch.iterdir()] == [".memdb-drill-photos"]
    assert linked.read_bytes() == bytes(81)
