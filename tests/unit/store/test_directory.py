"""The data directory: locked by one, of a known format, whole after a creation cut short."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import memdb.store.directory
import memdb.store.files
from memdb import DataLoss, FailedPrecondition
from memdb.cli.main import main
from memdb.store.directory import DataDirectory
from memdb.store.files import sync_directory


def reason(path: Path, *, create: bool = True) -> str:
    """Why a directory is not opened."""
    with pytest.raises((FailedPrecondition, DataLoss)) as refused:
        DataDirectory(path, create=create)
    return str(refused.value.reason)


def test_a_directory_is_opened_once(tmp_path: Path) -> None:
    opened = DataDirectory(tmp_path)
    with pytest.raises(FailedPrecondition, match="in this process already") as refused:
        DataDirectory(tmp_path)
    assert refused.value.reason == "DIRECTORY_LOCKED"
    opened.close()
    DataDirectory(tmp_path).close()


def test_a_process_of_the_same_number_in_another_container_is_not_taken_for_this_one(
    tmp_path: Path,
) -> None:
    """Where servers of two containers share a disk both are process 1."""
    DataDirectory(tmp_path).close()
    lock = tmp_path / "LOCK"
    holder = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, 2); print(); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        lock.write_text(f"{os.getpid()}\n")
        with pytest.raises(FailedPrecondition, match=f"open in process {os.getpid()}"):
            DataDirectory(tmp_path)
        assert other.stdin is not None
        other.stdin.close()


def test_a_format_that_a_killed_process_named_is_durable_before_anything_is_made_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a power loss may leave what was made and take the format: other files, to who comes next."""
    DataDirectory(tmp_path).close()
    for entry in tmp_path.iterdir():
        if entry.is_dir():
            entry.rmdir()
    steps: list[str] = []
    make = Path.mkdir

    def noted(path: Path) -> None:
        steps.append(f"sync {path.name}")
        sync_directory(path)

    def made(path: Path, mode: int = 0o777, **options: bool) -> None:
        steps.append(f"make {path.name}")
        make(path, mode, **options)

    monkeypatch.setattr(memdb.store.directory, "sync_directory", noted)
    monkeypatch.setattr(Path, "mkdir", made)
    DataDirectory(tmp_path).close()
    assert steps[:2] == [f"sync {tmp_path.name}", "make users"]


def test_the_name_of_a_new_directory_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []

    def noted(path: Path) -> None:
        synced.append(path)
        sync_directory(path)

    monkeypatch.setattr(memdb.store.files, "sync_directory", noted)
    DataDirectory(tmp_path / "a" / "b").close()
    # The first is of `tmp_path` itself: whoever made it may have been killed before its name was durable.
    assert synced[:3] == [tmp_path.parent, tmp_path, tmp_path / "a"]
    (tmp_path / "c").mkdir()  # as one who was killed leaves it
    for _ in range(2):  # the second time as one who was killed in `restore` does
        synced.clear()
        DataDirectory(tmp_path / "c").close()
        assert synced[0] == tmp_path


def test_names_of_user_directories_tell_nothing_and_stay(tmp_path: Path) -> None:
    opened = DataDirectory(tmp_path / "one")
    path = opened.user_path("alice")
    assert "alice" not in str(path)
    assert path.parent == tmp_path / "one" / "users"
    opened.close()
    again = DataDirectory(tmp_path / "one")
    assert again.user_path("alice") == path
    again.close()
    other = DataDirectory(tmp_path / "two")
    assert other.user_path("alice").name != path.name
    other.close()


def test_a_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    DataDirectory(tmp_path).close()
    (tmp_path / "FORMAT").write_text("memdb 999\n")
    assert reason(tmp_path) == "FORMAT_NEWER"
    assert (tmp_path / "FORMAT").read_text() == "memdb 999\n"


@pytest.mark.parametrize(
    "line", [b"", b"memdb", b"other 1\n", b"memdb x\n", b"\xff\xfe\n", b"memdb " + b"9" * 5000]
)
def test_a_format_that_is_not_ours_is_refused(
    tmp_path: Path, line: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    DataDirectory(tmp_path).close()
    (tmp_path / "FORMAT").write_bytes(line)
    assert reason(tmp_path) == "NOT_A_DATABASE"
    # Nobody is told to empty a directory whose data is all there.
    assert main(["verify", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "every archive" in told
    assert "empty" not in told


@pytest.mark.parametrize("create", [True, False])
def test_a_database_that_lost_its_format_is_no_folder_of_somebody_else(
    tmp_path: Path, create: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of a copy that left it out; whoever is told to take an empty directory may empty this one."""
    DataDirectory(tmp_path).close()
    line = (tmp_path / "FORMAT").read_bytes()
    (tmp_path / "FORMAT").unlink()
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(FailedPrecondition) as refused:
        DataDirectory(tmp_path, create=create)
    assert (refused.value.reason, refused.value.field) == ("NOT_A_DATABASE", "format")
    assert "every archive of this directory has a copy" in refused.value.message
    assert main(["verify", str(tmp_path)]) == 1
    assert "empty" not in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    (tmp_path / "FORMAT").write_bytes(line)
    DataDirectory(tmp_path).close()


def test_a_folder_with_other_files_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert reason(tmp_path) == "NOT_A_DATABASE"
    assert reason(tmp_path / "absent", create=False) == "NOT_A_DATABASE"
    assert not (tmp_path / "absent").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("left", [(), ("LOCK",), ("LOCK", "SECRET"), ("LOCK", ".new-SECRET-1")])
def test_a_creation_cut_short_is_done_again(tmp_path: Path, left: tuple[str, ...]) -> None:
    for name in left:
        (tmp_path / name).write_bytes(b"half")
    opened = DataDirectory(tmp_path)
    opened.user_path("alice")
    opened.close()
    DataDirectory(tmp_path).close()


@pytest.mark.parametrize("secret", [None, b"", b"short"])
def test_without_its_secret_nobody_is_found_so_it_is_damage(
    tmp_path: Path, secret: bytes | None
) -> None:
    DataDirectory(tmp_path).close()
    (tmp_path / "SECRET").unlink()
    if secret is not None:
        (tmp_path / "SECRET").write_bytes(secret)
    assert reason(tmp_path) == "BAD_SECRET"
    assert reason(tmp_path) == "BAD_SECRET"  # and the lock was given back


def test_what_was_discarded_is_gone_at_the_latest_at_the_next_open(tmp_path: Path) -> None:
    opened = DataDirectory(tmp_path)
    folder = opened.user_path("alice")
    folder.mkdir()
    (folder / "data.mdb").write_bytes(b"memory")
    opened.discard(folder)
    assert not folder.exists()
    opened.close()
    DataDirectory(tmp_path).close()
    assert list((tmp_path / "trash").iterdir()) == []
