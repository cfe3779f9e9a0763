"""Archives: what is backed up is what is restored, byte for byte, or nothing is."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import random
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from memdb import (
    AlreadyExists,
    BackupReport,
    Clip,
    DataLoss,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    Keyframe,
    NotFound,
    ResourceExhausted,
    Utterance,
    failpoints,
)
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.drill import drill
from memdb.engine.restore import restore, verify_archive
from memdb.store import archive as archives
from memdb.store import assembly, delta
from memdb.store.environment import Environment
from memdb.store.schema import USER_TABLES, Table
from memdb.store.transaction import Transaction
from tests.unit.engine.conftest import CONFIG, DIM, clip, vector


def full_clip(seq: int, *, sealed: bool = True, seed: int = 0) -> Clip:
    """A clip with something in every table."""
    made = np.random.default_rng([seq, seed, sealed])
    return clip(
        seq,
        global_memory=made.standard_normal(DIM).astype(np.float32),
        short_memory=made.standard_normal((12, DIM)).astype(np.float16),
        transcript=(Utterance(0, 1, f"somebody says {seq} {seed}"),),
        transcript_features=vector(seq)[None],
        keyframes=(Keyframe(5, b"jpeg%d" % seq), Keyframe(6, b"more")),
        labels={"n": str(seq)},
        sealed=sealed,
    )


def grow(db: EmbeddedDatabase, name: str, first: int, count: int = 6) -> None:
    """Clips, revisions of clips, facts, values and snapshots."""
    user = db.user(name)
    if first == 0:
        user.configure(text_space="cam")
    door = user.stream("door", space="cam")
    acks = door.write_many([full_clip(first + n) for n in range(count)])
    door.write(full_clip(first + count, sealed=False))
    door.write(full_clip(first + count, sealed=False, seed=1))
    fact = user.remember(
        f"a fact {first}", key=f"k{first % 4}", evidence=[acks[0].clip_id], feature=vector(first)
    )
    user.revise(fact.id, text=f"a fact revised {first}", feature=vector(first + 1))
    user.put("diet", {"n": first})
    user.snapshot(f"s{first}", ttl_s=600)


def everything(path: Path, name: str) -> dict[str, list[tuple[bytes, bytes]]]:
    """Every entry of every table of a user, as LMDB has it."""
    with EmbeddedDatabase(path, config=CONFIG) as db:
        folder = db._directory.user_path(name)
    environment = Environment(folder, USER_TABLES, CONFIG)
    with environment.read() as txn:
        found = {
            table.value: [(key, bytes(value)) for key, value in delta.raw_scan(txn, table)]
            for table in USER_TABLES
        }
    environment.close()
    return found


def same(one: Path, other: Path, *users: str) -> None:
    """Both directories hold the same bytes and are healthy."""
    for user in users:
        assert everything(one, user) == everything(other, user)
    with EmbeddedDatabase(other, config=CONFIG) as db:
        assert db.verify().ok
        assert db.users() == sorted(users)


def counts(report: BackupReport) -> tuple[int, int, int]:
    return report.full, report.incremental, report.unchanged


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


def test_one_user_is_restored_into_the_database_that_lost_it(
    db: EmbeddedDatabase, folder: Path
) -> None:
    grow(db, "alice", 0)
    grow(db, "bob", 0)
    db.backup(folder / "a0")
    grow(db, "alice", 10)
    lost = db._directory.user_path("bob")
    db.close()
    shutil.rmtree(lost)
    with pytest.raises(NotFound) as refused:
        restore(folder / "a0", folder / "aside", user="carol")
    assert refused.value.reason == "USER_NOT_FOUND"
    assert restore(folder / "a0", folder / "aside", user="bob").users == 1
    (moved,) = (folder / "aside" / "users").iterdir()
    moved.rename(lost.parent / moved.name)
    with EmbeddedDatabase(folder / "data", config=CONFIG) as again:
        assert again.verify().ok
        assert again.users() == ["alice", "bob"]
        assert len(again.user("bob").clips()) == 7


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


def test_a_restored_database_goes_on(db: EmbeddedDatabase, folder: Path) -> None:
    grow(db, "alice", 0)
    db.backup(folder / "a0")
    restore(folder / "a0", folder / "copy")
    with EmbeddedDatabase(folder / "copy", config=CONFIG) as copy:
        again = copy.user("alice").stream("door", space="cam").write(full_clip(0))
        assert again.duplicate
        grow(copy, "alice", 20)
        assert copy.verify().ok
        # The same chain goes on from the copy, and from the original as a branch of its own.
        assert counts(copy.backup(folder / "b1", parent=folder / "a0")) == (0, 1, 0)
    grow(db, "alice", 30)
    assert counts(db.backup(folder / "a1", parent=folder / "b1")) == (1, 0, 0)


def test_nothing_is_ever_overwritten(db: EmbeddedDatabase, folder: Path) -> None:
    grow(db, "alice", 0)
    db.backup(folder / "a0")
    (folder / "full").mkdir()
    (folder / "full" / "file").write_text("mine")
    (folder / "plain").write_text("mine")
    for target in ("full", "plain", "data", "a0"):
        with pytest.raises(AlreadyExists) as refused:
            restore(folder / "a0", folder / target)
        assert refused.value.reason == "PATH_EXISTS"
        with pytest.raises(AlreadyExists):
            db.backup(folder / target)
    assert (folder / "full" / "file").read_text() == "mine"
    (folder / "empty").mkdir()
    assert restore(folder / "a0", folder / "empty").users == 1


def test_what_is_no_archive_is_refused(db: EmbeddedDatabase, folder: Path) -> None:
    for path in (folder / "nothing", folder / "data"):
        with pytest.raises(NotFound) as refused:
            restore(path, folder / "copy")
        assert refused.value.reason == "NOT_AN_ARCHIVE"
    with pytest.raises(NotFound):
        db.backup(folder / "a1", parent=folder / "nothing")
    with pytest.raises(InvalidArgument) as bad:
        db.backup(folder / ".hidden")
    assert bad.value.reason == "BAD_PATH"
    db.backup(folder / "a0")
    with pytest.raises(InvalidArgument) as elsewhere:
        db.backup(folder / "deeper" / "a1", parent=folder / "a0")
    assert elsewhere.value.reason == "PARENT_ELSEWHERE"
    with (
        EmbeddedDatabase(folder / "data2", config=CONFIG) as other,
        pytest.raises(FailedPrecondition) as wrong,
    ):
        other.backup(folder / "a2", parent=folder / "a0")
    assert wrong.value.reason == "WRONG_DATABASE"


@pytest.mark.parametrize("which", ["archive", "format"])
def test_a_newer_format_is_refused(
    db: EmbeddedDatabase, folder: Path, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.backup(folder / "a0")
    name = "ARCHIVE_FORMAT" if which == "archive" else "FORMAT"
    monkeypatch.setattr(archives, name, 0)
    with pytest.raises(FailedPrecondition) as refused:
        restore(folder / "a0", folder / "copy")
    assert refused.value.reason == "FORMAT_NEWER"
    assert not (folder / "copy").exists()


def test_a_newer_archive_with_fields_of_its_own_is_refused_as_newer(
    db: EmbeddedDatabase, folder: Path
) -> None:
    db.backup(folder / "a0")
    document = json.loads((folder / "a0" / "manifest.json").read_bytes())
    body = document["body"] | {"archive": 3, "novelty": True}
    text = json.dumps(body, separators=(",", ":")).encode()
    digest = hashlib.sha256(text).hexdigest()
    (folder / "a0" / "manifest.json").write_bytes(
        b'{"body":%s,"sha256":"%s"}\n' % (text, digest.encode())
    )
    with pytest.raises(FailedPrecondition) as refused:
        restore(folder / "a0", folder / "copy")
    assert refused.value.reason == "FORMAT_NEWER"


def test_one_flipped_byte_anywhere_is_refused_before_anything_is_made(
    db: EmbeddedDatabase, folder: Path
) -> None:
    grow(db, "alice", 0)
    (db._directory.user_path("alice") / "NOTE").write_bytes(b"wrapped")
    db.backup(folder / "a0")
    grow(db, "alice", 10)
    db.backup(folder / "a1", parent=folder / "a0")
    chosen = random.Random(5)
    tried = 0
    for file in sorted(f for a in ("a0", "a1") for f in (folder / a).rglob("*") if f.is_file()):
        content = file.read_bytes()
        for place in [0, len(content) - 1, *(chosen.randrange(len(content)) for _ in range(12))]:
            damaged = bytearray(content)
            damaged[place] ^= 1 << chosen.randrange(8)
            file.write_bytes(damaged)
            with pytest.raises((DataLoss, FailedPrecondition)) as refused:
                restore(folder / "a1", folder / "copy")
            assert file.name in str(refused.value.field)
            tried += 1
        file.write_bytes(content[:-1])
        with pytest.raises(DataLoss):
            restore(folder / "a1", folder / "copy")
        file.write_bytes(content)
    assert tried > 100
    assert not (folder / "copy").exists()
    restore(folder / "a1", folder / "copy")


def test_a_file_too_much_or_too_little_is_named(db: EmbeddedDatabase, folder: Path) -> None:
    grow(db, "alice", 0)
    db.backup(folder / "a0")
    (folder / "a0" / "users" / "more").write_bytes(b"")
    found = verify_archive(folder / "a0")
    assert [name for name, _, _ in found.damaged_files] == ["a0/users/more"]
    (folder / "a0" / "users" / "more").unlink()
    (folder / "a0" / "SECRET").unlink()
    with pytest.raises(DataLoss) as refused:
        restore(folder / "a0", folder / "copy")
    assert refused.value.reason == "MISSING"


def test_damage_from_before_the_backup_ends_no_process(db: EmbeddedDatabase, folder: Path) -> None:
    """Checksums that are right prove nothing about a tree that was damaged when it was copied."""
    grow(db, "alice", 0)
    db.backup(folder / "a0")
    archive = archives.Archive(folder / "a0")
    (name,) = (n for n in archive.files if n.startswith("users/"))
    content = (folder / "a0" / name).read_bytes()
    chosen = random.Random(3)
    outcomes = []
    for _ in range(12):
        damaged = bytearray(content)
        page = chosen.randrange(2, len(content) // 4096) * 4096
        damaged[page : page + 4096] = bytes(chosen.randrange(256) for _ in range(4096))
        (folder / "a0" / name).write_bytes(damaged)
        entry = archives.file_entry(folder / "a0", name)
        files = tuple(entry if f.path == name else f for f in archive.manifest.files)
        manifest = replace(archive.manifest, files=files)
        (folder / "a0" / "manifest.json").unlink()
        archives.write_manifest(folder / "a0", manifest)
        try:
            restore(folder / "a0", folder / "copy")
            outcomes.append("restored")
            shutil.rmtree(folder / "copy")
        except DataLoss as error:
            outcomes.append(error.reason)
            assert not (folder / "copy").exists()
    assert set(outcomes) - {"restored"}


def test_a_drill_tells_a_difference(db: EmbeddedDatabase, folder: Path) -> None:
    grow(db, "alice", 0)
    db.backup(folder / "a0")
    for fact in db.user("alice").facts():
        db.user("alice").forget(fact.id)
    found = drill(folder / "a0", db, scratch=folder)
    assert ("alice", "facts") in found.differences
    assert not found.ok
    assert sorted(e.name for e in folder.iterdir()) == ["a0", "data"]


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


def test_who_is_erased_meanwhile_is_left_out(
    db: EmbeddedDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(db, "alice", 0)
    grow(db, "bob", 0)
    copy = db._catalog.copy

    def erase_first(target: Path) -> None:
        monkeypatch.undo()
        db.user("bob").erase()
        copy(target)

    monkeypatch.setattr(db._catalog, "copy", erase_first)
    assert db.backup(folder / "a0").users == 1
    assert verify_archive(folder / "a0").ok
    restore(folder / "a0", folder / "copy")
    with EmbeddedDatabase(folder / "copy", config=CONFIG) as restored:
        assert restored.users() == ["alice"]


def test_what_a_backup_does_not_know_is_not_left_out_silently(
    db: EmbeddedDatabase, folder: Path
) -> None:
    grow(db, "alice", 0)
    (db._directory.user_path("alice") / "blobs").mkdir()
    with pytest.raises(Internal) as refused:
        db.backup(folder / "a0")
    assert refused.value.reason == "UNKNOWN_LAYOUT"


def test_one_backup_at_a_time(db: EmbeddedDatabase, folder: Path) -> None:
    with db._backups._running, pytest.raises(FailedPrecondition) as refused:
        db.backup(folder / "a0")
    assert refused.value.reason == "BACKUP_RUNNING"


def test_a_full_disk_is_told_as_such(folder: Path, clock: ManualClock) -> None:
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=DIM)
        grow(db, "alice", 0)
    full = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 60)
    with (
        EmbeddedDatabase(folder / "data", config=full, clock=clock) as db,
        pytest.raises(ResourceExhausted) as refused,
    ):
        db.backup(folder / "a0")
    assert refused.value.reason == "DISK_FULL"
    assert [entry.name for entry in folder.iterdir()] == ["data"]


@pytest.mark.parametrize("filled", ["before", "meanwhile"])
def test_a_restore_leaves_free_what_has_to_stay_free(
    db: EmbeddedDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch, filled: str
) -> None:
    grow(db, "alice", 0)
    db.backup(folder / "a0")
    grow(db, "alice", 1)
    db.backup(folder / "a1", parent=folder / "a0")
    wanted = (folder / "a0").joinpath(
        db._directory.user_path("alice").relative_to(db._directory.path)
    )
    size = (wanted / "data.mdb").stat().st_size
    asked: list[int] = []
    real = os.statvfs

    def disk(path: Path) -> os.statvfs_result:
        """One that has room for what is restored, and later less."""
        asked.append(1)
        found = real(path)
        fields = list(found)
        enough = 8 * size // found.f_frsize + 1
        fields[4] = enough if filled == "meanwhile" and len(asked) == 1 else size // found.f_frsize
        return os.statvfs_result(fields)

    monkeypatch.setattr("memdb.store.disk.os.statvfs", disk)
    config = EngineConfig(disk_free_bytes_min=2 * size)
    with pytest.raises(ResourceExhausted) as refused:
        restore(folder / "a1", folder / "copy", config=config)
    assert (refused.value.reason, refused.value.field) == ("DISK_FULL", "free_bytes")
    assert sorted(entry.name for entry in folder.iterdir()) == ["a0", "a1", "data"]
    monkeypatch.undo()
    restore(folder / "a1", folder / "copy", config=EngineConfig(disk_free_bytes_min=0))


def test_a_restore_runs_no_code_of_the_working_directory(
    db: EmbeddedDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.user("alice").put("k", 1)
    db.backup(folder / "archive")
    stranger = folder / "stranger"
    stranger.mkdir()
    for name in ("json", "lmdb", "xxhash"):
        (stranger / f"{name}.py").write_text("open('ran', 'w')\nraise SystemExit(1)\n")
    monkeypatch.chdir(stranger)
    restore(folder / "archive", folder / "copy")
    assert not (stranger / "ran").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_is_full_while_an_environment_is_made_is_no_damage(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(assembly, "_assemble", full)
    job = {"folder": str(folder), "tables": [], "deltas": []}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(job) + "\n"))
    assert assembly.main() == 0
    assert json.loads(capsys.readouterr().out)["error"] == "DISK_FULL"
