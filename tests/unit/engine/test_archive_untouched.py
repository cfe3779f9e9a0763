"""An archive lies as a directory does; whatever opens directories leaves it as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

import memdb
from memdb.cli.main import main
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore, verify_archive
from memdb.errors import FailedPrecondition, InvalidArgument
from memdb.portable.exporter import export_user
from memdb.store.manifest_file import is_archive
from tests.unit.engine.conftest import CONFIG, DIM, clip


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        db.create_space("cam", dim=DIM)
        db.user("alice").stream("door", space="cam").write(clip(0))
        db.backup(tmp_path / "monday")
        # One that builds upon another has a catalog, and users without data of their own.
        db.backup(tmp_path / "tuesday", parent=tmp_path / "monday")
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize(
    "command",
    [
        ["users", "ARCHIVE"],
        ["gaps", "ARCHIVE", "--user", "alice"],
        ["sweep", "ARCHIVE"],
        ["erase", "ARCHIVE", "--user", "alice", "--everything", "--yes"],
        ["retention", "ARCHIVE", "--user", "alice", "--stream", "door", "--max-clips", "1"],
        ["upgrade", "ARCHIVE"],
        ["backup", "ARCHIVE", "--to", "ARCHIVE-again"],
        ["serve", "--data", "ARCHIVE", "--listen", "127.0.0.1:0"],
    ],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize("name", ["monday", "tuesday"])
def test_a_command_for_directories_leaves_it_restorable(
    archive: Path, name: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(archive / name)
    named = [word.replace("ARCHIVE", str(archive / name)) for word in command]
    assert main(named) == 1
    assert "IS_AN_ARCHIVE" in capsys.readouterr().err
    assert files(archive / name) == before
    assert verify_archive(archive / name).ok
    restore(archive / name, archive / "restored")
    assert not is_archive(archive / "restored")
    with memdb.open(archive / "restored") as db:
        assert len(db.user("alice").clips()) == 1


def test_it_does_not_open_in_a_process_either(archive: Path) -> None:
    before = files(archive / "monday")
    with pytest.raises(FailedPrecondition) as refused:
        memdb.open(archive / "monday")
    assert (refused.value.reason, refused.value.field) == ("IS_AN_ARCHIVE", "path")
    assert files(archive / "monday") == before


@pytest.mark.parametrize(
    "inside", ["data/trash", "data/users", "data/catalog", "monday", "monday/users"]
)
def test_a_place_where_a_backup_would_be_lost_is_refused(archive: Path, inside: str) -> None:
    (archive / "link").symlink_to(archive / inside)
    before = files(archive / "monday")
    with EmbeddedDatabase(archive / "data", config=CONFIG) as db:
        for target in (archive / inside / "new", archive / "link" / "new"):
            with pytest.raises(InvalidArgument) as refused:
                db.backup(target)
            assert (refused.value.reason, refused.value.field) == ("BAD_PATH", "path")
            assert not target.exists()
        db.backup(archive / "data" / "backups" / "new")  # a folder of the operator's own
    assert files(archive / "monday") == before
    with EmbeddedDatabase(archive / "data", config=CONFIG) as db:
        assert db.verify().ok
    assert verify_archive(archive / "data" / "backups" / "new").ok


@pytest.mark.parametrize("name", ["trash", "ENCRYPTION", "ERASED", ".upgrade", ".new-one", "users"])
def test_nor_is_a_place_that_the_database_keeps_for_itself(archive: Path, name: str) -> None:
    # No user, so that ``users`` is empty: what is empty may be put into.
    with EmbeddedDatabase(archive / "other", config=CONFIG):
        pass
    place = archive / "other" / name
    was_there = place.exists()
    with pytest.raises(InvalidArgument) as refused:
        restore(archive / "monday", place)
    assert (refused.value.reason, refused.value.field) == ("BAD_PATH", "path")
    with EmbeddedDatabase(archive / "other", config=CONFIG) as db:
        with pytest.raises(InvalidArgument) as refused:
            db.backup(place)
        assert (refused.value.reason, refused.value.field) == ("BAD_PATH", "path")
    if not was_there:
        with EmbeddedDatabase(archive / "data", config=CONFIG) as db:
            with pytest.raises(InvalidArgument) as refused:
                export_user(db, "alice", place)
            assert (refused.value.reason, refused.value.field) == ("BAD_PATH", "path")
    assert place.exists() == was_there
    with EmbeddedDatabase(archive / "other", config=CONFIG) as db:
        assert db.verify().ok


@pytest.mark.parametrize("inside", ["data/trash", "data/users", "monday", "monday/users"])
def test_nor_is_anything_restored_or_exported_to_such_a_place(archive: Path, inside: str) -> None:
    before = files(archive / "monday")
    target = archive / inside / "new"
    with pytest.raises(InvalidArgument) as refused:
        restore(archive / "monday", target)
    assert (refused.value.reason, refused.value.field) == ("BAD_PATH", "path")
    with EmbeddedDatabase(archive / "data", config=CONFIG) as db:
        with pytest.raises(InvalidArgument) as refused:
            export_user(db, "alice", target)
        assert (refused.value.reason, refused.value.field) == ("BAD_PATH", "path")
        assert not target.exists()
        assert db.verify().ok
    assert files(archive / "monday") == before
    restore(archive / "monday", archive / "data" / "restored")  # a folder of the operator's own
