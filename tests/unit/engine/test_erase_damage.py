"""What is damaged is erased like anything else: no byte of it stays, and nothing waits for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from memdb import Clip, ErasureReport, Keyframe, NotFound, Utterance
from memdb.clock import ManualClock
from memdb.engine.applied import Removed
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from memdb.store.environment import Transaction
from memdb.store.schema import Table
from memdb.types.arrays import Array
from memdb.types.operation import RemoveClips
from tests.unit.engine.conftest import CONFIG, SECOND_NS, clip
from tests.unit.engine.test_quarantine import ALTERED, change, flipped_value

pytestmark = pytest.mark.timeout(60)

DIM = 8
CLIPS = 6
DAMAGED = 2
PARTS = ("words", "label", "frame", "short", "vector", "feature")


def mark(stream: str, seq: int, part: str) -> bytes:
    """16 bytes that stand nowhere else and are finite as float16 and float32."""
    return f"{stream[:4]:J<4}{part[:4]:J<4}{seq:04}PLAN".encode()


def as_array(text: bytes, dtype: str, size: int) -> Array:
    return np.frombuffer((text * size)[: size * np.dtype(dtype).itemsize], dtype)


def planted(stream: str, seq: int) -> Clip:
    start_ns = seq * 10 * SECOND_NS
    return Clip(
        seq=seq,
        start_ns=start_ns,
        end_ns=start_ns + 10 * SECOND_NS,
        global_memory=as_array(mark(stream, seq, "vector"), "<f4", DIM),
        short_memory=as_array(mark(stream, seq, "short"), "<f2", 8 * DIM).reshape(8, DIM),
        keyframes=(Keyframe(seq, mark(stream, seq, "frame") * 3),),
        transcript=(Utterance(start_ns, start_ns + 1, mark(stream, seq, "words").decode()),),
        transcript_features=as_array(mark(stream, seq, "feature"), "<f4", DIM).reshape(1, DIM),
        labels={"zone": mark(stream, seq, "label").decode()},
    )


def found(folder: Path) -> set[bytes]:
    """Every planted string in any file."""
    data = b"\0".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return {
        mark(stream, seq, part)
        for stream in ("door", "yard")
        for seq in range(CLIPS)
        for part in PARTS
        if mark(stream, seq, part) in data
    }


def all_of(stream: str, seqs: list[int]) -> set[bytes]:
    return {mark(stream, seq, part) for seq in seqs for part in PARTS}


def made(folder: Path, clock: ManualClock) -> tuple[Path, list[str]]:
    """Two streams of six clips; closed.  The user's directory, and the ids of ``door``."""
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        user.configure(text_space="cam")
        acks = {
            stream: [
                user.stream(stream, space="cam").write(planted(stream, seq)) for seq in range(CLIPS)
            ]
            for stream in ("door", "yard")
        }
        for stream, of in acks.items():
            user.remember(f"of {stream}", evidence=[ack.clip_id for ack in of])
        path = db._directory.user_path("alice")
    everything = all_of("door", list(range(CLIPS))) | all_of("yard", list(range(CLIPS)))
    assert found(folder) == everything
    return path, [ack.clip_id for ack in acks["door"]]


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


HOUR_NS = 3600 * SECOND_NS


def spoil(db: EmbeddedDatabase, table: Table, entry: int) -> None:
    """Damage an entry while the user is open, as a disk does."""
    with db._users.use("alice") as memory:

        def change(txn: Transaction) -> tuple[bool, None]:
            key, stored = list(txn.scan(table))[entry]
            txn.put(table, key, flipped_value(key, bytes(stored))[1])
            return True, None

        memory.environment.write(change)


@pytest.mark.parametrize("table", [Table.PYRAMID, Table.FACTS, Table.CLIPS, Table.VECTORS])
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
    db._users.load_again("alice")
    wrong = {item.where.split("/")[0] for item in db.verify().discrepancies}
    assert wrong == ({"facts"} if table is Table.FACTS else set())
    assert len(user.long_term().tokens) == 1
