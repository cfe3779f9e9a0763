"""A directory of a newer format that only adds, and so opens here: what it added goes along, though nobody knows it."""

from __future__ import annotations

from pathlib import Path

import lmdb
import pytest

from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore
from memdb.store.format import FormatLine
from memdb.store.schema import FORMAT
from tests.unit.engine.conftest import CONFIG, clip

ADDED = (b"relations", b"sessions", b"speakers", b"voices")


def add(user: Path, key: bytes) -> None:
    """What a newer release writes into tables of its own."""
    with lmdb.open(str(user), max_dbs=64, map_size=1 << 24) as env:
        for name in ADDED:
            table = env.open_db(name)
            with env.begin(write=True, db=table) as txn:
                txn.put(key, b"its own")


def added(user: Path) -> set[tuple[bytes, bytes]]:
    found: set[tuple[bytes, bytes]] = set()
    with lmdb.open(str(user), max_dbs=64, readonly=True, lock=False) as env:
        for name in ADDED:
            table = env.open_db(name, create=False)
            with env.begin(db=table) as txn, txn.cursor() as entries:
                found.update((name, bytes(key)) for key, _ in entries)
    return found


@pytest.fixture
def data(folder: Path, clock: ManualClock) -> Path:
    """A directory as it left a newer release."""
    data = folder / "data"
    with EmbeddedDatabase(data, config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=8)
        db.user("alice").stream("door", space="cam").write_many([clip(seq) for seq in range(4)])
    (data / "FORMAT").write_bytes(FormatLine(FORMAT + 1, FORMAT).line())
    (user,) = (data / "users").iterdir()
    add(user, b"a")
    return data


def test_an_erasure_ends_and_leaves_it(data: Path, clock: ManualClock) -> None:
    (user,) = (data / "users").iterdir()
    with EmbeddedDatabase(data, config=CONFIG, clock=clock) as db:
        alice = db.user("alice")
        assert len(alice.erase_clips([alice.clips()[0].id]).clip_ids) == 1
        alice.compact()
        assert db.user_state("alice") == "serving"
        assert db.verify().ok
    assert added(user) == {(name, b"a") for name in ADDED}


def test_what_changed_in_it_is_in_the_next_archive_of_a_chain(
    data: Path, folder: Path, clock: ManualClock
) -> None:
    (user,) = (data / "users").iterdir()
    with EmbeddedDatabase(data, config=CONFIG, clock=clock) as db:
        assert db.backup(folder / "a").full == 1
    add(user, b"b")
    with EmbeddedDatabase(data, config=CONFIG, clock=clock) as db:
        assert db.backup(folder / "b", parent=folder / "a").full == 1
        db.user("alice").put("more", 1)
        assert db.backup(folder / "c", parent=folder / "b").full == 1
    for name in ("b", "c"):
        restore(folder / name, folder / f"of {name}")
        (copy,) = (folder / f"of {name}" / "users").iterdir()
        assert added(copy) == {(table, key) for table in ADDED for key in (b"a", b"b")}
