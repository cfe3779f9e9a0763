"""What a backup and a restore leave free of a disk, and what they need not write."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import lmdb
import pytest

from memdb import MemdbError, ResourceExhausted, Retention
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore
from memdb.store.schema import DATA_FILE
from tests.unit.engine.archives import counts, grow, same
from tests.unit.engine.conftest import CONFIG, DIM

FRAME = 4096


def disk_of(monkeypatch: pytest.MonkeyPatch, folder: Path, free: int) -> list[int]:
    """Have a disk that has so much free now, and less by what is written into ``folder``; what it had
    whenever it was asked.
    """
    real = os.statvfs

    def used() -> int:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    before = used()
    had: list[int] = []

    def disk(path: Path) -> os.statvfs_result:
        fields = list(real(path))
        had.append(free - (used() - before))
        fields[1] = FRAME
        fields[4] = had[-1] // FRAME
        return os.statvfs_result(fields)

    monkeypatch.setattr("memdb.store.disk.os.statvfs", disk)
    return had


def test_a_backup_asks_for_the_room_of_what_is_alive(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy has no freed pages: most of a file may be such, after a sweep say."""
    with EmbeddedDatabase(folder / "data", config=CONFIG) as db:
        alice = db.user("alice")
        for number in range(16):
            alice.put(f"k{number}", "v" * 250_000)
        for number in range(15):
            alice.remove(f"k{number}")
        assert (db._directory.user_path("alice") / DATA_FILE).stat().st_size > 4_000_000
        had = disk_of(monkeypatch, folder, CONFIG.disk_free_bytes_min + 1_000_000)
        report = db.backup(folder / "a0")
        assert (report.full, had[-1] > CONFIG.disk_free_bytes_min) == (1, True)
        monkeypatch.undo()
        disk_of(monkeypatch, folder, CONFIG.disk_free_bytes_min + 200_000)
        with pytest.raises(ResourceExhausted):
            db.backup(folder / "a1")
        monkeypatch.undo()
    assert restore(folder / "a0", folder / "copy").users == 1


@pytest.mark.parametrize("room", [1 << 20, 8 << 20])
def test_an_increment_leaves_free_what_has_to_stay_free(
    folder: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    reserve = CONFIG.disk_free_bytes_min
    with EmbeddedDatabase(folder / "data", config=CONFIG) as db:
        db.user("alice").put("n", 0)
        db.backup(folder / "a0")
        for number in range(16):
            db.user("alice").put(f"k{number}", "v" * 250_000)
        had = disk_of(monkeypatch, folder, reserve + room)
        if room > 4 << 20:
            assert db.backup(folder / "a1", parent=folder / "a0").incremental == 1
        else:
            with pytest.raises(ResourceExhausted) as refused:
                db.backup(folder / "a1", parent=folder / "a0")
            assert refused.value.reason == "DISK_FULL"
            assert sorted(path.name for path in folder.iterdir()) == ["a0", "data"]
        assert min(had) >= reserve


def test_a_restore_of_increments_asks_for_the_room_that_it_takes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedDatabase(folder / "data", config=CONFIG) as db:
        for number in range(8):
            db.user("alice").put(f"k{number}", "v" * 250_000)
        db.backup(folder / "a0")
        db.user("alice").put("n", 1)
        db.backup(folder / "a1", parent=folder / "a0")
    (full,) = (folder / "a0" / "users").rglob("data.mdb")
    size = full.stat().st_size
    config = replace(CONFIG, disk_free_bytes_min=size)
    disk_of(monkeypatch, folder, size + size * 3 // 2)
    restore(folder / "a0", folder / "of-a0", config=config)  # of one file there is never a second
    disk_of(monkeypatch, folder, size + size * 3 // 2)
    with pytest.raises(ResourceExhausted) as refused:
        restore(folder / "a1", folder / "of-a1", config=config)
    assert refused.value.reason == "DISK_FULL"
    disk_of(monkeypatch, folder, size + size * 5 // 2)
    restore(folder / "a1", folder / "of-a1", config=config)


def test_policies_and_sweeps_that_take_nothing_make_no_user_full(
    folder: Path, clock: ManualClock
) -> None:
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=DIM)
        grow(db, "alice", 0)
        db.user("alice").stream("door").set_retention(Retention(max_clips=1000))
        db.backup(folder / "a0")
        db.sweep()
        db.user("alice").stream("door").set_retention(Retention(max_clips=500, hold=True))
        grow(db, "alice", 10)
        db.sweep()
        assert counts(db.backup(folder / "a1", parent=folder / "a0")) == (0, 1, 0)
        db.user("alice").stream("door").set_retention(Retention())
        assert counts(db.backup(folder / "a2", parent=folder / "a1")) == (0, 1, 0)
        # What a sweep takes is another matter.
        db.user("alice").stream("door").set_retention(Retention(max_clips=1))
        db.sweep()
        assert counts(db.backup(folder / "a3", parent=folder / "a2")) == (1, 0, 0)
    restore(folder / "a1", folder / "of-a1")
    with EmbeddedDatabase(folder / "of-a1", config=CONFIG) as db:
        assert db.user("alice").stream("door").retention() == Retention(max_clips=500, hold=True)
    restore(folder / "a3", folder / "copy")
    same(folder / "data", folder / "copy", "alice")


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


class Refusing:
    """An environment of LMDB whose copy the system refuses to write."""

    def __init__(self, env: lmdb.Environment, number: int) -> None:
        self._env = env
        self._number = number

    def copy(self, *_: object, **__: object) -> None:
        said = os.strerror(self._number)
        error = lmdb.Error(f"mdb_env_copy3: {said}")
        vars(error).update(what="mdb_env_copy3", code=self._number, reason=said)
        raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)


@pytest.mark.parametrize("of", ["alice", "catalog"])
@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EIO, "IO_FAILED"),
        (errno.EAGAIN, "IO_FAILED"),
        (errno.ENOSPC, "DISK_FULL"),
        (errno.EROFS, "NO_DIRECTORY"),
    ],
)
def test_a_target_that_fails_is_no_damage_of_what_is_copied(
    db: EmbeddedDatabase,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    reason: str,
    of: str,
) -> None:
    for name in ("alice", "bob"):
        grow(db, name, 0)
    with db.user("alice").memory() as memory:
        copied = memory.environment if of == "alice" else db._catalog._env
    with monkeypatch.context() as patched:
        patched.setattr(copied._mapped, "env", Refusing(copied._mapped.env, number))
        with pytest.raises(MemdbError) as refused:
            db.backup(folder / "a0")
    told = refused.value
    assert (told.reason, told.field, told.value) == (reason, "path", str(folder / "a0"))
    assert [entry.name for entry in folder.iterdir()] == ["data"]
    assert db.backup(folder / "a0").users == 2


def test_a_copy_that_lmdb_is_refused_tells_what_the_system_said(
    db: EmbeddedDatabase, folder: Path
) -> None:
    db.user("alice").put("n", 1)
    (folder / DATA_FILE).write_bytes(b"in the way")
    with (
        db.user("alice").memory() as memory,
        pytest.raises(FileExistsError) as refused,
        memory.environment.read() as txn,
    ):
        memory.environment.copy(folder, txn)
    assert refused.value.filename == str(folder)


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
