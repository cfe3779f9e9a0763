"""LMDB's newest meta page with one bit flipped: the transaction before is not taken for the newest."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

import memdb
from memdb import DataLoss
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.store.directory import user_directory_name

PAGE = 4096
TXNID = 144
"""Where in a meta page (`mdb.c`, MDB_meta behind the page header) its transaction's number stands."""


def roll_back(data_file: Path, *, keep_times: bool) -> None:
    """Make the newest of the two meta pages older than the other."""
    stat = data_file.stat()
    content = bytearray(data_file.read_bytes())
    numbers = [struct.unpack_from("<Q", content, page * PAGE + TXNID)[0] for page in (0, 1)]
    assert abs(numbers[0] - numbers[1]) == 1
    newest = numbers.index(max(numbers))
    struct.pack_into("<Q", content, newest * PAGE + TXNID, max(numbers) - 2)
    data_file.write_bytes(content)
    if keep_times:  # as a disk that forgets a bit does
        os.utime(data_file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def made(path: Path, durability: str = "durable", *, commits: int = 4) -> Path:
    with EmbeddedDatabase(path, config=EngineConfig(durability=durability)) as db:
        for number in range(commits):
            db.user("alice").put("n", number)
        db.user("bob").put("n", 0)
    name = user_directory_name((path / "SECRET").read_bytes(), "alice")
    return path / "users" / name / "data.mdb"


def test_a_user_that_was_rolled_back_is_refused(tmp_path: Path) -> None:
    data_file = made(tmp_path / "data")
    assert (data_file.parent / "CLEAN").stat().st_mode & 0o777 == 0o600
    with memdb.open(tmp_path / "data") as db:
        assert db.user("alice").get("n") == 3
    roll_back(data_file, keep_times=True)
    with memdb.open(tmp_path / "data") as db:
        with pytest.raises(DataLoss) as refused:
            db.user("alice").get("n")
        assert refused.value.reason == "ROLLED_BACK"
        assert db.user("bob").get("n") == 0


def test_an_older_state_that_a_flipped_byte_makes_the_newest_is_refused(tmp_path: Path) -> None:
    data_file = made(tmp_path / "data")
    content, stat = bytearray(data_file.read_bytes()), data_file.stat()
    numbers = [struct.unpack_from("<Q", content, page * PAGE + TXNID)[0] for page in (0, 1)]
    older = numbers.index(min(numbers))
    content[older * PAGE + TXNID + 1] ^= 135
    data_file.write_bytes(content)
    os.utime(data_file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with memdb.open(tmp_path / "data") as db:
        with pytest.raises(DataLoss) as refused:
            db.user("alice").get("n")
        assert refused.value.reason == "ROLLED_BACK"
        assert db.user("bob").get("n") == 0


@pytest.mark.parametrize("commits", [2, 4, 5, 8])
def test_nor_is_one_that_takes_the_number_that_would_have_come_next(
    tmp_path: Path, commits: int
) -> None:
    data_file = made(tmp_path / "data", commits=commits)
    content, stat = bytearray(data_file.read_bytes()), data_file.stat()
    numbers = [struct.unpack_from("<Q", content, page * PAGE + TXNID)[0] for page in (0, 1)]
    older = numbers.index(min(numbers))
    # Of every second number that is one bit.
    struct.pack_into("<Q", content, older * PAGE + TXNID, max(numbers) + 1)
    data_file.write_bytes(content)
    os.utime(data_file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with memdb.open(tmp_path / "data") as db:
        with pytest.raises(DataLoss) as refused:
            db.user("alice").get("n")
        assert refused.value.reason == "ROLLED_BACK"


@pytest.mark.parametrize("more", [1, 2, 3])
def test_a_marker_that_a_power_loss_brought_back_is_no_damage(tmp_path: Path, more: int) -> None:
    data_file = made(tmp_path / "data")
    before, stat = (data_file.parent / "CLEAN").read_bytes(), data_file.stat()
    with memdb.open(tmp_path / "data") as db:
        for number in range(more):
            db.user("alice").put("n", 100 + number)
    assert data_file.stat().st_size == stat.st_size
    (data_file.parent / "CLEAN").write_bytes(before)
    os.utime(data_file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with memdb.open(tmp_path / "data") as db:
        assert db.user("alice").get("n") == 99 + more


def test_what_relaxed_durability_may_undo_is_no_damage(tmp_path: Path) -> None:
    data_file = made(tmp_path / "data", "relaxed")
    roll_back(data_file, keep_times=True)
    with memdb.open(tmp_path / "data") as db:
        assert db.user("alice").get("n") == 2


@pytest.mark.parametrize("before", ["relaxed", "killed"])
def test_nor_is_it_after_somebody_durable_has_looked_at_it(tmp_path: Path, before: str) -> None:
    # What was committed last may be on its way to the disk all the same, until a commit comes after it.
    data_file = made(tmp_path / "data", "relaxed" if before == "relaxed" else "durable")
    if before == "killed":
        (data_file.parent / "CLEAN").unlink()
    with memdb.open(tmp_path / "data") as db:
        assert db.user("alice").get("n") == 3
    assert (data_file.parent / "CLEAN").exists()
    roll_back(data_file, keep_times=True)
    with memdb.open(tmp_path / "data") as db:
        assert db.user("alice").get("n") == 2
        db.user("alice").put("n", 4)
    roll_back(data_file, keep_times=True)
    with memdb.open(tmp_path / "data") as db, pytest.raises(DataLoss, match="transaction"):
        db.user("alice").get("n")


@pytest.mark.parametrize("keep_times", [True, False])
def test_a_catalog_that_was_rolled_back_loses_no_user(tmp_path: Path, keep_times: bool) -> None:
    made(tmp_path / "data")
    roll_back(tmp_path / "data" / "catalog" / "data.mdb", keep_times=keep_times)
    for _ in range(2):
        with memdb.open(tmp_path / "data") as db:
            assert db.users() == ["alice", "bob"]
            assert db.user("bob").get("n") == 0
            assert db.verify().ok
