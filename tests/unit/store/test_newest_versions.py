"""The newest version of each name, found without a walk over all versions."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, Self

import pytest

from memdb import DataLoss
from memdb.config import EngineConfig
from memdb.engine.values import value_keys
from memdb.store import schema
from memdb.store.creation import create_environment
from memdb.store.environment import Environment
from memdb.store.keyring import KeyRing
from memdb.store.records import ValueRecord, pack
from memdb.store.schema import DATA_FILE, USER_TABLES, Table
from memdb.store.transaction import Transaction

CONFIG = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)


def made(path: Path, versions: list[tuple[str, int]], ring: KeyRing | None = None) -> Environment:
    def fill(txn: Transaction) -> None:
        for name, birth in versions:
            key = schema.value_key(name, birth)
            txn.put(Table.VALUES, key, pack(key, ValueRecord("1")))

    return create_environment(path, USER_TABLES, CONFIG, fill, ring)


@pytest.mark.parametrize("ring", [None, KeyRing(b"m" * 32)], ids=["plain", "encrypted"])
def test_they_are_what_a_walk_finds(tmp_path: Path, ring: KeyRing | None) -> None:
    random = Random(5)
    names = [random.choice("ab") * random.randrange(1, 5) + str(number) for number in range(30)]
    births = random.sample(range(1, 400), 200)
    versions = [(random.choice(names), birth) for birth in births]
    environment = made(tmp_path / "env", versions, ring)
    with environment.read() as txn:
        for revision in (0, 1, *random.sample(births, 20), 399, 2**63 - 1):
            newest: dict[str, int] = {}
            for name, birth in versions:
                if birth <= revision:
                    newest[name] = max(birth, newest.get(name, 0))
            found = txn.newest_versions(Table.VALUES, schema.revision_key(revision))
            assert dict(map(schema.split_value_key, found)) == newest
            assert value_keys(txn, "a", None, 1000, revision) == sorted(
                name for name in newest if name.startswith("a")
            )
    environment.close()


class Steps:
    """A transaction of LMDB that counts how often its cursors move."""

    def __init__(self, txn: Any) -> None:
        self._txn = txn
        self.count = 0

    def cursor(self, table: Any) -> Cursor:
        return Cursor(self, self._txn.cursor(table))


class Cursor:
    def __init__(self, steps: Steps, cursor: Any) -> None:
        self._steps, self._cursor = steps, cursor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cursor.close()

    def key(self) -> bytes:
        return bytes(self._cursor.key())

    def __getattr__(self, name: str) -> Any:
        self._steps.count += 1
        return getattr(self._cursor, name)


def test_versions_between_are_passed_over(tmp_path: Path) -> None:
    many = [("often", birth) for birth in range(1, 3000)]
    environment = made(tmp_path / "env", [*many, ("once", 3000), ("twice", 3001), ("twice", 3002)])
    with environment.read() as txn:
        for revision in (1500, 5000):
            steps = Steps(txn._txn)
            seen = Transaction(steps, txn._handles)  # type: ignore[arg-type]  # stands in for one
            found = list(seen.newest_versions(Table.VALUES, schema.revision_key(revision)))
            assert len(found) == (1 if revision == 1500 else 3)
            assert steps.count <= 16
    environment.close()


def test_a_key_that_is_damaged_under_an_open_environment_is_not_told(tmp_path: Path) -> None:
    environment = made(tmp_path / "env", [("first", 1), ("second", 2)])
    file = tmp_path / "env" / DATA_FILE
    content = bytearray(file.read_bytes())
    # Of the value's own page, not of one that was freed.
    at = content.rindex(schema.value_key("second", 2))
    with file.open("r+b") as written:
        written.seek(at + 2)
        written.write(b"S")
    with environment.read() as txn:
        assert value_keys(txn, "f", None, 10, 9) == ["first"]
        with pytest.raises(DataLoss) as refused:
            value_keys(txn, "", None, 10, 9)
    assert refused.value.reason == "CHECKSUM"
    environment.close()


def test_keys_out_of_order_are_damage(tmp_path: Path) -> None:
    environment = made(tmp_path / "env", [("first", 1), ("third", 2)])
    file = tmp_path / "env" / DATA_FILE
    at = bytearray(file.read_bytes()).rindex(schema.value_key("third", 2))
    with file.open("r+b") as written:
        written.seek(at + 2)
        written.write(b"a")
    with environment.read() as txn, pytest.raises(DataLoss) as refused:
        value_keys(txn, "", None, 10, 9)
    assert refused.value.reason == "KEY_ORDER"
    environment.close()
