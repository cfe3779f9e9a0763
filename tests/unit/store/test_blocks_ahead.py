"""Large commits find blocks of the disk laid out behind the end of the file; nothing else is different."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from memdb.config import EngineConfig
from memdb.store import blocks_ahead, schema
from memdb.store.blocks_ahead import BlocksAhead
from memdb.store.creation import create_environment
from memdb.store.environment import Environment
from memdb.store.schema import USER_TABLES, Table
from memdb.store.structure import check_structure
from memdb.store.transaction import Transaction

CONFIG = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)
MIB = 1 << 20


def blocks_bytes(file: Path) -> int:
    return file.stat().st_blocks * 512


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if blocks_ahead.type_of(tmp_path) not in blocks_ahead.TYPES:
        pytest.skip("the file system of the test's folder takes no blocks ahead")
    return tmp_path


@pytest.fixture
def file(folder: Path) -> Path:
    """One of 64 MiB, of which one is written."""
    made = folder / "file"
    with made.open("wb") as written:
        written.write(os.urandom(MIB))
        written.truncate(64 * MIB)
        os.fsync(written.fileno())
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Where and how many bytes the system was asked for; it is, as ever."""
    real = blocks_ahead._fallocate()
    assert real is not None
    found: list[tuple[int, int]] = []

    def noted(descriptor: int, mode: int, offset: int, size: int) -> int:
        found.append((offset, size))
        return real(descriptor, mode, offset, size)

    monkeypatch.setattr(blocks_ahead, "_fallocate", lambda: noted)
    return found


def growing(file: Path, config: EngineConfig = CONFIG) -> BlocksAhead:
    """Those of a file that has grown since a large commit began, to what it is."""
    size = file.stat().st_size
    os.truncate(file, size - 4096)
    blocks = BlocksAhead(file, config)
    blocks.lay_out(MIB)
    os.truncate(file, size)
    return blocks


def test_they_lie_behind_the_end_and_the_file_is_as_it_was(
    file: Path, asked: list[tuple[int, int]]
) -> None:
    before, size, had = file.read_bytes(), file.stat().st_size, blocks_bytes(file)
    blocks = growing(file)
    blocks.lay_out(MIB)
    assert asked == [(size, 8 * MIB)]
    assert blocks_bytes(file) >= had + 8 * MIB
    assert file.stat().st_size == size
    assert file.read_bytes() == before


def test_they_are_asked_for_once_until_commits_come_near_their_end(
    file: Path, asked: list[tuple[int, int]]
) -> None:
    blocks = growing(file)
    for _ in range(9):
        blocks.lay_out(MIB)
    with file.open("ab") as written:
        written.write(bytes(6 * MIB))
    blocks.lay_out(MIB)
    assert len(asked) == 1
    with file.open("ab") as written:
        written.write(bytes(MIB))
    blocks.lay_out(MIB)
    assert [offset for offset, _ in asked] == [64 * MIB, 71 * MIB]


def test_commits_into_pages_that_were_freed_ask_for_none(
    file: Path, asked: list[tuple[int, int]]
) -> None:
    """As retention has it: the file stays as large as it is, however much is written."""
    blocks = BlocksAhead(file, CONFIG)
    for _ in range(9):
        blocks.lay_out(MIB)
    assert asked == []
    with file.open("ab") as written:
        written.write(bytes(MIB))
    blocks.lay_out(MIB)
    assert len(asked) == 1
    os.truncate(file, 72 * MIB)  # all that was laid out, and it grows no more
    blocks.lay_out(MIB)
    blocks.lay_out(MIB)
    blocks.lay_out(MIB)
    assert len(asked) == 2


def test_a_file_has_at_most_so_many_of_them(
    file: Path, asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks_ahead, "BLOCKS_BYTES_MAX", 3 * MIB)
    growing(file).lay_out(MIB)
    assert [size for _, size in asked] == [3 * MIB]


@pytest.mark.parametrize(
    ("size", "commit"), [(64 * MIB, MIB - 1), (15 * MIB, MIB), (64 * MIB, 5 * MIB)]
)
def test_small_commits_and_files_that_are_small_beside_them_have_none(
    file: Path, asked: list[tuple[int, int]], size: int, commit: int
) -> None:
    os.truncate(file, size)
    growing(file).lay_out(commit)
    assert asked == []


def test_a_disk_that_is_nearly_full_gives_none(file: Path, asked: list[tuple[int, int]]) -> None:
    free = os.statvfs(file)
    left = free.f_bavail * free.f_frsize - 16 * MIB
    growing(file, EngineConfig(disk_free_bytes_min=left)).lay_out(MIB)
    assert asked == []


