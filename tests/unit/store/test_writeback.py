"""A large commit begins to go to the disk while it is copied; what it rests on is as before."""

from __future__ import annotations

import _thread
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from memdb.config import EngineConfig
from memdb.store import schema, writeback
from memdb.store.creation import create_environment
from memdb.store.schema import USER_TABLES, Table
from memdb.store.transaction import Transaction
from memdb.store.writeback import EarlyWriting

CONFIG = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)


def descriptors_of(file: Path) -> int:
    """How many of this process's descriptors are of a file."""
    found = 0
    for one in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            found += one.readlink() == file
    return found


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it comes to hold within ten seconds."""
    end = time.monotonic() + 10
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Results of the system's call, which is made as ever."""
    real = writeback._sync_file_range()
    if real is None:
        pytest.skip("the system has no such call")
    results: list[int] = []

    def noted(descriptor: int, begin: int, length: int, how: int) -> int:
        results.append(real(descriptor, begin, length, how))
        return results[-1]

    monkeypatch.setattr(writeback, "_sync_file_range", lambda: noted)
    return results


def test_it_is_asked_for_while_the_block_runs_and_no_longer(
    tmp_path: Path, asked: list[int]
) -> None:
    file = (tmp_path / "file").resolve()
    file.write_bytes(bytes(1 << 20))
    with EarlyWriting(file).of(writeback.BYTES_MIN):
        assert eventually(lambda: len(asked) >= 3)
    assert eventually(lambda: descriptors_of(file) == 0)
    count = len(asked)
    assert set(asked) == {0}
    assert len(asked) == count


def test_commits_that_stand_at_one_door_share_a_thread(tmp_path: Path, asked: list[int]) -> None:
    file = (tmp_path / "file").resolve()
    file.write_bytes(bytes(1 << 20))
    early, size = EarlyWriting(file), writeback.BYTES_MIN
    with early.of(size):
        assert eventually(lambda: len(asked) >= 1)
        with early.of(size), early.of(size):
            count = len(asked)
            assert eventually(lambda: len(asked) > count)
            assert descriptors_of(file) == 1
        count = len(asked)
        assert eventually(lambda: len(asked) > count + 1), "the first is still being written"
    assert eventually(lambda: descriptors_of(file) == 0)
    with early.of(size):
        count = len(asked)
        assert eventually(lambda: len(asked) > count), "another thread for another commit"


def test_what_is_small_has_no_thread(tmp_path: Path, asked: list[int]) -> None:
    before = _thread._count()
    with EarlyWriting(tmp_path / "file").of(writeback.BYTES_MIN - 1):
        assert _thread._count() == before
    assert asked == []


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_where_there_is_no_thread_to_be_had_the_block_runs(
    tmp_path: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def none(*_: object) -> int:
        raise error

    monkeypatch.setattr(_thread, "start_new_thread", none)
    ran = False
    with EarlyWriting(tmp_path / "file").of(writeback.BYTES_MIN):
        ran = True
    assert ran
    assert asked == []


def test_where_the_thread_has_no_memory_the_next_commit_has_another(
    tmp_path: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = (tmp_path / "file").resolve()
    file.write_bytes(bytes(1 << 20))
    real, refused = os.open, threading.Event()

    def no_memory_once(*args: Any) -> int:
        if not refused.is_set():
            refused.set()
            raise MemoryError
        return real(*args)

    monkeypatch.setattr(os, "open", no_memory_once)
    early = EarlyWriting(file)
    with early.of(writeback.BYTES_MIN):
        assert refused.wait(10)
        assert eventually(lambda: not early._has_thread)
    with early.of(writeback.BYTES_MIN):
        assert eventually(lambda: len(asked) > 0)
    assert eventually(lambda: descriptors_of(file) == 0)


def test_an_error_of_the_block_is_its_own_and_a_file_that_is_gone_is_none(
    tmp_path: Path, asked: list[int]
) -> None:
    def fail() -> None:
        with EarlyWriting(tmp_path / "gone").of(writeback.BYTES_MIN):
            time.sleep(4 * writeback.STEP_S)
            raise RuntimeError("of the block")

    with pytest.raises(RuntimeError, match="of the block"):
        fail()
    assert asked == []


def test_a_large_commit_is_there_and_its_file_may_be_closed_at_once(
    tmp_path: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writeback, "STEP_S", 0.00001)
    environment = create_environment(tmp_path / "env", USER_TABLES, CONFIG, lambda _: None)
    entries = {schema.version_key(no, 7): bytes([no]) * 100_000 for no in range(64)}

    def change(txn: Transaction) -> tuple[bool, None]:
        txn.put_all(Table.SHORT_MEMORY, entries)
        return True, None

    environment.write(change, 6_400_000)
    with environment.read() as txn:
        assert {key: bytes(value) for key, value in txn.scan(Table.SHORT_MEMORY)} == entries
    data_file = (tmp_path / "env" / "data.mdb").resolve()
    environment.close()
    assert asked
    assert eventually(lambda: descriptors_of(data_file) == 0)
