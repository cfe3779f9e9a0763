"""Users, or their data, that lie on another disk behind links: what is removed goes there too."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

import memdb.failpoints
import memdb.store.file_mark
import memdb.store.files
from memdb import FailedPrecondition, ResourceExhausted, Unavailable
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore
from memdb.store.archivekeys import KeyFiles
from memdb.store.directory import DataDirectory
from memdb.store.rotation import rotate_master_key
from memdb.store.schema import DATA_FILE
from memdb.store.shredding import KEY_FILE
from memdb.store.upgrade import upgrade
from tests.unit.engine.conftest import CONFIG
from tests.unit.engine.test_encryption import NEW, OLD, key_file

PLANTED = b"planted in a value"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder that may be on another file system than ``tmp_path``."""
    memory = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="memdb-", dir=memory if memory.is_dir() else tmp_path))
    yield made
    shutil.rmtree(made)


def opened(data: Path, key: str = "") -> EmbeddedDatabase:
    return EmbeddedDatabase(data, config=replace(CONFIG, master_key_file=key))


def moved(path: Path, elsewhere: Path) -> Path:
    """Move something away and leave a link."""
    there = elsewhere / path.name
    shutil.move(path, there)
    path.symlink_to(there)
    return there


def planted(*folders: Path) -> list[Path]:
    """Files that hold what was planted, links not followed."""
    return [
        path
        for folder in folders
        for path in folder.rglob("*")
        if not path.is_symlink() and path.is_file() and PLANTED in path.read_bytes()
    ]


@pytest.mark.parametrize("what", ["user", "users", "file"])
@pytest.mark.parametrize("encrypted", [False, True])
def test_who_is_erased_goes_wherever_a_link_leads(
    tmp_path: Path, elsewhere: Path, what: str, encrypted: bool
) -> None:
    data = tmp_path / "data"
    key = key_file(tmp_path, OLD) if encrypted else ""
    with opened(data, key) as db:
        db.user("bob").put("n", 1)
        db.user("alice").put("secret", PLANTED.decode())
        folder = db._directory.user_path("alice")
    (folder / "notes.txt").write_text("an operator's own")
    there = moved(
        {"user": folder, "users": data / "users"}.get(what, folder / DATA_FILE), elsewhere
    )
    assert encrypted or planted(elsewhere)
    with opened(data, key) as db:
        db.user("alice").erase()
        assert db.users() == ["bob"]
        assert db.verify().ok
    assert planted(tmp_path, elsewhere) == []
    assert list(elsewhere.rglob(f"{folder.name}*")) == []
    assert (data / "users").exists()
    assert there.exists() == (what == "users")
    opened(data, key).close()


@pytest.mark.parametrize("what", ["user", "users", "file"])
def test_what_is_removed_is_in_no_byte_behind_a_link_once_compacted(
    tmp_path: Path, elsewhere: Path, what: str
) -> None:
    data = tmp_path / "data"
    with opened(data) as db:
        db.user("alice").put("secret", PLANTED.decode())
        db.user("alice").put("n", 1)
        folder = db._directory.user_path("alice")
    there = moved(
        {"user": folder, "users": data / "users"}.get(what, folder / DATA_FILE), elsewhere
    )
    with opened(data) as db:
        db.user("alice").remove("secret")
        db.user("alice").compact()
        assert db.user("alice").get("n") == 1
    assert planted(tmp_path, elsewhere) == []
    assert there.exists()
    with opened(data) as db:
        assert db.user("alice").keys(limit=5) == ["n"]


@pytest.mark.parametrize("what", ["user", "users", "file"])
def test_nothing_is_left_in_clear_behind_a_link_once_encrypted(
    tmp_path: Path, elsewhere: Path, what: str
) -> None:
    data = tmp_path / "data"
    with opened(data) as db:
        db.user("alice").put("secret", PLANTED.decode())
        folder = db._directory.user_path("alice")
    moved({"user": folder, "users": data / "users"}.get(what, folder / DATA_FILE), elsewhere)
    upgrade(data, new_master_key=OLD)
    assert planted(tmp_path, elsewhere) == []
    with opened(data, key_file(tmp_path, OLD)) as db:
        assert db.user("alice").get("secret") == PLANTED.decode()


def test_room_is_asked_for_on_the_disk_that_a_link_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, full = tmp_path / "data", tmp_path / "elsewhere"
    with opened(data) as db:
        db.user("alice").put("n", 1)
        folder = db._directory.user_path("alice")
    full.mkdir()
    moved(folder / DATA_FILE, full)
    real = os.statvfs

    def statvfs(path: Path) -> object:
        found = real(path)
        return SimpleNamespace(
            f_bavail=0 if Path(path) == full else found.f_bavail, f_frsize=found.f_frsize
        )

    with opened(data) as db:
        user = db.user("alice")
        user.put("n", 2)
        monkeypatch.setattr(os, "statvfs", statvfs)
        with pytest.raises(ResourceExhausted) as refused:
            user.put("n", 3)
        assert refused.value.reason == "DISK_FULL"
        full = folder
        user.put("n", 4)


