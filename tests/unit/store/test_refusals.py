"""What the system refuses, or a kill cuts short, costs a typed error and nothing that a later try needs."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import resource
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lmdb
import pytest

import memdb.failpoints
import memdb.store.appearing
import memdb.store.compact
import memdb.store.creation
import memdb.store.environment
import memdb.store.file_mark
import memdb.store.files
import memdb.store.keyring
import memdb.store.structure
import memdb.store.writes
from memdb import FailedPrecondition, MemdbError, ResourceExhausted, Unavailable
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore
from memdb.store.compact import compact
from memdb.store.directory import DataDirectory
from memdb.store.environment import Environment
from memdb.store.keyring import KeyRing
from memdb.store.schema import DATA_FILE, USER_TABLES
from memdb.store.shredding import KEY_FILE

CONFIG = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)


def opened(path: Path) -> EmbeddedDatabase:
    return EmbeddedDatabase(path, config=CONFIG, embed_texts=False)


def once(real: Callable[..., Any], number: int, wanted: Callable[..., bool]) -> Callable[..., Any]:
    """A call that fails the first time that it is ``wanted``."""
    left = [1]

    def call(*arguments: Any, **options: Any) -> Any:
        if left[0] and wanted(*arguments):
            left[0] = 0
            raise OSError(number, os.strerror(number))
        return real(*arguments, **options)

    return call


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_user_whose_name_cannot_be_synced_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with opened(tmp_path / "db") as db:
        monkeypatch.setattr(
            memdb.store.creation,
            "sync_directory",
            once(memdb.store.files.sync_directory, number, lambda path: path.name == "users"),
        )
        with pytest.raises(ResourceExhausted if number == errno.ENOSPC else Unavailable):
            db.user("u").put("k", 1)
        assert db.users() == []
        assert list((tmp_path / "db" / "users").iterdir()) == []
        assert db.user("u").put("k", 1) == 1


@pytest.mark.parametrize("look", [1, 2])
def test_a_file_that_cannot_be_looked_at_is_told_in_our_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    with opened(tmp_path / "db") as db:
        db.user("u").put("k", 1)
    (folder,) = (tmp_path / "db" / "users").iterdir()
    looks = itertools.count(1)
    real = memdb.store.structure._stat
    with monkeypatch.context() as failing:
        broken = once(real, errno.ENOSPC, lambda path: next(looks) == look)
        failing.setattr(memdb.store.structure, "_stat", broken)
        with pytest.raises((ResourceExhausted, Unavailable)):
            Environment(folder, USER_TABLES, CONFIG)
    with opened(tmp_path / "db") as db:
        assert db.user("u").get("k") == 1


def test_what_is_free_may_be_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path / "db") as db:
        monkeypatch.setattr(os, "statvfs", once(os.statvfs, errno.EIO, lambda path: True))
        assert db.user("u").put("k", 1) == 1


def test_after_a_failed_write_more_are_refused_even_if_what_is_free_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "db") as db:
        user = db.user("u")
        user.put("k", 1)

        def failing(*_: object) -> None:
            monkeypatch.undo()
            monkeypatch.setattr(os, "statvfs", once(os.statvfs, errno.EIO, lambda path: True))
            raise lmdb.DiskError("mdb_txn_commit: Input/output error")

        monkeypatch.setattr(memdb.store.writes.Writes, "_write_once", failing)
        for _ in range(2):
            with pytest.raises(Unavailable) as refused:
                user.put("k", 2)
            assert refused.value.reason == "READ_ONLY"
        assert user.get("k") == 1


@pytest.mark.parametrize(
    ("number", "reasons"),
    [(errno.EIO, ["READ_ONLY", "READ_ONLY"]), (errno.ENOSPC, ["DISK_FULL"])],
)
def test_a_disk_that_broke_while_it_was_full_takes_no_more_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reasons: list[str]
) -> None:
    with opened(tmp_path / "db") as db:
        user = db.user("u")
        user.put("k", 1)

        def failing(*_: object) -> None:
            monkeypatch.undo()
            monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=1, f_frsize=1))
            raise lmdb.Error(f"mdb_txn_commit: {os.strerror(number)}")

        monkeypatch.setattr(memdb.store.writes.Writes, "_write_once", failing)
        told: list[str] = []
        for _ in range(2):
            try:
                user.put("k", 2)
            except MemdbError as error:
                told.append(error.reason)
            monkeypatch.undo()  # there is room again
        assert told == reasons


def test_a_disk_that_broke_where_there_is_no_memory_to_say_so_takes_no_more_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "db") as db:
        user = db.user("u")
        user.put("k", 1)

        def failing(*_: object) -> None:
            monkeypatch.undo()
            monkeypatch.setattr(memdb.store.writes, "told_full", no_memory)
            raise lmdb.Error(f"mdb_txn_commit: {os.strerror(errno.EIO)}")

        def no_memory(_: object) -> bool:
            monkeypatch.undo()
            raise MemoryError

        monkeypatch.setattr(memdb.store.writes.Writes, "_write_once", failing)
        with pytest.raises(MemoryError):
            user.put("k", 2)
        with pytest.raises(Unavailable) as refused:
            user.put("k", 2)
        assert refused.value.reason == "READ_ONLY"


def test_a_commit_that_met_a_full_disk_is_refused_alone_where_there_is_room_by_the_time_anybody_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "db") as db:
        user = db.user("u")
        user.put("k", 1)

        def failing(*_: object) -> None:
            monkeypatch.undo()
            raise lmdb.Error(f"mdb_txn_commit: {os.strerror(errno.ENOSPC)}")

        monkeypatch.setattr(memdb.store.writes.Writes, "_write_once", failing)
        with pytest.raises(ResourceExhausted) as refused:
            user.put("k", 2)
        assert refused.value.reason == "DISK_FULL"
        assert user.get("k") == 1
        user.put("k", 3)
        assert db.user_state("u") == "serving"


def test_a_share_of_the_disk_that_is_used_up_is_a_full_disk(tmp_path: Path) -> None:
    """A limit on the size of files, which the system tells as it does the end of somebody's share (EDQUOT): in its
    own words, and though the disk has room.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(tmp_path / "db") as db:
        user = db.user("u")
        user.put("k", 1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
        try:
            for call in (
                lambda: user.put("k", 2),
                user.compact,
                lambda: db.user("new").put("k", 1),
                lambda: db.backup(tmp_path / "archive"),
            ):
                with pytest.raises(ResourceExhausted) as refused:
                    call()
                assert refused.value.reason == "DISK_FULL"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert db.user_state("u") == "serving"
        assert user.put("k", 3) == 2
        assert db.users() == ["u"]
        assert db.backup(tmp_path / "archive").damaged == ()


@pytest.mark.parametrize("spare", [0, 20_000, 500_000, 3 << 20])
def test_a_file_that_may_grow_no_more_breaks_nothing(tmp_path: Path, spare: int) -> None:
    """LMDB takes a write that ends half-way at the limit for a broken disk, after which none is taken any more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(tmp_path / "db") as db:
        user = db.user("u")
        for number in range(20):
            user.put(f"k{number}", "x" * 60_000)
        size = (db._directory.user_path("u") / DATA_FILE).stat().st_size
        reasons: list[str] = []
        kept = 0
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + spare, hard))
            for number in range(60):
                try:
                    user.put(f"more{number}", "y" * 100_000)
                    kept += 1
                except MemdbError as error:
                    reasons.append(error.reason)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2 + spare // 10, hard))
            with pytest.raises(ResourceExhausted) as refused:
                user.compact()
            reasons.append(refused.value.reason)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert set(reasons) == {"DISK_FULL"}
        assert db.user_state("u") == "serving"
        user.put("k", 1)
        assert len(user.keys(limit=100)) == 20 + kept + 1
        assert user.compact().bytes_after < size + spare
        assert db.verify().ok


def test_a_map_that_cannot_be_made_anew_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "db") as db:
        user = db.user("u")
        user.put("k", 1)
        with user.memory() as memory:
            environment = memory.environment
        real = environment._mapped.env

        class Failing:
            """LMDB's environment, once it could not map its file."""

            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

            def set_mapsize(self, size: int) -> None:
                raise lmdb.MemoryError("mdb_env_set_mapsize: Cannot allocate memory")

        environment._mapped.env = Failing()  # type: ignore[assignment]
        environment.release_pages()
        assert user.get("k") == 1
        # Nor can it be opened: then it is when the user is used next.
        real = environment._mapped.env
        environment._mapped.env = Failing()  # type: ignore[assignment]
        with monkeypatch.context() as patched:
            patched.setattr(lmdb, "open", once(lmdb.open, errno.ENOMEM, lambda *_: True))
            with pytest.raises(Unavailable):
                environment.release_pages()
        assert environment.is_lost
        with pytest.raises(Unavailable), environment.read():
            pass
        assert user.get("k") == 1
        assert user.put("k", 2) == 2


def test_an_archive_whose_name_cannot_be_synced_is_not_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "db") as db:
        db.user("u").put("k", 1)
        (tmp_path / "archives").mkdir()
        monkeypatch.setattr(
            memdb.store.appearing,
            "sync_directory",
            once(memdb.store.files.sync_directory, errno.EIO, lambda path: True),
        )
        with pytest.raises(Unavailable):
            db.backup(tmp_path / "archives" / "one")
        assert list((tmp_path / "archives").iterdir()) == []
        db.backup(tmp_path / "archives" / "one")
    restore(tmp_path / "archives" / "one", tmp_path / "copy")


