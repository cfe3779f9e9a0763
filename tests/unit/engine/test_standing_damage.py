"""Standing questions that are damaged, archived, encrypted, or read by a release that knows none."""

from __future__ import annotations

from pathlib import Path

import lmdb
import msgspec
import numpy as np
import pytest

from memdb import Alert, AlreadyExists, DataLoss
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore
from memdb.engine.user import EmbeddedUser
from memdb.store import schema
from memdb.store.records import LogRecord, pack
from memdb.store.schema import META_COUNTERS, Table
from memdb.store.transaction import Transaction
from memdb.store.upgrade import upgrade
from tests.unit.engine.conftest import CONFIG, DIM, clip

AXES = np.eye(DIM, dtype=np.float32)
WORDS = "when the courier rings"


def told(user: EmbeddedUser) -> list[Alert]:
    return list(user.standing.watch(follow=False))


def fill(db: EmbeddedDatabase) -> EmbeddedUser:
    """A user with two questions, and a clip that answers both."""
    user = db.user("alice")
    user.stream("door", space="cam").create()
    user.standing.create(AXES[0], min_score=0.5, text=WORDS)
    user.standing.create(AXES[0], min_score=0.25, streams=["door"])
    user.stream("door").write(clip(0, global_memory=AXES[0]))
    return user


def path_of(db: EmbeddedDatabase) -> Path:
    return db._directory.user_path("alice")


def change(folder: Path, key: bytes, value: bytes | None) -> None:
    """Write over an entry of table meta, or take it away."""
    with lmdb.open(str(folder), max_dbs=32, map_size=1 << 28) as env:
        meta = env.open_db(b"meta", create=False)
        with env.begin(write=True, db=meta) as txn:
            assert txn.get(key) is not None
            if value is None:
                txn.delete(key)
            else:
                txn.put(key, value)


def stored(folder: Path, key: bytes) -> bytes:
    with lmdb.open(str(folder), max_dbs=32, map_size=1 << 28) as env:
        meta = env.open_db(b"meta", create=False)
        with env.begin(db=meta) as txn:
            return bytes(txn.get(key) or b"")


@pytest.mark.parametrize("how", ["flipped", "hidden", "moved"])
def test_a_damaged_question_costs_the_calls_on_questions(
    db: EmbeddedDatabase, clock: ManualClock, folder: Path, how: str
) -> None:
    fill(db)
    path = path_of(db)
    db.close()
    key = schema.standing_key(1)
    if how == "flipped":
        value = bytearray(stored(path, key))
        value[-1] ^= 1
        change(path, key, bytes(value))
    elif how == "moved":
        change(path, key, stored(path, schema.standing_key(0)))
    else:
        change(path, key, None)

    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as again:
        user = again.user("alice")
        for call in (
            user.standing.list,
            lambda: told(user),
            lambda: user.standing.create(AXES[0], min_score=0.5),
            lambda: user.standing.remove("0" * 32),
            lambda: user.standing.get("0" * 32),
        ):
            with pytest.raises(DataLoss) as caught:
                call()
            assert (caught.value.reason, caught.value.field) == ("QUARANTINED", "standing")
        assert len(user.ground(AXES[0]).hits) == 1
        assert not user.stream("door").write(clip(1)).duplicate
        assert user.standing.backtest(AXES[0], min_score=0.5).clips == 2
        assert again.user_state("alice") == "damaged"
        assert any(wrong.where.startswith("meta/") for wrong in again.verify().discrepancies)
        with user.memory() as memory:
            opened = id(memory)
        for _ in range(5):
            again.scrub(1 << 20)
            with user.memory() as memory:
                assert id(memory) == opened  # it is kept apart, and not found anew in every round
        # A stream that a damaged question may name can be erased all the same.
        user.stream("door").erase()
        assert user.streams() == []


def test_backups_carry_questions(db: EmbeddedDatabase, clock: ManualClock, folder: Path) -> None:
    user = fill(db)
    db.backup(folder / "monday")
    removed, kept = user.standing.list()
    user.standing.remove(removed.id)
    added = user.standing.create(AXES[1], min_score=0.5, kind="absent", window_s=60)
    user.stream("door").write(clip(1, global_memory=AXES[0]))
    before = told(user)
    db.backup(folder / "tuesday", parent=folder / "monday")
    restore(folder / "tuesday", folder / "restored")

    with EmbeddedDatabase(folder / "restored", config=CONFIG, clock=clock) as again:
        alice = again.user("alice")
        assert [one.id for one in alice.standing.list()] == [kept.id, added.id]
        assert told(alice) == before
        assert len(before) == 2
        assert list(alice.standing.watch(cursor=before[0].cursor, follow=False)) == before[1:]
        assert again.verify().ok
        assert alice.standing.create(AXES[0], min_score=0.5).id not in (removed.id, added.id)