def test_nothing_is_committed_to_a_compacted_file_behind_a_link_before_its_name_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, there = tmp_path / "data", tmp_path / "elsewhere"
    with opened(data) as db:
        db.user("alice").put("n", 1)
        folder = db._directory.user_path("alice")
    there.mkdir()
    moved(folder / DATA_FILE, there)
    steps: list[str] = []

    def synced(path: Path) -> None:
        memdb.store.files.sync_directory(path)
        steps.append(f"named {path.name}")

    with opened(data) as db:
        monkeypatch.setattr(memdb.store.file_mark, "sync_directory", synced)
        monkeypatch.setattr(memdb.failpoints, "hit", steps.append)
        db.user("alice").put("n", 2)
        named = steps[: steps.index("commit.after")]
        assert {f"named {folder.name}", f"named {there.name}"} <= set(named)


def test_a_link_that_is_not_ours_costs_nothing_but_itself(tmp_path: Path) -> None:
    data, own = tmp_path / "data", tmp_path / "own"
    opened(data).close()
    own.mkdir()
    (own / "photo").write_text("an operator's")
    (data / "trash" / "link").symlink_to(own)
    (data / "trash" / "note").write_text("somebody's")
    opened(data).close()
    assert list((data / "trash").iterdir()) == []
    assert (own / "photo").exists()


@pytest.mark.parametrize("stray", ["file", "folder"])
def test_what_lies_beside_users_keeps_no_rotation_from_its_end(tmp_path: Path, stray: str) -> None:
    data = tmp_path / "data"
    with opened(data, key_file(tmp_path, OLD)) as db:
        db.user("alice").put("n", 1)
    lies = data / "users" / "lost+found"
    if stray == "file":
        lies.write_text("")
    else:
        lies.mkdir()
    done = rotate_master_key(data, OLD, NEW)
    assert (done.data_keys, done.wrapped_anew, done.lost) == (2, 2, ())
    with opened(data, key_file(tmp_path, NEW)) as db:
        assert db.user("alice").get("n") == 1


