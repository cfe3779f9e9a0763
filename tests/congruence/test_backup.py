"""Backup over every transport: the same archive, the same report."""

from __future__ import annotations

from pathlib import Path

import pytest

from memdb import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from memdb.engine.drill import drill
from memdb.engine.restore import restore, verify_archive
from memdb.types.database import Database, Stream, User
from memdb_client import connect
from tests.congruence.media import clip
from tests.congruence.server import ServerThread

pytestmark = pytest.mark.congruence


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    """Where the servers of these tests let archives be written."""
    folder = tmp_path / "backups"
    folder.mkdir(exist_ok=True)
    return folder


def test_a_chain_is_written_and_told_alike(
    db: Database, user: User, door: Stream, backups: Path, tmp_path: Path
) -> None:
    for seq in range(3):
        door.write(clip(seq))
    first = db.backup(backups / "monday")
    door.write(clip(3))
    db.user("bob").put("diet", 1)
    second = db.backup(backups / "tuesday", parent=backups / "monday")

    assert (first.path, first.parent) == (str(backups / "monday"), None)
    assert (first.users, first.full, first.incremental, first.unchanged) == (1, 1, 0, 0)
    assert second.parent == first.id
    assert (second.users, second.full, second.incremental, second.unchanged) == (2, 1, 1, 0)
    assert verify_archive(backups / "tuesday").id == second.id
    assert drill(backups / "tuesday", db, scratch=tmp_path).ok
    restore(backups / "tuesday", tmp_path / "copy")


def test_refusals_are_alike(db: Database, door: Stream, backups: Path) -> None:
    door.write(clip(0))
    db.backup(backups / "a")
    with pytest.raises(AlreadyExists) as taken:
        db.backup(backups / "a")
    assert taken.value.reason == "PATH_EXISTS"
    with pytest.raises(NotFound) as missing:
        db.backup(backups / "b", parent=backups / "nothing")
    assert missing.value.reason == "NOT_AN_ARCHIVE"
    for bad in ("", "a\0b", 7, None):
        with pytest.raises(InvalidArgument) as refused:
            db.backup(bad)  # type: ignore[arg-type]
        assert (refused.value.reason, refused.value.field) == ("BAD_PATH", "path")
    with pytest.raises(InvalidArgument) as parent:
        db.backup(backups / "b", parent=b"a")  # type: ignore[arg-type]
    assert (parent.value.reason, parent.value.field) == ("BAD_PATH", "parent")


def test_a_server_writes_below_its_backup_dir_only(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    (inside / "deep").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (inside / "link").symlink_to(tmp_path / "outside")
    with (
        ServerThread(tmp_path / "data", backup_dir=str(inside)) as server,
        connect(server.address) as db,
    ):
        for bad in (tmp_path / "outside" / "a", "../a", "link/a", ".", "deep/..", inside):
            with pytest.raises(PermissionDenied) as refused:
                db.backup(bad)
            assert (refused.value.reason, refused.value.field) == ("PATH_OUTSIDE", "path")
        with pytest.raises(PermissionDenied) as parent:
            db.backup("a", parent="../outside/a")
        assert parent.value.field == "parent"
        assert Path(db.backup("deep/a").path) == inside / "deep" / "a"
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_server_without_a_backup_dir_writes_nowhere(tmp_path: Path) -> None:
    with ServerThread(tmp_path / "data") as server, connect(server.address) as db:
        with pytest.raises(FailedPrecondition) as refused:
            db.backup("a")
        assert refused.value.reason == "BACKUP_DISABLED"
