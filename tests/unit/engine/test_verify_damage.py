"""A verification of a user that is damaged looks at all the rest of it."""

from __future__ import annotations

from pathlib import Path

import lmdb
import pytest

from memdb import Retention
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine import apply, apply_retention
from memdb.engine.database import EmbeddedDatabase
from memdb.store.records import LogEntry
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from tests.unit.engine.conftest import CONFIG
from tests.unit.engine.damaged import ALTERED, change, flipped_value, made

TABLES = ("clips", "vectors", "ledger", "short_memory", "keyframes", "facts", "values", "log")
CLIPS = 12
"""Of both users."""


def values(folder: Path, clock: ManualClock) -> int:
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        found = db.verify()
        assert (found.ok, found.clips) == (True, CLIPS)
        return found.values_checked


@pytest.mark.parametrize("table", TABLES)
def test_one_damaged_value_is_named_and_all_others_are_looked_at(
    folder: Path, clock: ManualClock, table: str
) -> None:
    path = made(folder, clock)
    whole = values(folder, clock)
    change(path, table, 0 if table in ("facts", "values") else 2, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        found = db.verify()
    # Which short-term memory a damaged record had is not known.
    assert (found.clips, whole - found.values_checked) == (CLIPS, int(table == "clips"))
    (only,) = found.discrepancies
    assert (only.user, only.where.partition("/")[0]) == ("alice", table)


@pytest.mark.parametrize("how", ALTERED)
@pytest.mark.parametrize("table", ["clips", "vectors"])
def test_indexes_are_compared_but_for_what_is_damaged(
    folder: Path, clock: ManualClock, table: str, how: str
) -> None:
    path = made(folder, clock)
    change(path, table, 2, ALTERED[how])
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        assert not any("index" in one.where for one in db.verify().discrepancies)
        with db.user("alice").memory() as memory:
            (partition,) = memory.view.partitions.values()
            partition.columns["start_ns"][3] += 1
        told = [one for one in db.verify().discrepancies if "index" in one.where]
        assert [one.what for one in told] == ["column start_ns differs from the store"]


@pytest.mark.parametrize("table", [Table.CLIPS, Table.VECTORS])
def test_what_is_damaged_while_it_is_open_is_no_difference_of_the_index(
    folder: Path, clock: ManualClock, table: Table
) -> None:
    made(folder, clock)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        places: list[str] = []

        def damage(txn: Transaction) -> tuple[bool, None]:
            key, stored = list(txn.scan(table))[2]
            places.append(f"{table.value}/{key.hex()}")
            txn.put(table, *flipped_value(key, bytes(stored)))
            return True, None

        with db.user("alice").memory() as memory:
            memory.environment.write(damage)
        assert [one.where for one in db.verify().discrepancies] == places


@pytest.mark.parametrize("table", ["facts", "fact_keys", "values"])
def test_an_entry_that_only_the_log_knows_of_is_told(
    folder: Path, clock: ManualClock, config: EngineConfig, table: str
) -> None:
    """Taken away as by a fault of our own, or an old page: what is left is whole."""
    path = made(folder, clock, config)
    with lmdb.open(str(path), max_dbs=32, map_size=1 << 30) as env:
        entries = env.open_db(table.encode(), create=False)
        with env.begin(write=True, db=entries) as txn:
            assert txn.delete(next(iter(txn.cursor()))[0])
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        told = {(item.user, item.where.split("/")[0]) for item in db.verify().discrepancies}
        # Without its only version a fact has no key either.
        assert told - {("alice", "fact_keys")} <= {("alice", table)}
        assert ("alice", table) in told
        user = db.user("bob")
        fact = user.remember("the cup is red", key="cup")
        user.revise(fact.id, text="the cup is green")
        user.forget(user.remember("nothing", key="nothing").id)
        user.remove("diet")
        user.put("diet", 2)
        assert {item.user for item in db.verify().discrepancies} == {"alice"}


def entries(path: Path, table: str) -> dict[bytes, bytes]:
    with lmdb.open(str(path), max_dbs=32, map_size=1 << 30) as env:
        db = env.open_db(table.encode(), create=False)
        with env.begin(db=db) as txn:
            return dict(txn.cursor())


def put_back(path: Path, table: str, rows: dict[bytes, bytes]) -> None:
    """Make a table what it was."""
    with lmdb.open(str(path), max_dbs=32, map_size=1 << 30) as env:
        db = env.open_db(table.encode(), create=False)
        with env.begin(write=True, db=db) as txn:
            txn.drop(db, delete=False)
            for row in rows.items():
                txn.put(*row)


def told(folder: Path, clock: ManualClock, config: EngineConfig) -> list[tuple[str, str]]:
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        return [(item.user, item.where.split("/")[0]) for item in db.verify().discrepancies]


@pytest.mark.parametrize("table", ["snapshots", "retention"])
def test_a_snapshot_or_a_policy_is_the_one_that_the_log_has(
    folder: Path, clock: ManualClock, config: EngineConfig, table: str
) -> None:
    path = made(folder, clock, config)
    none = entries(path, table)
    rows = []
    for hold in (True, False):
        with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
            user = db.user("alice")
            user.stream("door").set_retention(Retention(max_clips=100, hold=hold))
            user.snapshot("then", ttl_s=10**6)
        rows.append(entries(path, table))
    assert told(folder, clock, config) == []
    for wrong in (none, rows[0]):
        put_back(path, table, wrong)
        assert told(folder, clock, config) == [("alice", table)]
    put_back(path, table, rows[1])
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        user = db.user("alice")
        user.stream("door").set_retention(Retention())
        user.release("then")
    assert told(folder, clock, config) == []
    put_back(path, table, rows[1])
    assert told(folder, clock, config) == [("alice", table)]


def test_snapshots_and_policies_that_went_are_not_missed(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply, "SNAPSHOTS_MAX", 3)
    made(folder, clock)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("bob")
        for turn in range(6):
            user.snapshot(f"short-{turn}", ttl_s=1)
            user.snapshot("again", ttl_s=5)
            clock.advance(2 * 10**9)
            assert db.verify().ok
        assert len(user.snapshots()) < 8
        porch = user.stream("porch", space="cam")
        porch.create()
        porch.set_retention(Retention(max_clips=3))
        porch.erase()
        assert db.verify().ok


def test_a_policy_of_an_earlier_release_is_not_known(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log says that there was one, and not which."""
    path = made(folder, clock)
    with monkeypatch.context() as earlier:
        earlier.setattr(apply_retention, "LogEntry", lambda kind, no, content: LogEntry(kind, no))
        with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
            db.user("alice").stream("door").set_retention(Retention(max_clips=100))
    put_back(path, "retention", {})
    assert told(folder, clock, CONFIG) == []


@pytest.mark.parametrize("table", ["facts", "snapshots"])
def test_what_is_damaged_hides_no_lost_policy(
    folder: Path, clock: ManualClock, config: EngineConfig, table: str
) -> None:
    path = made(folder, clock, config)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        db.user("alice").stream("door").set_retention(Retention(hold=True))
    change(path, table, 0, flipped_value)
    put_back(path, "retention", {})
    assert told(folder, clock, config) == [("alice", table), ("alice", "retention")]
