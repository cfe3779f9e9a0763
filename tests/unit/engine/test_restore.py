"""Restoring: one user alone, beside others, and what is in the way of it."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import lmdb
import pytest
from msgspec.structs import replace

from memdb import (
    DataLoss,
    InvalidArgument,
    MemdbError,
    NotFound,
    Unavailable,
)
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore
from memdb.store import archive as archives
from memdb.store import assembly
from tests.unit.engine.archives import counts, full_clip, grow
from tests.unit.engine.conftest import CONFIG


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


def test_nothing_is_made_in_a_home_directory_that_no_shell_has_seen(
    db: EmbeddedDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(db, "alice", 0)
    db.backup(folder / "a0")
    here = folder / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    makes: list[tuple[str, Callable[[str], object]]] = [
        ("path", db.backup),
        ("to", lambda to: restore(folder / "a0", to)),
    ]
    if find_spec("pyarrow") is not None:
        from memdb.portable.exporter import export_user

        makes.append(("path", lambda to: export_user(db, "alice", to)))
    for field, make in makes:
        with pytest.raises(InvalidArgument, match="expanduser") as refused:
            make("~/made")
        assert (refused.value.reason, refused.value.field) == ("BAD_PATH", field)
        assert list(here.iterdir()) == []
    restore(folder / "a0", "./~")  # which says where it is meant
    assert (here / "~" / "FORMAT").exists()


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


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "DISK_FULL"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "DISK_FULL"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), "IO_FAILED"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "IO_FAILED"),
        (MemoryError(), "IO_FAILED"),
        (lmdb.MemoryError("mdb_env_open: Cannot allocate memory"), "IO_FAILED"),
        (lmdb.Error("mdb_txn_commit: Input/output error"), "IO_FAILED"),
        (lmdb.CorruptedError("a page"), "BAD_ENVIRONMENT"),
    ],
)
def test_what_the_system_refuses_while_an_environment_is_made_is_no_damage(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    refusal: Exception,
    reason: str,
) -> None:
    def refused(*_: object) -> None:
        raise refusal

    monkeypatch.setattr(assembly, "_assemble", refused)
    job = {"folder": str(folder), "tables": [], "deltas": []}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(job) + "\n"))
    assert assembly.main() == 0
    assert json.loads(capsys.readouterr().out)["error"] == reason


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "IO_FAILED"),
        ("import os; os.abort()", "BAD_ENVIRONMENT"),
        ("""input(); print('{"error": "IO_FAILED", "what": "cannot be made"}', flush=True)""", "IO_FAILED"),
    ],
)  # fmt: skip
def test_an_archive_is_not_called_damaged_where_the_system_has_no_memory(
    db: EmbeddedDatabase,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    reason: str,
) -> None:
    """Nor is a process that the system kills one that a damaged page has ended."""
    db.user("alice").put("k", 1)
    db.backup(folder / "archive")
    monkeypatch.setattr(assembly, "_START", program)
    with pytest.raises(MemdbError) as refused:
        restore(folder / "archive", folder / "copy")
    assert refused.value.reason == reason
    assert isinstance(refused.value, DataLoss if reason == "BAD_ENVIRONMENT" else Unavailable)
    assert not (folder / "copy").exists()
