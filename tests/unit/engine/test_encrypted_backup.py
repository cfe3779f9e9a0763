"""Archives of encrypted directories: restored with the keys that lie beside them, by nobody without."""

from __future__ import annotations

import errno
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memdb import DataLoss, FailedPrecondition, InvalidArgument, NotFound, failpoints
from memdb.cli.main import main
from memdb.clock import ManualClock
from memdb.engine.backup import Backups
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.drill import drill
from memdb.engine.restore import restore, verify_archive
from memdb.failpoints import FailpointError
from memdb.store.archive import Archive
from memdb.store.archivekeys import KeyFiles
from memdb.store.erased import note_erased, read_erased
from memdb.store.former import FORMER_FILE, read_former, write_former
from memdb.store.keyring import KeyRing
from memdb.store.rotation import rotate_master_key
from memdb.store.upgrade import upgrade
from tests.unit.engine.conftest import CONFIG, DIM
from tests.unit.engine.test_backup import full_clip, grow
from tests.unit.engine.test_encryption import NEW, OLD, OTHER, key_file


def opened(folder: Path, key: bytes = OLD, data: str = "data") -> EmbeddedDatabase:
    config = replace(CONFIG, master_key_file=key_file(folder, key))
    return EmbeddedDatabase(folder / data, config=config, clock=ManualClock())


def keys(folder: Path, key: bytes = OLD, *former: bytes) -> KeyFiles:
    return KeyFiles(key_file(folder, key), tuple(key_file(folder, one) for one in former))


@pytest.fixture
def db(folder: Path) -> Iterator[EmbeddedDatabase]:
    with opened(folder) as made:
        made.create_space("cam", dim=DIM)
        for name in ("alice", "bob"):
            grow(made, name, 0)
        yield made


def content(db: EmbeddedDatabase, name: str) -> list[object]:
    """Everything of a user, comparable."""
    user = db.user(name)
    clips = user.clips(limit=1000)
    assert clips
    return [
        user.revision(),
        [
            (
                clip.id,
                clip.seq,
                clip.transcript,
                clip.keyframes,
                dict(clip.labels),
                clip.global_memory.tobytes(),
                user.short_memory([clip.id])[0].tobytes(),
            )
            for clip in clips
        ],
        [(fact.text, fact.evidence) for fact in user.facts()],
        [(key, user.get(key)) for key in user.keys(limit=10)],
        [(snapshot.name, snapshot.revision) for snapshot in user.snapshots()],
    ]


def compared(folder: Path, copy: str, expected: dict[str, list[object]], key: bytes = OLD) -> None:
    with opened(folder, key, copy) as restored:
        assert restored.users() == sorted(expected)
        assert {name: content(restored, name) for name in expected} == expected
        assert restored.verify().ok
    marked = (folder / copy / "ENCRYPTION").stat()
    assert marked.st_mode & 0o777 == 0o600


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
    db.backup(folder / "a0")
    files = {path.name for path in (folder / "a0").rglob("*") if path.is_file()}
    assert files == {"manifest.json", "FORMAT", "SECRET", "data.mdb"}
    stored = b"".join(path.read_bytes() for path in (folder / "a0").rglob("*") if path.is_file())
    for word in (b"somebody says", b"a fact", b"alice", b"cam", b"diet"):
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


def test_a_drill_leaves_no_key_behind(
    db: EmbeddedDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.backup(folder / "a0")
    linked: list[Path] = []
    real = EmbeddedDatabase.close

    def link_first(one: EmbeddedDatabase) -> None:
        for key in one._directory.path.rglob("KEY"):
            linked.append(folder / f"linked-{len(linked)}")
            linked[-1].hardlink_to(key)
        real(one)

    monkeypatch.setattr(EmbeddedDatabase, "close", link_first)
    assert drill(folder / "a0", db, scratch=folder, keys=keys(folder)).ok
    monkeypatch.undo()
    assert len(linked) == 3
    assert {path.read_bytes() for path in linked} == {bytes(81)}


def test_a_user_made_anew_keeps_its_new_key(db: EmbeddedDatabase, folder: Path) -> None:
    db.backup(folder / "a0")
    db.user("bob").erase()
    grow(db, "bob", 0)
    expected = {name: content(db, name) for name in db.users()}
    db.backup(folder / "a1", parent=folder / "a0")
    restore(folder / "a1", folder / "copy", keys=keys(folder))
    compared(folder, "copy", expected)
    assert len(restore(folder / "a0", folder / "before", keys=keys(folder)).erased) == 1


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


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any], str]:
    status = main([str(argument) for argument in arguments])
    told = capsys.readouterr()
    return status, json.loads(told.out) if told.out else {}, told.err


