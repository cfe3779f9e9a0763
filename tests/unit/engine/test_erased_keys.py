"""Who is erased from an encrypted directory cannot be read from its archives any more."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memdb import DataLoss, NotFound, failpoints
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore, verify_archive
from memdb.failpoints import FailpointError
from memdb.store.erased import note_erased, read_erased
from memdb.store.former import FORMER_FILE, read_former, write_former
from memdb.store.upgrade import upgrade
from tests.unit.engine.archives import grow
from tests.unit.engine.conftest import CONFIG
from tests.unit.engine.encrypted import compared, content, grown, keys, opened
from tests.unit.engine.test_encryption import OLD, key_file


@pytest.fixture
def db(folder: Path) -> Iterator[EmbeddedDatabase]:
    with grown(folder) as made:
        yield made


def test_who_is_erased_cannot_be_read_from_any_archive(db: EmbeddedDatabase, folder: Path) -> None:
    """The promise: destroying the key is what erases backups, wherever their copies lie."""
    grow(db, "carol", 0)
    db.backup(folder / "a0")
    elsewhere = folder / "elsewhere"
    shutil.copytree(folder / "a0", elsewhere / "a0")  # on a tape that nobody can write to
    kept = {name: content(db, name) for name in ("alice", "carol")}
    gone = db._directory.user_path("bob").name
    db.user("bob").erase()
    grow(db, "alice", 10)
    db.backup(folder / "a1", parent=folder / "a0")
    assert [entry.name for entry in read_erased(folder / "data")] == [gone]
    for archive in (folder / "a0", elsewhere / "a0"):
        named = replace(keys(folder), copies=str(folder / "data-keys"))
        found = verify_archive(archive, keys=named)
        assert (found.ok, found.erased) == (True, 1)
        shutil.rmtree(folder / "copy", ignore_errors=True)
        report = restore(archive, folder / "copy", keys=named)
        assert (report.users, report.erased, report.lost) == (2, (gone,), ())
        compared(folder, "copy", kept)
        with pytest.raises(NotFound) as refused:
            restore(archive, folder / "one", user="bob", keys=named)
        assert refused.value.reason == "KEY_DESTROYED"
    # Its key is in no file any more, wrapped or not: what is left names it, and that is all.
    (left,) = (folder / "data-keys").glob(f"{gone}.*")
    assert left.read_bytes()[6:22] == bytes(16)
    assert left.stat().st_size == 38


def test_an_erased_user_that_is_put_back_gets_no_new_copy(
    db: EmbeddedDatabase, folder: Path
) -> None:
    db.backup(folder / "a0")
    path = db._directory.user_path("bob")
    shutil.copytree(path, folder / "aside")
    db.user("bob").erase()
    db.backup(folder / "a1", parent=folder / "a0")
    shutil.copytree(folder / "aside", path)
    assert db.user("bob").clips()
    assert db.backup(folder / "a2", parent=folder / "a1").damaged == ("bob",)
    assert len(restore(folder / "a0", folder / "copy", keys=keys(folder)).erased) == 1


@pytest.mark.parametrize("into", [OLD, None], ids=["encrypted", "plain"])
def test_an_erasure_reaches_archives_from_before_an_upgrade(
    db: EmbeddedDatabase, folder: Path, into: bytes | None
) -> None:
    db.backup(folder / "a0")
    kept = {"alice": content(db, "alice")}
    gone = db._directory.user_path("bob").name
    db.close()
    upgrade(folder / "data", master_key=OLD, new_master_key=into)
    upgrade(folder / "data", master_key=into, new_master_key=into)
    name = "" if into is None else key_file(folder, into)
    config = replace(CONFIG, master_key_file=name)
    with EmbeddedDatabase(folder / "data", config=config, clock=ManualClock()) as again:
        assert {name: content(again, name) for name in kept} == kept
        again.backup(folder / "a1", parent=folder / "a0")
        found = verify_archive(folder / "a0", keys=keys(folder))
        assert (found.ok, found.erased) == (True, 0)
        again.user("bob").erase()
        again.backup(folder / "a2", parent=folder / "a1")
    report = restore(folder / "a0", folder / "copy", keys=keys(folder))
    assert (report.users, report.erased, report.lost) == (1, (gone,), ())
    compared(folder, "copy", kept)
    left = list((folder / "data-keys").glob(f"{gone}.*"))
    assert len(left) == (1 if into is None else 2)
    assert {path.stat().st_size for path in left} == {38}


def test_a_damaged_list_of_former_keys_costs_no_erasure(db: EmbeddedDatabase, folder: Path) -> None:
    db.backup(folder / "a0")
    path = db._directory.user_path("bob")
    (path / FORMER_FILE).write_bytes(b"mdbf\x01" + bytes(20))
    with pytest.raises(DataLoss) as told:
        read_former(path)
    assert told.value.reason == "BAD_FORMER"
    db.user("bob").erase()
    db.backup(folder / "a1", parent=folder / "a0")
    assert restore(folder / "a0", folder / "copy", keys=keys(folder)).erased == (path.name,)


def test_an_older_state_destroys_no_key_of_a_newer_one(db: EmbeddedDatabase, folder: Path) -> None:
    db.backup(folder / "a0")
    grow(db, "carol", 0)
    db.backup(folder / "a1", parent=folder / "a0")
    expected = {name: content(db, name) for name in db.users()}
    restore(folder / "a0", folder / "copy", keys=keys(folder))
    with opened(folder, data="copy") as older:
        older.user("alice").erase()
        older.backup(folder / "b1")
    report = restore(folder / "a1", folder / "again", keys=keys(folder))
    assert (report.users, len(report.erased)) == (2, 1)
    del expected["alice"]
    compared(folder, "again", expected)


def test_an_erasure_of_a_user_whose_key_is_damaged_reaches_its_copy(
    db: EmbeddedDatabase, folder: Path
) -> None:
    db.backup(folder / "a0")
    path = db._directory.user_path("bob")
    db.close()
    (path / "KEY").write_bytes(b"damaged")
    with opened(folder) as again:
        again.user("bob").erase()
        assert read_erased(folder / "data")[0].key_id is None
        again.backup(folder / "a1", parent=folder / "a0")
    assert restore(folder / "a0", folder / "copy", keys=keys(folder)).erased == (path.name,)


def test_a_full_disk_does_not_keep_a_user_from_being_erased(
    db: EmbeddedDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memdb.store import directory, erased

    refusals: list[Path] = []

    def full_once(path: Path, entry: erased.Erased) -> None:
        if not refusals:
            refusals.append(path)
            raise OSError(errno.ENOSPC, "No space left on device")
        erased.note_erased(path, entry)

    monkeypatch.setattr(directory, "note_erased", full_once)
    db.user("bob").erase()
    assert len(refusals) == 1
    assert len(read_erased(folder / "data")) == 1


@pytest.mark.parametrize("former", [False, True])
def test_a_key_that_was_destroyed_is_noted_though_the_disk_was_full_and_the_process_killed(
    db: EmbeddedDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch, former: bool
) -> None:
    from memdb.store import directory

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    db.backup(folder / "a0")
    if former:
        write_former(db._directory.user_path("bob"), ["0" * 32])
    with monkeypatch.context() as filled:
        filled.setattr(directory, "note_erased", full)
        failpoints.arm("erase.after_discard=error")
        with pytest.raises(FailpointError):
            db.user("bob").erase()
        db.close()
        opened(folder).close()  # the disk is still full, which keeps nobody out
        assert len(list((folder / "data" / "trash").iterdir())) == 1
    with opened(folder) as again:
        assert again.users() == ["alice"]
        assert len(read_erased(folder / "data")) == 1 + former
        again.backup(folder / "a1")
    assert len(restore(folder / "a0", folder / "copy", keys=keys(folder)).erased) == 1


def test_a_user_without_its_key_is_noted_though_the_disk_was_full(
    db: EmbeddedDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memdb.store import directory

    calls: list[tuple[Any, ...]] = []

    def full_once(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        note_erased(*arguments)

    path = db._directory.user_path("bob")
    db.close()
    (path / "KEY").unlink()
    with opened(folder) as again:
        monkeypatch.setattr(directory, "note_erased", full_once)
        again.user("bob").erase()
        assert [(one.name, one.key_id) for one in read_erased(folder / "data")] == [
            (path.name, None)
        ]


def test_a_copy_that_a_killed_backup_left_unnamed_goes_with_its_user(
    db: EmbeddedDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    copies = folder / "data-keys"
    bob = db._directory.user_path("bob").name

    def renamed(path: Path, target: Path) -> Path:
        if target.parent == copies and target.name.startswith(bob):
            raise Killed
        return rename(path, target)

    rename = Path.rename
    with monkeypatch.context() as killing:
        killing.setattr(Path, "rename", renamed)
        with pytest.raises(Killed):
            db.backup(folder / "a0")
    (left,) = copies.glob(f".new-{bob}.*")
    left.rename(left.with_name(left.name + "0"))  # of a process that is no more
    db.backup(folder / "a0")
    db.user("bob").erase()
    db.backup(folder / "a1")
    assert [path.name for path in copies.glob(".new-*")] == []
    assert len(restore(folder / "a0", folder / "copy", keys=keys(folder)).erased) == 1


def test_a_damaged_list_of_erasures_is_told(db: EmbeddedDatabase, folder: Path) -> None:
    db.user("bob").erase()
    whole = (folder / "data" / "ERASED").read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        (folder / "data" / "ERASED").write_bytes(damaged)
        with pytest.raises(DataLoss) as refused:
            read_erased(folder / "data")
        assert refused.value.reason == "BAD_ERASED"
    with pytest.raises(DataLoss):
        db.backup(folder / "a0")
