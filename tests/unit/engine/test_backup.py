"""Archives: what is backed up is what is restored, byte for byte, or nothing is."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from memdb import (
    FailedPrecondition,
    Unavailable,
    failpoints,
)
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.drill import drill
from memdb.engine.restore import restore, verify_archive
from memdb.store import archive as archives
from memdb.store import delta
from memdb.store.archivekeys import KeyFiles
from memdb.store.lock_file import LOCK_FILE
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from tests.unit.engine.archives import counts, full_clip, grow, same
from tests.unit.engine.conftest import CONFIG, DIM, vector
from tests.unit.engine.test_encryption import OLD, key_file


def test_a_full_backup_restores_to_the_same_bytes(db: EmbeddedDatabase, folder: Path) -> None:
    for name in ("alice", "bob"):
        grow(db, name, 0)

    report = db.backup(folder / "a")

    assert counts(report) == (2, 0, 0)
    assert (report.users, report.parent, report.damaged) == (2, None, ())
    assert verify_archive(folder / "a").ok
    assert drill(folder / "a", db, scratch=folder).ok
    db.close()
    restored = restore(folder / "a", folder / "copy")
    assert (restored.users, restored.archive) == (2, report.id)
    same(folder / "data", folder / "copy", "alice", "bob")
    assert sorted(entry.name for entry in folder.iterdir()) == ["a", "copy", "data"]


def test_a_chain_of_increments_restores_to_the_bytes_of_a_full_copy(
    db: EmbeddedDatabase, folder: Path
) -> None:
    grow(db, "alice", 0)
    grow(db, "bob", 0)
    db.backup(folder / "a0")
    kinds = []
    for step in range(1, 5):
        grow(db, "alice", 10 * step)
        if step == 2:
            db.user("alice").stream("yard", space="cam").write(full_clip(0))
            db.user("alice").release("s0")
        if step == 3:
            fact = db.user("alice").remember("soon forgotten", feature=vector(77))
            db.user("alice").forget(fact.id)
            for kept in db.user("alice").facts()[:1]:
                db.user("alice").forget(kept.id)
        if step == 4:
            grow(db, "carol", 0)
        kinds.append(counts(db.backup(folder / f"a{step}", parent=folder / f"a{step - 1}")))

    assert kinds == [(0, 1, 1), (0, 1, 1), (0, 1, 1), (1, 1, 1)]
    sizes = [
        sum(f.bytes for f in archives.Archive(folder / f"a{n}").manifest.files) for n in (0, 1)
    ]
    assert drill(folder / "a4", db, scratch=folder, questions=8).ok
    db.backup(folder / "full")
    db.close()
    restore(folder / "a4", folder / "copy")
    restore(folder / "full", folder / "other")
    same(folder / "data", folder / "copy", "alice", "bob", "carol")
    same(folder / "copy", folder / "other", "alice", "bob", "carol")
    assert verify_archive(folder / "a4").archives == 5
    assert sizes[1] < sizes[0] * 4


def test_every_step_of_a_chain_is_its_own_moment(db: EmbeddedDatabase, folder: Path) -> None:
    grow(db, "alice", 0)
    db.backup(folder / "a0")
    shutil.copytree(folder / "data", folder / "then")
    grow(db, "alice", 10)
    db.backup(folder / "a1", parent=folder / "a0")
    db.close()
    restore(folder / "a0", folder / "copy")
    same(folder / "then", folder / "copy", "alice")


def test_what_was_forgotten_is_in_no_byte_of_what_is_restored(
    db: EmbeddedDatabase, folder: Path
) -> None:
    grow(db, "alice", 0)
    fact = db.user("alice").remember("the pass phrase is xyzzy-plugh")
    db.user("alice").put("phrase", "xyzzy-plugh")
    db.backup(folder / "a0")
    db.user("alice").forget(fact.id)
    db.user("alice").remove("phrase")
    report = db.backup(folder / "a1", parent=folder / "a0")
    assert counts(report) == (0, 1, 0)
    restore(folder / "a1", folder / "copy")
    found = [
        file
        for file in (folder / "copy").rglob("*")
        if file.is_file() and b"xyzzy-plugh" in file.read_bytes()
    ]
    assert found == []
    assert any(b"xyzzy-plugh" in f.read_bytes() for f in (folder / "a0").rglob("data.mdb"))


def test_another_history_or_an_unknown_entry_is_copied_in_full(
    db: EmbeddedDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(db, "alice", 0)
    db.backup(folder / "a0")
    db.user("alice").erase()
    grow(db, "alice", 0)
    grow(db, "alice", 10)
    assert counts(db.backup(folder / "anew", parent=folder / "a0")) == (1, 0, 0)
    grow(db, "alice", 20)
    monkeypatch.setattr(delta, "_KINDS", delta._KINDS - {"value"})
    assert counts(db.backup(folder / "unknown", parent=folder / "anew")) == (1, 0, 0)
    assert list((folder / "unknown").rglob("delta")) == []


def test_entries_that_no_log_explains_are_copied_in_full(
    db: EmbeddedDatabase, folder: Path
) -> None:
    grow(db, "alice", 0)
    db.backup(folder / "a0")
    grow(db, "alice", 10)
    with db._users.environment("alice") as environment:

        def thin(txn: Transaction) -> tuple[bool, None]:
            key = next(txn.scan(Table.SHORT_MEMORY))[0]
            return txn.delete(Table.SHORT_MEMORY, key), None

        environment.write(thin)
    assert counts(db.backup(folder / "a1", parent=folder / "a0")) == (1, 0, 0)


def test_a_damaged_record_is_copied_as_it_is(db: EmbeddedDatabase, folder: Path) -> None:
    grow(db, "alice", 0)
    db.backup(folder / "a0")
    grow(db, "alice", 10)
    with db._users.environment("alice") as environment:

        def spoil(txn: Transaction) -> tuple[bool, None]:
            *_, (key, stored) = txn.scan(Table.CLIPS)
            txn.put(Table.CLIPS, key, bytes(stored[:-1]) + bytes([stored[-1] ^ 1]))
            return True, None

        environment.write(spoil)
    assert counts(db.backup(folder / "a1", parent=folder / "a0")) == (1, 0, 0)
    assert restore(folder / "a1", folder / "copy").users == 1


def test_other_files_of_a_user_go_along(db: EmbeddedDatabase, folder: Path) -> None:
    grow(db, "alice", 0)
    (db._directory.user_path("alice") / "NOTE").write_bytes(b"wrapped")
    db.backup(folder / "a0")
    (db._directory.user_path("alice") / "NOTE").write_bytes(b"wrapped again")
    db.backup(folder / "a1", parent=folder / "a0")
    restore(folder / "a1", folder / "copy")
    assert [f.read_bytes() for f in (folder / "copy").rglob("NOTE")] == [b"wrapped again"]


def test_a_backup_of_a_running_database_holds_one_revision(
    db: EmbeddedDatabase, folder: Path
) -> None:
    grow(db, "alice", 0)
    stop = threading.Event()
    acked: list[int] = []

    def write() -> None:
        door = db.user("alice").stream("door", space="cam")
        seq = 100
        while not stop.is_set():
            acked.append(door.write(full_clip(seq)).revision)
            seq += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        before = len(acked)
        for step in range(6):
            parent = None if step == 0 else folder / f"a{step - 1}"
            promised = acked[-1] if acked else 0
            db.backup(folder / f"a{step}", parent=parent)
            (entry,) = archives.Archive(folder / f"a{step}").manifest.users
            assert entry.revision >= promised
            if step == 3:
                assert drill(folder / "a3", db, scratch=folder, questions=6).ok
        assert len(acked) > before
    finally:
        stop.set()
        writer.join()
    assert drill(folder / "a5", db, scratch=folder, questions=6).ok
    db.close()
    for step in range(6):
        restore(folder / f"a{step}", folder / "copy")
        with EmbeddedDatabase(folder / "copy", config=CONFIG) as copy:
            (entry,) = archives.Archive(folder / f"a{step}").manifest.users
            assert copy.user("alice").revision() == entry.revision
            assert copy.verify().ok
        shutil.rmtree(folder / "copy")


def test_a_damaged_user_is_named_and_the_others_are_saved(folder: Path, clock: ManualClock) -> None:
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=DIM)
        grow(db, "alice", 0)
        grow(db, "bob", 0)
        damaged = db._directory.user_path("bob")
    (damaged / "data.mdb").write_bytes(b"short")
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        report = db.backup(folder / "a0")
    assert (report.users, report.damaged) == (1, ("bob",))
    assert restore(folder / "a0", folder / "copy").damaged == (damaged.name,)
    with EmbeddedDatabase(folder / "copy", config=CONFIG) as copy:
        assert copy.users() == ["alice"]


@pytest.mark.parametrize(
    "point",
    [
        "backup.user_before",
        "backup.file_before_sync",
        "backup.file_after_sync",
        "backup.user_after",
        "backup.before_catalog",
        "backup.before_manifest",
        "backup.before_rename",
    ],
)
def test_a_backup_that_fails_leaves_nothing(db: EmbeddedDatabase, folder: Path, point: str) -> None:
    grow(db, "alice", 0)
    failpoints.arm(f"{point}=error")
    with pytest.raises(failpoints.FailpointError):
        db.backup(folder / "a0")
    failpoints.arm("")
    assert [entry.name for entry in folder.iterdir()] == ["data"]
    db.backup(folder / "a0")
    assert verify_archive(folder / "a0").ok


def test_remains_of_a_crash_go_and_what_is_not_ours_stays(
    db: EmbeddedDatabase, folder: Path
) -> None:
    (folder / ".memdb-backup-0123456789abcdef").mkdir()
    (folder / ".memdb-backup-photos").mkdir()
    db.backup(folder / "a0")
    assert sorted(e.name for e in folder.iterdir()) == [".memdb-backup-photos", "a0", "data"]


@pytest.mark.parametrize("name", ["blobs/", "link@", "notes of mine.txt", "data.mdb~", "delta"])
def test_what_an_archive_cannot_have_is_not_left_out_silently(
    db: EmbeddedDatabase, folder: Path, name: str
) -> None:
    grow(db, "alice", 0)
    grow(db, "bob", 0)
    db.backup(folder / "a0")
    db.user("alice").put("n", 1)
    db.user("bob").put("n", 1)
    strange = db._directory.user_path("alice") / name.rstrip("@")
    if name.endswith("/"):
        strange.mkdir()
    elif name.endswith("@"):
        strange.symlink_to(folder)
    else:
        strange.write_text("an operator's own")

    for archive, parent in (("a1", None), ("a2", folder / "a0")):
        report = db.backup(folder / archive, parent=parent)
        assert (report.users, report.damaged) == (1, ("alice",))
        assert restore(folder / archive, folder / f"of-{archive}").users == 1

    strange.rmdir() if strange.is_dir() and not strange.is_symlink() else strange.unlink()
    assert db.backup(folder / "a3", parent=folder / "a0").damaged == ()
    assert drill(folder / "a3", db, scratch=folder).ok


@pytest.mark.parametrize("encrypted", [False, True])
def test_one_user_whose_disk_is_away_keeps_nobody_from_a_backup(
    folder: Path, encrypted: bool
) -> None:
    config = replace(CONFIG, master_key_file=key_file(folder, OLD) if encrypted else "")
    with EmbeddedDatabase(folder / "data", config=config) as db:
        for name in ("alice", "bob"):
            db.user(name).put("n", name)
        there = db._directory.user_path("alice")
    there.rename(folder / "disk")
    there.symlink_to(folder / "disk")
    with EmbeddedDatabase(folder / "data", config=config) as db:
        db.backup(folder / "a0")
    (folder / "disk").rename(folder / "away")
    with EmbeddedDatabase(folder / "data", config=config) as db:
        report = db.backup(folder / "a1", parent=folder / "a0")
        assert (report.users, report.damaged) == (1, ("alice",))
    (folder / "away").rename(folder / "disk")
    with EmbeddedDatabase(folder / "data", config=config) as db:
        assert db.backup(folder / "a2", parent=folder / "a1").damaged == ()
    keys = KeyFiles(config.master_key_file)
    assert restore(folder / "a1", folder / "of-a1", keys=keys).damaged == (there.name,)
    assert restore(folder / "a2", folder / "of-a2", keys=keys).users == 2


def test_one_user_that_the_system_refuses_keeps_nobody_from_a_backup(
    db: EmbeddedDatabase, folder: Path
) -> None:
    for name in ("alice", "bob", "carol"):
        db.user(name).put("n", name)
    refused = db._directory.user_path("bob") / LOCK_FILE
    db.close()
    refused.unlink()
    refused.mkdir()
    with EmbeddedDatabase(folder / "data", config=CONFIG) as again:
        report = again.backup(folder / "a0")
    assert (report.users, report.damaged) == (2, ("bob",))
    assert restore(folder / "a0", folder / "copy").users == 2


def test_a_backup_of_a_database_that_is_closed_meanwhile_is_refused(
    db: EmbeddedDatabase, folder: Path
) -> None:
    for name in ("alice", "bob"):
        db.user(name).put("n", name)
    with db._backups._users.environment("bob"):
        pass
    db._backups._users.close()
    with pytest.raises(Unavailable) as refused:
        db.backup(folder / "a0")
    assert refused.value.reason == "CLOSED"
    assert not (folder / "a0").exists()


def test_one_backup_at_a_time(db: EmbeddedDatabase, folder: Path) -> None:
    with db._backups._running, pytest.raises(FailedPrecondition) as refused:
        db.backup(folder / "a0")
    assert refused.value.reason == "BACKUP_RUNNING"
