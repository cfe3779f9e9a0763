"""What is damaged is erased like anything else: no byte of it stays, and nothing waits for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import lmdb
import pytest

from memdb import ErasureReport, NotFound
from memdb.clock import ManualClock
from memdb.engine.applied import Removed
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.operation import PutValue, RemoveClips, RemoveStream
from tests.unit.engine.conftest import CONFIG, SECOND_NS, clip
from tests.unit.engine.damaged import ALTERED, change, flipped_value
from tests.unit.engine.planted import CLIPS, all_of, found, made, planted

pytestmark = pytest.mark.timeout(60)

DAMAGED = 2
SEEDS = int(os.environ.get("MEMDB_ERASE_SEEDS", "40"))


def everything(user: EmbeddedUser, ids: list[str]) -> ErasureReport:
    return user.stream("door").erase()


def by_id(user: EmbeddedUser, ids: list[str]) -> ErasureReport:
    return user.erase_clips([ids[DAMAGED]])


def by_time(user: EmbeddedUser, ids: list[str]) -> ErasureReport:
    start_ns = DAMAGED * 10 * SECOND_NS
    return user.stream("door").erase(start_ns=start_ns, end_ns=start_ns + 10 * SECOND_NS)


HOW = {"stream": everything, "id": by_id, "time": by_time}
Erases = Callable[[EmbeddedUser, list[str]], ErasureReport]


@pytest.mark.parametrize("erases", HOW)
@pytest.mark.parametrize("how", ALTERED)
@pytest.mark.parametrize(
    "tables",
    [("clips",), ("vectors",), ("ledger",), ("texts",), ("keyframes",), ("short_memory",),
     ("clips", "ledger"), ("vectors", "ledger"), ("clips", "vectors")],
    ids="+".join,
)  # fmt: skip
def test_a_damaged_clip_is_erased_to_the_last_byte(
    folder: Path, clock: ManualClock, tables: tuple[str, ...], how: str, erases: str
) -> None:
    path, ids = made(folder, clock)
    for table in tables:
        change(path, table, DAMAGED, ALTERED[how])
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        report = HOW[erases](user, ids)
        assert ids[DAMAGED] in report.clip_ids
        gone = list(range(CLIPS)) if erases == "stream" else [DAMAGED]
        assert len(report.clip_ids) == len(gone)
    stays = [seq for seq in range(CLIPS) if seq not in gone]
    kept = all_of("door", stays) | all_of("yard", list(range(CLIPS)))
    assert found(folder) == kept
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        assert [c.seq for c in user.clips(stream="yard")] == list(range(CLIPS))
        if erases == "stream":
            assert [info.name for info in user.streams()] == ["yard"]
        else:
            assert [c.seq for c in user.clips(stream="door")] == stays
            # Nothing of it comes back when its agent sends it again.
            assert user.stream("door").write(planted("door", DAMAGED)).duplicate
            with pytest.raises(NotFound):
                user.clip(ids[DAMAGED])
        assert user.stream("yard").write(planted("yard", 0)).duplicate
        if not (how == "key" and "ledger" in tables):
            assert db.user_state("alice") == "serving"
            assert db.verify().discrepancies == ()
    assert found(folder) == kept


@pytest.mark.parametrize("erases", ["stream", "id"])
def test_a_clip_under_another_number_is_erased_by_its_own(
    folder: Path, clock: ManualClock, erases: str
) -> None:
    path, ids = made(folder, clock)
    for table, place in (("clips", 7), ("vectors", 11)):
        change(path, table, DAMAGED, partial(with_flipped_key_byte, place))
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        assert ids[DAMAGED] in HOW[erases](user, ids).clip_ids
        before = [] if erases == "stream" else [0, 1, 3, 4, 5]
        assert [c.seq for c in user.clips() if c.stream == "door"] == before
        assert db.user_state("alice") == "serving"
        assert db.verify().ok
    assert found(folder) == all_of("door", before) | all_of("yard", list(range(CLIPS)))


def test_a_feature_of_an_utterance_that_says_it_is_of_a_fact_goes(
    folder: Path, clock: ManualClock
) -> None:
    path, ids = made(folder, clock)
    # The kind of text in the key: 0 an utterance, 1 a fact.
    change(path, "texts", DAMAGED, lambda key, value: (key[:4] + b"\1" + key[5:], value))
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        assert by_id(db.user("alice"), ids).clips == 1
        assert db.verify().ok
    stays = [seq for seq in range(CLIPS) if seq != DAMAGED]
    assert found(folder) == all_of("door", stays) | all_of("yard", list(range(CLIPS)))


def with_flipped_key_byte(place: int, key: bytes, value: bytes) -> tuple[bytes, bytes]:
    return key[:place] + bytes([key[place] ^ 64]) + key[place + 1 :], value


@pytest.mark.parametrize("erases", ["stream", "id", "time"])
@pytest.mark.parametrize("how", ALTERED)
@pytest.mark.parametrize("table", ["clips", "vectors", "ledger", "short_memory"])
def test_damage_in_an_encrypted_directory_is_erased_as_well(
    folder: Path, clock: ManualClock, table: str, how: str, erases: str
) -> None:
    key_file = folder / "master.key"
    key_file.write_bytes(bytes(range(32)))
    key_file.chmod(0o600)
    config = replace(CONFIG, master_key_file=str(key_file))
    path, ids = made(folder, clock, config)
    change(path, table, DAMAGED, ALTERED[how])
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        user = db.user("alice")
        assert ids[DAMAGED] in HOW[erases](user, ids).clip_ids
        assert [c.seq for c in user.clips(stream="yard")] == list(range(CLIPS))
        if erases != "stream":
            assert user.stream("door").write(planted("door", DAMAGED)).duplicate
        if not (how == "key" and table == "ledger"):
            assert db.user_state("alice") == "serving"
            assert db.verify().discrepancies == ()


HOUR_NS = 3600 * SECOND_NS


def spoil(db: EmbeddedDatabase, table: Table, entry: int) -> None:
    """Damage an entry while the user is open, as a disk does."""
    with db._users.use("alice") as memory:

        def change(txn: Transaction) -> tuple[bool, None]:
            key, stored = list(txn.scan(table))[entry]
            txn.put(table, key, flipped_value(key, bytes(stored))[1])
            return True, None

        memory.environment.write(change)


@pytest.mark.parametrize("table", [Table.FACTS, Table.CLIPS, Table.VECTORS])
@pytest.mark.parametrize("entry", [0, 1, 2, 3])
def test_what_is_damaged_half_way_leaves_no_half_of_a_removal(
    db: EmbeddedDatabase, table: Table, entry: int
) -> None:
    user = db.user("alice")
    door = user.stream("door", space="cam")
    acks = [door.write(clip(seq, start_ns=seq * HOUR_NS, end_ns=seq * HOUR_NS + 1))
            for seq in range(5)]  # fmt: skip
    for ack in acks:
        user.remember(f"seen {ack.clip_id}", evidence=[ack.clip_id])
    spoil(db, table, entry)
    with db._users.use("alice") as memory:
        # As a sweep or an erasure does, before the user is looked at anew.
        (removed,) = memory.write([RemoveClips((0, 1, 2, 3), is_erasure=True)])
    assert isinstance(removed, Removed)
    assert removed.clip_nos == (0, 1, 2, 3)
    assert len(removed.fact_ids) == (3 if table is Table.FACTS else 4)
    assert [found.seq for found in user.clips()] == [4]
    db._users.damage_found("alice", [f"{table.value}/00"])
    wrong = {item.where.split("/")[0] for item in db.verify().discrepancies}
    assert wrong == ({"facts"} if table is Table.FACTS else set())
    assert len(user.long_term().tokens) == 1


TABLES = ("clips", "vectors", "ledger", "texts", "keyframes", "short_memory", "facts")


def keys_of(path: Path, table: str) -> list[bytes]:
    with lmdb.open(str(path), max_dbs=32, map_size=1 << 30) as env:
        db = env.open_db(table.encode(), create=False)
        with env.begin(db=db) as txn:
            return list(txn.cursor().iternext(keys=True, values=False))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_is_damaged_an_erased_stream_is_gone(
    folder: Path, clock: ManualClock, seed: int
) -> None:
    random = Random(seed)
    path, _ = made(folder, clock)

    of_door = {table: keys_of(path, table) for table in TABLES}
    of_door = {table: keys[: len(keys) // 2] for table, keys in of_door.items()}
    for _ in range(random.randint(1, 4)):
        table = random.choice(TABLES)
        keys = keys_of(path, table)
        left = [key for key in of_door[table] if key in keys]
        if not left:
            continue
        entry = keys.index(random.choice(left))

        def flipped(key: bytes, value: bytes) -> tuple[bytes, bytes]:
            parts = [bytearray(key), bytearray(value)]
            part = parts[random.random() < 0.5]
            part[random.randrange(len(part))] ^= 1 << random.randrange(8)
            new_key = bytes(parts[0])
            # Damage hides no other entry under the key that it makes.
            hides = new_key != key and new_key in keys  # noqa: B023
            return (key, flipped_value(key, value)[1]) if hides else (new_key, bytes(parts[1]))

        change(path, table, entry, flipped)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        user.stream("door").erase()
        assert [info.name for info in user.streams()] == ["yard"]
        assert user.put("diet", 1)
    assert found(folder) == all_of("yard", list(range(CLIPS)))
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        assert [c.seq for c in user.clips(stream="yard")] == list(range(CLIPS))
        door = user.stream("door", space="cam")
        assert not door.write(planted("door", 0)).duplicate
        assert db.user_state("alice") in ("serving", "damaged")


def test_a_damaged_log_record_leaves_no_half_of_an_erased_stream(
    folder: Path, clock: ManualClock
) -> None:
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=8)
        user = db.user("alice")
        user.stream("door", space="cam").write_many([clip(seq) for seq in range(3)])
        user.put("door-colour", "blue")  # its log record has the letters of the stream's name
        path = db._directory.user_path("alice")
    change(path, "log", 1, flipped_value)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        with user.memory() as memory:
            memory.write([RemoveClips((0, 1, 2), is_erasure=True)])
            # In one commit with what goes on: all of the removal is in it, or nothing.
            removed, put = memory.write([RemoveStream("door"), PutValue("x", "1")])
        assert isinstance(removed, int)
        assert isinstance(put, int)
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        assert db.user("alice").get("x") == 1
        assert db.user("alice").streams() == []


def test_a_stream_is_erased_to_its_end_though_a_log_record_is_damaged(
    folder: Path, clock: ManualClock
) -> None:
    path, ids = made(folder, clock)
    # As earlier releases wrote a policy, with the name of the stream.
    change(path, "log", 1, lambda key, value: (key, value[:40] + b"doorname" + value[40:]))
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        user = db.user("alice")
        assert set(user.stream("door").erase().clip_ids) == set(ids)
        assert db.user_state("alice") == "serving"
    assert b"doorname" not in (path / "data.mdb").read_bytes()