def test_an_upgrade_would_lose_what_lies_beside_users(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with opened(data) as db:
        db.user("alice").put("n", 1)
        name = db._directory.user_path("alice").name
    (data / "users" / "notes").write_text("an operator's own")
    with pytest.raises(FailedPrecondition) as refused:
        upgrade(data, new_master_key=OLD)
    assert refused.value.reason == "STRANGE_FILE"
    assert str(refused.value.value).endswith("users/notes")
    assert not (data / ".upgrade").exists()
    (data / "users" / "notes").unlink()
    upgrade(data, new_master_key=OLD)
    assert (data / "users" / name / KEY_FILE).exists()


def test_what_was_discarded_on_another_file_system_goes_at_the_next_open(
    tmp_path: Path, elsewhere: Path
) -> None:
    data = tmp_path / "data"
    if elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("one file system")
    with opened(data) as db:
        db.user("alice").put("secret", PLANTED.decode())
        folder = db._directory.user_path("alice")
    moved(data / "users", elsewhere)
    directory = DataDirectory(data)
    discarded = directory.discard(folder)
    directory.close()
    assert not folder.exists()
    assert planted(elsewhere)
    assert discarded.parent == data / "users"
    with opened(data) as db:
        assert db.users() == []
    assert planted(elsewhere) == []
    assert list((elsewhere / "users").iterdir()) == []


@pytest.mark.parametrize("what", ["user", "file"])
@pytest.mark.parametrize("encrypted", [False, True])
def test_who_lies_on_a_disk_that_is_away_is_there_all_the_same(
    tmp_path: Path, what: str, encrypted: bool
) -> None:
    data, disk = tmp_path / "data", tmp_path / "disk"
    key = key_file(tmp_path, OLD) if encrypted else ""
    with opened(data, key) as db:
        db.user("bob").put("n", 1)
        db.user("alice").put("n", 1)
        folder = db._directory.user_path("alice")
    disk.mkdir()
    moved(folder if what == "user" else folder / DATA_FILE, disk)
    away = disk.rename(tmp_path / "away")
    for turn in range(2):
        with opened(data, key) as db:
            assert db.users() == ["alice", "bob"]
            alice = db.user("alice")
            for call in (alice.erase, alice.revision, partial(alice.put, "n", 2)):
                with pytest.raises(Unavailable) as refused:
                    call()
                assert refused.value.reason == "OPEN_FAILED"
            assert "mounted" in str(refused.value)
            assert db.sweep().unswept_reasons == ("OPEN_FAILED",)
            assert [found.user for found in db.verify().discrepancies] == ["alice"]
            assert db.users() == ["alice", "bob"]
            away.rename(disk)  # with the directory open
            alice.put("n", 3)
            assert (db.verify().ok, alice.revision()) == (True, 2 + turn)
        disk.rename(away)
    away.rename(disk)
    with opened(data, key) as db:
        db.user("alice").erase()
        assert (db.users(), list(disk.iterdir())) == (["bob"], [])


@pytest.mark.parametrize("encrypted", [False, True])
def test_nobody_is_erased_whose_disk_goes_with_the_folder_of_all_users(
    tmp_path: Path, encrypted: bool
) -> None:
    data, disk = tmp_path / "data", tmp_path / "disk"
    key = key_file(tmp_path, OLD) if encrypted else ""
    with opened(data, key) as db:
        for name in ("alice", "bob", "carol"):
            db.user(name).put("n", 1)
        db.user("carol").erase()
        users = db._directory.users
    disk.mkdir()
    moved(users, disk)
    with opened(data, key) as db:
        assert db.user("alice").get("n") == 1  # she is open from now on
        db.backup(tmp_path / "a0")
        away = disk.rename(tmp_path / "away")
        assert db.sweep().unswept > 0
        assert db.users() == ["alice", "bob"]
        for name in ("bob", "dave"):
            with pytest.raises(Unavailable) as refused:
                db.user(name).put("n", 2)
            assert refused.value.reason == "OPEN_FAILED"
        with suppress(Unavailable):  # of keys, of which nobody can tell whether they are in use
            assert db.backup(tmp_path / "a1").damaged == ("alice", "bob")
        away.rename(disk)
        db.user("bob").put("n", 3)
        assert db.sweep().unswept == 0
        assert db.users() == ["alice", "bob"]
        assert db.backup(tmp_path / "a2").users == 2
    assert restore(tmp_path / "a0", tmp_path / "copy", keys=KeyFiles(key)).users == 2


def test_a_rotation_waits_for_a_user_whose_disk_is_away(tmp_path: Path) -> None:
    data, disk = tmp_path / "data", tmp_path / "disk"
    with opened(data, key_file(tmp_path, OLD)) as db:
        db.user("alice").put("n", 1)
        folder = db._directory.user_path("alice")
    disk.mkdir()
    moved(folder, disk)
    away = disk.rename(tmp_path / "away")
    with pytest.raises(Unavailable) as refused:
        rotate_master_key(data, OLD, NEW)
    assert (refused.value.reason, refused.value.field) == ("OPEN_FAILED", folder.name)
    opened(data, key_file(tmp_path, OLD)).close()  # nothing was begun
    away.rename(disk)
    assert rotate_master_key(data, OLD, NEW).lost == ()
    with opened(data, key_file(tmp_path, NEW)) as db:
        assert db.user("alice").get("n") == 1


def test_copies_of_keys_of_a_user_whose_disk_is_away_are_not_destroyed(tmp_path: Path) -> None:
    data, disk = tmp_path / "data", tmp_path / "disk"
    key = key_file(tmp_path, OLD)
    with opened(data, key) as db:
        db.user("alice").put("n", 1)
        folder = db._directory.user_path("alice")
        (folder / KEY_FILE).write_bytes(b"lost")
        db.user("alice").erase()  # of a key that nobody can tell
        db.user("alice").put("n", 2)
        db.backup(tmp_path / "a0")
    disk.mkdir()
    moved(folder, disk)
    away = disk.rename(tmp_path / "away")
    with opened(data, key) as db:
        assert db.backup(tmp_path / "a1").damaged == ("alice",)
    away.rename(disk)
    assert restore(tmp_path / "a0", tmp_path / "copy", keys=KeyFiles(key)).users == 1


def test_what_cannot_be_removed_of_who_was_erased_keeps_nobody_closed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with opened(data) as db:
        for name in ("alice", "bob", "carol"):
            db.user(name).put("secret", PLANTED.decode())
        gone = [db._directory.user_path(name) for name in ("alice", "bob")]
    for folder in gone:
        folder.rename(data / "trash" / f"{folder.name}-01234567")
    # As on a disk that fails: the system refuses to open it for writing.
    (data / "trash" / f"{gone[0].name}-01234567" / KEY_FILE).mkdir()
    with opened(data) as db:
        assert db.users() == ["carol"]
        assert db.user("carol").get("secret") == PLANTED.decode()
        db.sweep()
        (left,) = (data / "trash").iterdir()
        assert left.name.startswith(gone[0].name)
        (left / KEY_FILE).rmdir()
        db.sweep()
        assert list((data / "trash").iterdir()) == []


def test_where_the_system_does_not_say_whether_there_is_a_link_the_opening_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "data") as db:
        db.user("alice").put("k", 1)
    refused = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    def no_memory(_: Path) -> bool:
        raise refused

    monkeypatch.setattr(Path, "is_symlink", no_memory)
    with pytest.raises(Unavailable) as told:
        opened(tmp_path / "data")
    assert told.value.reason == "IO_FAILED"
    monkeypatch.undo()
    with opened(tmp_path / "data") as db:
        assert db.user("alice").get("k") == 1
