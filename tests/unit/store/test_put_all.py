"""Many entries of a table in one call are stored as one by one."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from memdb.config import EngineConfig
from memdb.errors import Internal
from memdb.store import schema
from memdb.store.creation import create_environment
from memdb.store.environment import Environment
from memdb.store.keyring import KeyRing
from memdb.store.schema import USER_TABLES, Table
from memdb.store.staging import Entries, Staged, write_into
from memdb.store.transaction import Transaction

CONFIG = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)
ENTRIES = {schema.version_key(no, 7): bytes([no]) * 30 for no in (3, 1, 2)}


@pytest.fixture(params=[None, KeyRing(b"m" * 32)], ids=["plain", "encrypted"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Environment:
    return create_environment(tmp_path / "env", USER_TABLES, CONFIG, lambda _: None, request.param)


def write(environment: Environment, entries: Entries) -> None:
    def change(txn: Transaction) -> tuple[bool, None]:
        write_into(txn, entries)
        return True, None

    environment.write(change)


def test_what_was_put_is_there(environment: Environment) -> None:
    write(environment, {Table.CLIPS: {key: memoryview(value) for key, value in ENTRIES.items()}})
    with environment.read() as txn:
        found = {key: bytes(value) for key, value in txn.scan(Table.CLIPS)}
    environment.close()
    assert found == ENTRIES


def test_what_was_staged_is_read_and_written(environment: Environment) -> None:
    record = schema.revision_key(9)
    with environment.read() as txn:
        staged = Staged(txn, [{Table.CLIPS: {b"below": b"1"}}], {})
        for key, value in ENTRIES.items():
            staged.put(Table.CLIPS, key, value)
            staged.put(Table.CLIPS, key, value[:5])
        staged.put(Table.LOG, record, b"log", append=True)
        read = {key: bytes(staged.get(Table.CLIPS, key) or b"") for key in ENTRIES}
        assert bytes(staged.get(Table.CLIPS, b"below") or b"") == b"1"
        assert staged.get(Table.LEDGER, record) is None
    write(environment, staged.entries)
    with environment.read() as txn:
        found = {key: bytes(value) for key, value in txn.scan(Table.CLIPS)}
        assert bytes(txn.get(Table.LOG, record) or b"") == b"log"
    environment.close()
    assert read == found == {key: value[:5] for key, value in ENTRIES.items()}


def test_a_record_that_is_not_the_newest_is_refused(environment: Environment) -> None:
    write(environment, {Table.LOG: {schema.revision_key(9): b"log"}})
    with pytest.raises(Internal) as refused:
        write(environment, {Table.LOG: {schema.revision_key(8): b"log"}})
    assert refused.value.reason == "KEY_ORDER"
    with environment.read() as txn:
        assert list(txn.keys(Table.LOG)) == [schema.revision_key(9)]
    environment.close()


def test_encrypted_values_are_not_held_all_at_once(environment: Environment) -> None:
    """Of a commit they are 32 MB, beside those that came."""
    value_bytes = 256 << 10
    entries: dict[bytes, bytes | memoryview] = {
        schema.version_key(no, 7): bytes(value_bytes) for no in range(16)
    }
    tracemalloc.start()
    try:
        write(environment, {Table.SHORT_MEMORY: entries})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    environment.close()
    assert peak < 4 * value_bytes