def test_another_kind_of_file_system_is_not_asked(
    file: Path, asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks_ahead, "TYPES", frozenset[int]())
    growing(file).lay_out(MIB)
    assert asked == []


def test_what_the_system_refuses_is_nothing_and_not_asked_for_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def refused(*told: int) -> int:
        calls.append(told)
        return -1

    monkeypatch.setattr(blocks_ahead, "_fallocate", lambda: refused)
    blocks = growing(file)
    for _ in range(3):
        blocks.lay_out(MIB)
    assert len(calls) == 1


def test_a_file_that_is_gone_is_nothing(folder: Path) -> None:
    blocks = BlocksAhead(folder / "gone", CONFIG)
    blocks.lay_out(MIB)
    blocks.give_back()


def test_a_killed_process_s_are_given_back_too(file: Path) -> None:
    had = blocks_bytes(file)
    growing(file).lay_out(MIB)
    assert blocks_bytes(file) > had + 4 * MIB
    blocks = growing(file)
    os.truncate(file, 64 * MIB)  # as a sparse file it would seem to have none
    with file.open("r+b") as written:
        written.write(bytes(64 * MIB))
        os.fsync(written.fileno())
    blocks.lay_out(MIB)
    assert blocks_bytes(file) > 64 * MIB + 4 * MIB
    BlocksAhead(file, CONFIG).give_back()
    assert 64 * MIB <= blocks_bytes(file) <= 64 * MIB + blocks_ahead._UNTOLD_BYTES
    assert file.stat().st_size == 64 * MIB


def write(environment: Environment, first: int, count: int, size: int) -> dict[bytes, bytes]:
    """Entries of a commit."""
    entries = {
        schema.version_key(no, 7): bytes([no % 251]) * size for no in range(first, first + count)
    }

    def change(txn: Transaction) -> tuple[bool, None]:
        txn.put_all(Table.SHORT_MEMORY, entries)
        return True, None

    environment.write(change, count * size)
    return entries


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files have them too."""
    monkeypatch.setattr(blocks_ahead, "FILE_PARTS", 1)


@pytest.mark.usefixtures("small")
def test_an_environment_has_them_while_it_is_open_and_keeps_what_was_written(folder: Path) -> None:
    environment = create_environment(folder / "env", USER_TABLES, CONFIG, lambda _: None)
    data_file = folder / "env" / "data.mdb"
    entries: dict[bytes, bytes] = {}
    for commit in range(6):
        entries |= write(environment, 20 * commit, 20, 100_000)
    assert blocks_bytes(data_file) > data_file.stat().st_size + 2 * MIB
    environment.close()
    assert blocks_bytes(data_file) <= data_file.stat().st_size + blocks_ahead._UNTOLD_BYTES
    again = Environment(folder / "env", USER_TABLES, CONFIG)
    with again.read() as txn:
        assert {key: bytes(value) for key, value in txn.scan(Table.SHORT_MEMORY)} == entries
    again.close()


@pytest.mark.usefixtures("small")
def test_the_marker_of_an_orderly_close_is_of_the_file_without_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = create_environment(folder / "env", USER_TABLES, CONFIG, lambda _: None)
    for commit in range(6):
        write(environment, 20 * commit, 20, 100_000)
    environment.close()

    def looked(*_: object, **__: object) -> list[str]:
        raise AssertionError("the structure was looked at again")

    monkeypatch.setattr("memdb.store.structure.structure_errors", looked)
    check_structure(folder / "env" / "data.mdb")


_KILLED = """
import os, signal, sys
from pathlib import Path
from memdb.store import blocks_ahead
blocks_ahead.FILE_PARTS = 1
from memdb.store.creation import create_environment
from tests.unit.store.test_blocks_ahead import CONFIG, USER_TABLES, write
environment = create_environment(Path(sys.argv[1]), USER_TABLES, CONFIG, lambda _: None)
for commit in range(6):
    write(environment, 20 * commit, 20, 100_000)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_a_kill_all_is_there_and_the_next_who_writes_gives_them_back(folder: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", _KILLED, folder / "env"], timeout=60)
    assert killed.returncode == -9
    data_file = folder / "env" / "data.mdb"

    def left() -> int:
        return blocks_bytes(data_file) - data_file.stat().st_size

    assert left() > 2 * MIB
    environment = Environment(folder / "env", USER_TABLES, CONFIG)
    with environment.read() as txn:
        assert len(list(txn.scan(Table.SHORT_MEMORY))) == 120
    write(environment, 200, 1, 1000)
    environment.close()
    assert left() <= blocks_ahead._UNTOLD_BYTES