def test_a_lock_that_was_half_taken_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(tmp_path / "db").close()
    monkeypatch.setattr(os, "ftruncate", once(os.ftruncate, errno.ENOSPC, lambda fd, size: True))
    with pytest.raises(ResourceExhausted):
        DataDirectory(tmp_path / "db")
    DataDirectory(tmp_path / "db").close()


def test_a_lock_that_fails_is_not_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", once(fcntl.flock, errno.ENOMEM, lambda fd, how: True))
    with pytest.raises(Unavailable) as refused:
        DataDirectory(tmp_path / "db")
    assert refused.value.reason == "IO_FAILED"
    DataDirectory(tmp_path / "db").close()


def test_what_cannot_be_a_directory_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FailedPrecondition) as refused:
        DataDirectory(tmp_path / "file")
    assert refused.value.reason == "NO_DIRECTORY"


def test_a_user_that_could_not_be_loaded_can_be_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "db") as db:
        real = memdb.store.environment.Environment.release_pages

        def failing(environment: object) -> None:
            monkeypatch.setattr(memdb.store.environment.Environment, "release_pages", real)
            raise Unavailable("no memory", reason="OPEN_FAILED")

        monkeypatch.setattr(memdb.store.environment.Environment, "release_pages", failing)
        with pytest.raises(MemdbError) as refused:
            db.user("u").put("k", 1)
        # Whoever keeps the error keeps what was on the stack.
        assert refused.value.reason == "OPEN_FAILED"
        assert db.user("u").put("k", 1) == 1


