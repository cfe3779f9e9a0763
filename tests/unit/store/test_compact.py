"""A compaction of a file that is damaged refuses it: what it leaves out would be gone, and nothing could tell."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from memdb import DataLoss
from memdb.config import EngineConfig
from memdb.store.compact import compact
from memdb.store.creation import create_environment
from memdb.store.environment import Environment
from memdb.store.schema import DATA_FILE, USER_TABLES, Table
from memdb.store.transaction import Transaction

CONFIG = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)
ENTRIES = 500
PAGE = 4096
LEAF = 2


def key_of(number: int) -> bytes:
    return number.to_bytes(8, "big")


def made(path: Path) -> Path:
    def fill(txn: Transaction) -> None:
        for number in range(ENTRIES):
            txn.put(Table.LOG, key_of(number), b"kept" * 20)

    create_environment(path, USER_TABLES, CONFIG, fill).close()
    return path / DATA_FILE


def a_key_is_flipped(content: bytearray) -> None:
    """So that it comes before the ones in front of it; the structure is as it was."""
    at = content.find(key_of(ENTRIES // 2) + b"kept" * 20)
    assert at >= 0
    content[at + 6] ^= 0x80


def entries_are_hidden(content: bytearray) -> None:
    """A leaf says that it has fewer than it has."""
    leaf = next(
        at
        for at in range(2 * PAGE, len(content), PAGE)
        if content[at + 10] == LEAF and b"kept" in content[at : at + PAGE]
    )
    (lower,) = struct.unpack_from("<H", content, leaf + 12)
    struct.pack_into("<H", content, leaf + 12, lower - 8)


@pytest.mark.parametrize("damage", [a_key_is_flipped, entries_are_hidden])
def test_what_it_would_leave_out_refuses_it(
    tmp_path: Path, damage: Callable[[bytearray], None]
) -> None:
    file = made(tmp_path / "env")
    content = bytearray(file.read_bytes())
    damage(content)
    file.write_bytes(content)
    with pytest.raises(DataLoss) as refused:
        compact(tmp_path / "env")
    assert (refused.value.reason, refused.value.field) == ("CORRUPTED", "env")
    assert file.read_bytes() == content
    assert not (tmp_path / "env" / ".new-data.mdb").exists()


def test_one_that_is_whole_keeps_every_entry(tmp_path: Path) -> None:
    made(tmp_path / "env")
    compact(tmp_path / "env")
    environment = Environment(tmp_path / "env", USER_TABLES, CONFIG)
    with environment.read() as txn:
        assert [int.from_bytes(key, "big") for key in txn.keys(Table.LOG)] == list(range(ENTRIES))
    environment.close()