def test_every_command_takes_the_key_and_says_when_it_lacks(
    db: EmbeddedDatabase, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = {name: content(db, name) for name in db.users()}
    db.close()
    key = ("--master-key-file", key_file(folder))
    a0 = folder / "a0"
    status, made, _ = run(capsys, "backup", folder / "data", "--to", a0, "--drill", *key)
    assert (status, made["full"], made["drill"]["ok"]) == (0, 2, True)
    assert run(capsys, "verify", a0, *key)[0] == 0
    assert run(capsys, "drill", a0, folder / "data", *key)[0] == 0
    assert run(capsys, "restore", a0, "--to", folder / "copy", *key)[0] == 0
    compared(folder, "copy", expected)
    without = [
        ("backup", folder / "data", "--to", folder / "a1"),
        ("verify", folder / "data"),
        ("verify", a0),
        ("drill", a0, folder / "data"),
        ("restore", a0, "--to", folder / "none"),
        ("export", folder / "data", "--user", "alice", "--to", folder / "none"),
        ("gaps", "--data", folder / "data", "--user", "alice"),
    ]
    for command in without:
        status, _, told = run(capsys, *command)
        assert (status, "MASTER_KEY_REQUIRED" in told) == (1, True), command
        status, _, told = run(capsys, *command, "--master-key-file", "")
        assert (status, "BAD_MASTER_KEY" in told) == (1, True), command
    with EmbeddedDatabase(folder / "plain", config=CONFIG) as plain:
        plain.user("alice").put("diet", 1)
        plain.backup(folder / "p0")
    for plain_one in (
        ("backup", folder / "plain", "--to", folder / "p1"),
        ("verify", folder / "plain"),
        ("verify", folder / "p0"),
        ("restore", folder / "p0", "--to", folder / "none"),
        ("export", folder / "plain", "--user", "alice", "--to", folder / "none"),
        ("gaps", "--data", folder / "plain", "--user", "alice"),
    ):
        status, _, told = run(capsys, *plain_one, *key)
        assert (status, "NOT_ENCRYPTED" in told) == (1, True), plain_one
    assert not (folder / "none").exists()


def test_restore_takes_former_keys_copies_elsewhere_and_losses(
    db: EmbeddedDatabase, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db.backup(folder / "a0")
    name = db._directory.user_path("bob").name
    expected = {"alice": content(db, "alice")}
    db.close()
    rotate_master_key(folder / "data", OLD, NEW)
    (folder / "data-keys").rename(folder / "elsewhere")
    next((folder / "elsewhere").glob(f"{name}.*")).unlink()
    command = ["restore", folder / "a0", "--to", folder / "copy"]
    command += ["--master-key-file", key_file(folder, NEW)]
    for reason, option in (
        ("KEY_MISSING", []),
        ("MASTER_KEY_MISMATCH", ["--data-keys", folder / "elsewhere"]),
        ("KEY_MISSING", ["--former-key-file", key_file(folder, OLD)]),
    ):
        command += option
        status, _, told = run(capsys, *command)
        assert (status, reason in told) == (1, True)
        assert not (folder / "copy").exists()
    status, report, _ = run(capsys, *command, "--leave-out-lost")
    assert (status, report["users"], report["lost"]) == (1, 1, [name])
    compared(folder, "copy", expected, NEW)
    status, found, _ = run(capsys, "verify", folder / "a0", *command[4:])
    assert (status, [one["reason"] for one in found["damaged_files"]]) == (1, ["KEY_MISSING"])


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