def test_a_directory_half_made_above_others_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(memdb.store.files, "sync_directory", synced.append)
    (tmp_path / "a").mkdir()  # by one who was killed before its name was synced
    memdb.store.files.make_directories(tmp_path / "a" / "b" / "c")
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]


def test_a_key_that_a_killed_rotation_wrapped_is_made_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = KeyRing(b"o" * 32), KeyRing(b"n" * 32)
    old.create(tmp_path, tmp_path.name)
    assert old.rewrap(tmp_path, new)
    synced: list[Path] = []
    monkeypatch.setattr(memdb.store.keyring, "sync_directory", synced.append)
    # Whoever did that may have been killed before the rename was on disk.
    assert not old.rewrap(tmp_path, new)
    assert synced == [tmp_path]
    assert (tmp_path / KEY_FILE).exists()


@pytest.mark.parametrize("whose", ["user", "catalog"])
def test_nothing_is_committed_to_a_compacted_file_before_its_name_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    with opened(tmp_path / "db") as db:
        db.create_space("cam", dim=8)
        user = db.user("u")
        user.stream("door", space="cam").create()
        db.user("other").put("k", 1)
        folder = db._directory.user_path("u") if whose == "user" else db._directory.catalog
        real = memdb.store.files.sync_directory
        broken = once(real, errno.EIO, lambda path: path == folder)
        with monkeypatch.context() as failing:
            failing.setattr(memdb.store.compact, "sync_directory", broken)
            if whose == "user":
                with pytest.raises(Unavailable):
                    user.stream("door").erase()
            else:
                db.user("other").erase()
        steps: list[str] = []

        def synced(path: Path) -> None:
            real(path)
            steps.append(f"named {path.name}")

        monkeypatch.setattr(memdb.store.file_mark, "sync_directory", synced)
        monkeypatch.setattr(memdb.failpoints, "hit", steps.append)
        if whose == "user":
            user.put("k", 1)
        else:
            db.create_space("other", dim=8)
        assert steps.index(f"named {folder.name}") < steps.index("commit.after")


DOING: dict[str, Callable[[EmbeddedDatabase], object]] = {
    "open": lambda db: db.user("u").streams(),
    "make": lambda db: db.user("other").put("k", 1),
    "compact": lambda db: compact(db._directory.user_path("u")),
}


@pytest.mark.parametrize("doing", DOING)
def test_what_lmdb_says_does_not_tell_where_the_data_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doing: str
) -> None:
    def refused(path: str, **_: Any) -> None:
        raise lmdb.Error(f"{path}: Too many open files")

    with opened(tmp_path / "secret-place") as db:
        db.create_space("cam", dim=8)
        db.user("u").stream("door", space="cam").create()
    with opened(tmp_path / "secret-place") as db:
        with monkeypatch.context() as refusing:
            refusing.setattr(lmdb, "open", refused)
            with pytest.raises(Unavailable) as told:
                DOING[doing](db)
        assert "Too many open files" in str(told.value)
        assert "secret-place" not in f"{told.value} {told.value.value}"
