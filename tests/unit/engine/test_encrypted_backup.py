"""Archives of encrypted directories: restored with the keys that lie beside them, by nobody without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memdb import FailedPrecondition, failpoints
from memdb.cli.main import main
from memdb.engine.backup import Backups
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.drill import drill
from memdb.engine.restore import restore, verify_archive
from memdb.failpoints import FailpointError
from memdb.store.keyring import KeyRing
from memdb.store.rotation import rotate_master_key
from tests.unit.engine.archives import full_clip, grow
from tests.unit.engine.conftest import DIM
from tests.unit.engine.encrypted import compared, content, grown, keys, opened
from tests.unit.engine.test_encryption import NEW, OLD, key_file


@pytest.fixture
def db(folder: Path) -> Iterator[EmbeddedDatabase]:
    with grown(folder) as made:
        yield made


def test_a_full_and_an_incremental_backup_are_restored(db: EmbeddedDatabase, folder: Path) -> None:
    db.user("alice").put("passing", 1)
    first = {name: content(db, name) for name in db.users()}
    assert db.backup(folder / "a0").full == 2
    grow(db, "alice", 10)
    db.user("alice").put("drink", "tea")
    db.user("alice").put("drink2", "tea")
    db.user("alice").remove("passing")
    db.user("alice").remove("drink2")
    report = db.backup(folder / "a1", parent=folder / "a0")
    assert (report.full, report.incremental, report.unchanged) == (0, 1, 1)
    second = {name: content(db, name) for name in db.users()}
    for archive, expected in (("a0", first), ("a1", second)):
        assert verify_archive(folder / archive, keys=keys(folder)).ok
        restore(folder / archive, folder / f"copy-{archive}", keys=keys(folder))
        compared(folder, f"copy-{archive}", expected)
    assert drill(folder / "a1", db, scratch=folder, keys=keys(folder)).ok
    with opened(folder, data="copy-a1") as copy:  # and goes on
        grow(copy, "alice", 20)
        assert copy.backup(folder / "a2", parent=folder / "a1").incremental == 1


def test_no_archive_holds_a_key_or_a_word(db: EmbeddedDatabase, folder: Path) -> None:
    db.create_space("kitchen-cameras", dim=DIM)
    db.user("alice").put("diet-of-the-week", 1)
    db.backup(folder / "a0")
    files = {path.name for path in (folder / "a0").rglob("*") if path.is_file()}
    assert files == {"manifest.json", "FORMAT", "SECRET", "data.mdb"}
    stored = b"".join(path.read_bytes() for path in (folder / "a0").rglob("*") if path.is_file())
    # None of them so short that what is encrypted has it by chance, as three bytes in 200 kB are once in 80 times.
    for word in (b"somebody says", b"a fact", b"alice", b"kitchen-cameras", b"diet-of-the-week"):
        assert word not in stored
    copies = list((folder / "data-keys").iterdir())
    assert len(copies) == 3
    assert {path.stat().st_mode & 0o777 for path in copies} == {0o600}
    assert {path.stat().st_size for path in copies} == {119}


def test_a_chain_from_before_a_rotation_is_restored_with_the_key_of_now(
    db: EmbeddedDatabase, folder: Path
) -> None:
    db.backup(folder / "a0")
    grow(db, "alice", 10)
    db.backup(folder / "a1", parent=folder / "a0")
    before = {name: content(db, name) for name in db.users()}
    db.close()
    rotate_master_key(folder / "data", OLD, NEW)
    # No backup has been made with the new key: the copies need the old one, and it is named.
    with pytest.raises(FailedPrecondition) as refused:
        restore(folder / "a1", folder / "copy", keys=keys(folder, NEW))
    assert refused.value.reason == "MASTER_KEY_MISMATCH"
    assert KeyRing(OLD).check.hex() in str(refused.value)
    restore(folder / "a1", folder / "old", keys=keys(folder, OLD))
    compared(folder, "old", before, OLD)
    restore(folder / "a1", folder / "both", keys=keys(folder, NEW, OLD))
    compared(folder, "both", before, NEW)
    with opened(folder, NEW) as after:
        grow(after, "bob", 10)
        made = after.backup(folder / "a2", parent=folder / "a1")
        assert (made.incremental, made.unchanged) == (1, 1)
        now = {name: content(after, name) for name in after.users()}
    for archive, expected in (("a1", before), ("a2", now)):
        restore(folder / archive, folder / f"copy-{archive}", keys=keys(folder, NEW))
        compared(folder, f"copy-{archive}", expected, NEW)
        with pytest.raises(FailedPrecondition) as late:
            restore(folder / archive, folder / "none", keys=keys(folder, OLD))
        assert late.value.reason == "MASTER_KEY_MISMATCH"
    assert not (folder / "none").exists()


def test_a_half_done_rotation_is_not_backed_up(
    db: EmbeddedDatabase, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db.close()
    failpoints.arm("rotation.key=error@2")
    with pytest.raises(FailpointError):
        rotate_master_key(folder / "data", OLD, NEW)
    failpoints.arm("")
    for key in (OLD, NEW):
        command = ["backup", str(folder / "data"), "--to", str(folder / "a0")]
        assert main([*command, "--master-key-file", key_file(folder, key)]) == 1
        assert "ROTATION_UNFINISHED" in capsys.readouterr().err
    assert not (folder / "a0").exists()


def test_a_user_made_anew_keeps_its_new_key(db: EmbeddedDatabase, folder: Path) -> None:
    db.backup(folder / "a0")
    db.user("bob").erase()
    grow(db, "bob", 0)
    expected = {name: content(db, name) for name in db.users()}
    db.backup(folder / "a1", parent=folder / "a0")
    restore(folder / "a1", folder / "copy", keys=keys(folder))
    compared(folder, "copy", expected)
    assert len(restore(folder / "a0", folder / "before", keys=keys(folder)).erased) == 1


def test_a_backup_that_holds_a_user_who_goes_meanwhile(
    db: EmbeddedDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    destroy = Backups._destroy_keys

    def erase_first(backups: Backups, growing: Any) -> None:
        db.user("bob").erase()
        destroy(backups, growing)

    monkeypatch.setattr(Backups, "_destroy_keys", erase_first)
    assert db.backup(folder / "a0").users == 2
    assert restore(folder / "a0", folder / "copy", keys=keys(folder)).users == 1


def test_an_open_clip_and_values_make_an_increment(db: EmbeddedDatabase, folder: Path) -> None:
    db.backup(folder / "a0")
    user = db.user("alice")
    user.put("diet", "none")
    user.put("a new name", 1)
    user.stream("door", space="cam").write(full_clip(90, sealed=False))
    assert db.backup(folder / "a1", parent=folder / "a0").incremental == 1
    expected = {name: content(db, name) for name in db.users()}
    restore(folder / "a1", folder / "copy", keys=keys(folder))
    compared(folder, "copy", expected)
