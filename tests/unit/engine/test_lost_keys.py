"""Keys of encrypted archives that are lost, damaged, or not those that were named."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from memdb import DataLoss, FailedPrecondition, InvalidArgument, failpoints
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore, verify_archive
from memdb.failpoints import FailpointError
from memdb.store.archive import Archive
from memdb.store.archivekeys import KeyFiles
from memdb.store.rotation import rotate_master_key
from tests.unit.engine.archives import grow
from tests.unit.engine.conftest import CONFIG
from tests.unit.engine.encrypted import compared, content, grown, keys, opened
from tests.unit.engine.test_encryption import NEW, OLD, OTHER


@pytest.fixture
def db(folder: Path) -> Iterator[EmbeddedDatabase]:
    with grown(folder) as made:
        yield made


def test_a_user_whose_key_is_lost_is_restored_from_its_copy(
    db: EmbeddedDatabase, folder: Path
) -> None:
    db.backup(folder / "a0")
    expected = content(db, "bob")
    path = db._directory.user_path("bob")
    db.close()
    (path / "KEY").unlink()
    with opened(folder) as again:
        with pytest.raises(DataLoss) as lost:
            again.user("bob").clips()
        assert lost.value.reason == "KEY_MISSING"
        report = again.backup(folder / "a1", parent=folder / "a0")
        assert report.damaged == ("bob",)
        restore(folder / "a0", folder / "aside", user="bob", keys=keys(folder))
        shutil.copy(folder / "aside" / "users" / path.name / "KEY", path)
        # Served again at once: its directory is another one than the one that failed.
        assert content(again, "bob") == expected


def test_a_damaged_user_is_restored_by_the_master_key_of_now(
    db: EmbeddedDatabase, folder: Path
) -> None:
    db.backup(folder / "a0")
    expected = {"bob": content(db, "bob")}
    path = db._directory.user_path("bob")
    db.close()
    (path / "data.mdb").write_bytes(b"short")
    rotate_master_key(folder / "data", OLD, NEW)
    with opened(folder, NEW) as again:
        assert again.backup(folder / "a1", parent=folder / "a0").damaged == ("bob",)
    restore(folder / "a0", folder / "copy", user="bob", keys=keys(folder, NEW))
    compared(folder, "copy", expected, NEW)


def test_one_flipped_byte_of_a_key_is_refused(db: EmbeddedDatabase, folder: Path) -> None:
    db.backup(folder / "a0")
    chosen = random.Random(7)
    tried = 0
    for file in sorted((folder / "data-keys").iterdir()):
        whole = file.read_bytes()
        for place in range(len(whole)):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << chosen.randrange(8)
            file.write_bytes(damaged)
            with pytest.raises(DataLoss) as refused:
                restore(folder / "a0", folder / "copy", keys=keys(folder))
            assert refused.value.reason == "BAD_KEY_FILE"
            assert refused.value.field == f"data-keys/{file.name}"
            tried += 1
        for cut in (b"", whole[:-1], whole[:38], whole + b"\0"):
            file.write_bytes(cut)
            with pytest.raises(DataLoss):
                restore(folder / "a0", folder / "copy", keys=keys(folder))
        if not file.name.startswith("catalog"):
            (found,) = verify_archive(folder / "a0", keys=keys(folder)).damaged_files
            assert found[:2] == (f"data-keys/{file.name}", "BAD_KEY_FILE")
        file.write_bytes(whole)
    assert tried == 3 * 119
    assert not (folder / "copy").exists()
    assert restore(folder / "a0", folder / "copy", keys=keys(folder)).users == 2


def test_a_key_of_another_user_is_refused(db: EmbeddedDatabase, folder: Path) -> None:
    db.backup(folder / "a0")
    mine, other = sorted(
        path for path in (folder / "data-keys").iterdir() if "catalog" not in path.name
    )
    mine.write_bytes(other.read_bytes())
    with pytest.raises(DataLoss) as refused:
        restore(folder / "a0", folder / "copy", keys=keys(folder))
    assert refused.value.reason == "BAD_KEY_FILE"


def test_a_lost_key_costs_one_user(db: EmbeddedDatabase, folder: Path) -> None:
    db.backup(folder / "a0")
    expected = {"alice": content(db, "alice")}
    name = db._directory.user_path("bob").name
    next((folder / "data-keys").glob(f"{name}.*")).unlink()
    with pytest.raises(DataLoss) as refused:
        restore(folder / "a0", folder / "copy", keys=keys(folder))
    assert refused.value.reason == "KEY_MISSING"
    report = restore(folder / "a0", folder / "copy", keys=keys(folder), leave_out_lost=True)
    assert (report.users, report.lost) == (1, (name,))
    compared(folder, "copy", expected)


def test_without_its_keys_an_archive_is_nothing(db: EmbeddedDatabase, folder: Path) -> None:
    db.backup(folder / "a0")
    shutil.rmtree(folder / "data-keys")
    for call in (
        lambda: restore(folder / "a0", folder / "copy", keys=keys(folder), leave_out_lost=True),
        lambda: verify_archive(folder / "a0", keys=keys(folder)),
    ):
        with pytest.raises(DataLoss) as refused:
            call()
        assert refused.value.reason == "KEY_MISSING"
        assert refused.value.field is not None
        assert refused.value.field.startswith("data-keys/catalog.")
    db.backup(folder / "a1")  # brings them back
    assert restore(folder / "a0", folder / "copy", keys=keys(folder)).users == 2


def test_a_key_that_is_not_named_or_too_much_is_told(db: EmbeddedDatabase, folder: Path) -> None:
    db.backup(folder / "a0")
    cases = [
        (KeyFiles(), "MASTER_KEY_REQUIRED"),
        (keys(folder, OTHER), "MASTER_KEY_MISMATCH"),
    ]
    for wrong, reason in cases:
        for call in (
            lambda: restore(folder / "a0", folder / "copy", keys=wrong),  # noqa: B023
            lambda: verify_archive(folder / "a0", keys=wrong),  # noqa: B023
        ):
            with pytest.raises(FailedPrecondition) as refused:
                call()
            assert refused.value.reason == reason
    with EmbeddedDatabase(folder / "plain", config=CONFIG) as plain:
        plain.user("alice").put("diet", 1)
        plain.backup(folder / "p0")
        for taken in (folder / "data-keys", folder / "data-keys" / "p0"):
            with pytest.raises(InvalidArgument):
                plain.backup(taken)
    assert Archive(folder / "p0").manifest.archive == 1
    assert Archive(folder / "a0").manifest.archive == 2
    with pytest.raises(FailedPrecondition) as refused:
        restore(folder / "p0", folder / "copy", keys=keys(folder))
    assert refused.value.reason == "NOT_ENCRYPTED"
    assert not (folder / "copy").exists()


@pytest.mark.parametrize("point", ["keycopies.before_write", "keycopies.overwritten"])
def test_copies_that_were_cut_short_are_made_by_the_next_backup(
    db: EmbeddedDatabase, folder: Path, point: str
) -> None:
    db.backup(folder / "a0")
    grow(db, "carol", 0)
    db.user("bob").erase()
    failpoints.arm(f"{point}=error")
    with pytest.raises(FailpointError):
        db.backup(folder / "a1", parent=folder / "a0")
    failpoints.arm("")
    assert not (folder / "a1").exists()
    db.backup(folder / "a1", parent=folder / "a0")
    expected = {name: content(db, name) for name in ("alice", "carol")}
    restore(folder / "a1", folder / "copy", keys=keys(folder))
    compared(folder, "copy", expected)
    assert len(restore(folder / "a0", folder / "before", keys=keys(folder)).erased) == 1
