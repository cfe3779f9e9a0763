"""Copies of the data under names that the system refuses: told by our errors, with nothing made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="the extra memdb[export] is not installed")

from memdb import DataLoss, MemdbError
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.drill import drill
from memdb.engine.restore import restore, verify_archive
from memdb.portable.exporter import export_user
from memdb.portable.importer import import_user
from memdb.store.archivekeys import KeyFiles
from tests.unit.engine.encrypted import keys, opened
from tests.unit.engine.test_encryption import OLD, key_file

ODD = {
    "too long": "x" * 300 + "/made",
    "too deep": "y/" * 3000 + "made",
    "with a zero byte": "a\0b/made",
    "below a file": "file/made",
    "below a loop": "loop/made",
}

Do = Callable[[EmbeddedDatabase, Path, str], object]
CALLS: dict[str, Do] = {
    "backup": lambda db, folder, path: db.backup(path),
    "backup upon": lambda db, folder, path: db.backup(folder / "new", parent=path),
    "restore": lambda db, folder, path: restore(path, folder / "new"),
    "restore to": lambda db, folder, path: restore(folder / "a0", path),
    "restore keys": lambda db, folder, path: restore(
        folder / "e0", folder / "new", keys=KeyFiles(key_file(folder, OLD), copies=path)
    ),
    "restore master key": lambda db, folder, path: restore(
        folder / "e0", folder / "new", keys=KeyFiles(path)
    ),
    "verify": lambda db, folder, path: verify_archive(path),
    "drill": lambda db, folder, path: drill(path, db, scratch=folder),
    "drill in": lambda db, folder, path: drill(folder / "a0", db, scratch=path),
    "export": lambda db, folder, path: export_user(db, "alice", path),
    "import": lambda db, folder, path: import_user(db, path),
}


@pytest.fixture
def archives(folder: Path) -> Path:
    """A folder with an archive, one of an encrypted directory, a file and a link to itself."""
    with EmbeddedDatabase(folder / "data") as db:
        db.user("alice").put("n", 1)
        db.backup(folder / "a0")
    with opened(folder, data="encrypted") as db:
        db.user("alice").put("n", 1)
        db.backup(folder / "e0")
    (folder / "file").write_text("a file")
    (folder / "loop").symlink_to(folder / "loop")
    return folder


def test_every_path_that_the_system_refuses_is_refused_by_us(archives: Path) -> None:
    before = sorted(path.name for path in archives.iterdir())
    raw: list[str] = []
    with EmbeddedDatabase(archives / "data") as db:
        for call, do in CALLS.items():
            for what, odd in ODD.items():
                try:
                    do(db, archives, str(archives / odd))
                except MemdbError:
                    continue
                except Exception as error:  # all of them are told together
                    raw.append(f"{call}, {what}: {type(error).__name__}: {str(error)[:60]}")
                else:
                    raw.append(f"{call}, {what}: done")
    assert raw == []
    assert sorted(path.name for path in archives.iterdir()) == before


def test_a_parent_that_lost_its_secret_is_damaged(archives: Path) -> None:
    (archives / "a0" / "SECRET").unlink()
    with EmbeddedDatabase(archives / "data") as db:
        with pytest.raises(DataLoss) as refused:
            db.backup(archives / "a1", parent=archives / "a0")
        assert (refused.value.reason, refused.value.field) == ("MISSING", "a0/SECRET")
        assert db.backup(archives / "a1").users == 1


def test_a_copy_of_a_key_that_cannot_be_read_is_named(archives: Path) -> None:
    copies = (archives / "data-keys").iterdir()
    name = next(path for path in copies if not path.name.startswith("catalog."))
    name.unlink()
    name.mkdir()
    with pytest.raises(DataLoss) as refused:
        restore(archives / "e0", archives / "copy", keys=keys(archives))
    assert (refused.value.reason, refused.value.field) == (
        "KEY_UNREADABLE",
        f"data-keys/{name.name}",
    )
    report = restore(archives / "e0", archives / "copy", keys=keys(archives), leave_out_lost=True)
    assert (report.users, report.lost) == (0, (name.name.partition(".")[0],))