def test_an_incremental_backup_is_one_where_questions_came(
    db: EmbeddedDatabase, folder: Path
) -> None:
    """Not a whole copy for a kind of log entry that it does not know."""
    user = fill(db)
    db.backup(folder / "monday")
    user.standing.remove(user.standing.list()[0].id)
    db.backup(folder / "tuesday", parent=folder / "monday")
    assert [path.name for path in (folder / "tuesday" / "users").glob("*/*")] == ["delta"]


def test_an_encrypted_directory_hides_them(folder: Path, clock: ManualClock) -> None:
    key = folder / "key"
    key.touch(mode=0o600)
    key.write_bytes(bytes(range(32)))
    config = EngineConfig(
        map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20, master_key_file=str(key)
    )
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        db.create_space("cam", dim=DIM)
        alerts = told(fill(db))
        assert len(alerts) == 2
    files = [path for path in (folder / "data").rglob("*") if path.is_file()]
    assert not any(WORDS.encode() in path.read_bytes() for path in files)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        assert told(db.user("alice")) == alerts
        assert [one.text for one in db.user("alice").standing.list()] == [WORDS, ""]
        assert db.verify().ok


def test_the_name_of_an_erased_stream_stands_in_no_question(
    db: EmbeddedDatabase, folder: Path
) -> None:
    user = db.user("alice")
    for name in ("door", "a-name-to-forget"):
        user.stream(name, space="cam").create()
    user.standing.create(AXES[0], min_score=0.5, streams=["door", "a-name-to-forget"])
    user.standing.create(AXES[0], min_score=0.5, streams=["a-name-to-forget"])
    user.stream("a-name-to-forget").erase()
    assert [one.streams for one in user.standing.list()] == [("door",)]
    assert b"a-name-to-forget" not in (path_of(db) / "data.mdb").read_bytes()
    assert db.verify().ok


def test_a_commit_of_a_release_that_knows_none_leaves_them(
    db: EmbeddedDatabase, clock: ManualClock, folder: Path
) -> None:
    """It writes its log and counters, and what it does not know stays."""
    alerts = told(fill(db))
    with db.user("alice").memory() as memory:
        counters = memory.view.state.counters
        time_ns = counters.time_ns + 1000
        newer = msgspec.structs.replace(counters, revision=counters.revision + 1, time_ns=time_ns)

        def foreign(txn: Transaction) -> tuple[bool, None]:
            log_key = schema.revision_key(newer.revision)
            txn.put(Table.LOG, log_key, pack(log_key, LogRecord(time_ns, ())))
            txn.put(Table.META, META_COUNTERS, pack(META_COUNTERS, newer))
            return True, None

        memory.environment.write(foreign)
    db.close()
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as again:
        assert told(again.user("alice")) == alerts
        assert len(again.user("alice").standing.list()) == 2


@pytest.mark.parametrize("how", ["flipped", "hidden"])
def test_a_name_that_cannot_be_told_is_not_given_twice(
    db: EmbeddedDatabase, clock: ManualClock, folder: Path, how: str
) -> None:
    user = fill(db)
    user.standing.create(AXES[1], min_score=0.5, name="mug")
    with user.memory() as memory:
        key = schema.standing_name_key(memory.view.state.id_key, "mug")
    assert b"mug" not in key
    assert db.verify().ok
    path = path_of(db)
    db.close()
    value = bytearray(stored(path, key))
    value[-1] ^= 1
    change(path, key, bytes(value) if how == "flipped" else None)

    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as again:
        with pytest.raises(DataLoss) as caught:
            again.user("alice").standing.create(AXES[1], min_score=0.5, name="mug")
        assert (caught.value.reason, caught.value.field) == ("QUARANTINED", "standing")
        assert again.verify().discrepancies
        assert len(again.user("alice").ground(AXES[0]).hits) == 1


def test_a_name_is_free_once_its_question_is_gone(db: EmbeddedDatabase) -> None:
    user = fill(db)
    removed = user.standing.create(AXES[1], min_score=0.5, name="mug")
    user.standing.remove(removed.id)
    erased = user.standing.create(AXES[2], min_score=0.5, name="mug", streams=["door"])
    user.stream("door").erase()
    user.stream("door", space="cam").create()

    again = user.standing.create(AXES[3], min_score=0.5, name="mug")

    assert len({removed.id, erased.id, again.id}) == 3
    assert again.id in [one.id for one in user.standing.list()]
    assert db.verify().ok


def test_a_name_outlives_a_restart_a_backup_and_an_upgrade(
    db: EmbeddedDatabase, clock: ManualClock, folder: Path
) -> None:
    question = fill(db).standing.create(AXES[1], min_relevance=0.5, name="mug")
    db.backup(folder / "archive")
    db.close()
    restore(folder / "archive", folder / "restored")
    upgrade(folder / "data")
    for data in ("data", "restored"):
        with EmbeddedDatabase(folder / data, config=CONFIG, clock=clock) as again:
            standing = again.user("alice").standing
            same = standing.create(AXES[1], min_relevance=0.5, name="mug")
            assert (same.id, same.revision) == (question.id, question.revision)
            with pytest.raises(AlreadyExists):
                standing.create(AXES[1], min_relevance=0.6, name="mug")
