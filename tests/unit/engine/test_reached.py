"""Nothing that the ledger has is taken for new, whatever became of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from memdb import AlreadyExists, failpoints
from memdb.clock import ManualClock
from memdb.engine.coverage import Coverage
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.memory import UserMemory
from memdb.engine.reached import Reached
from memdb.failpoints import FailpointError
from memdb.store import schema
from memdb.store.schema import Table
from memdb.types.limits import SEQ_MAX
from tests.unit.engine.conftest import CONFIG, DIM, SECOND_NS, clip, vector


def opened(folder: Path, clock: ManualClock) -> EmbeddedDatabase:
    return EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock)


def beyond(memory: UserMemory) -> list[tuple[int, int, int]]:
    """Numbers of the ledger that would not be looked up."""
    with memory.environment.read() as txn:
        numbers = [schema.split_ledger_key(key) for key in txn.keys(Table.LEDGER)]
    assert numbers
    return [number for number in numbers if Reached(memory.view.coverage).advance(*number)]


def test_a_number_is_new_once_and_those_before_it_are_not() -> None:
    reached = Reached(Coverage())
    assert [reached.advance(1, 0, seq) for seq in (0, 0, 5, 3, 5, 6)] == [
        True, False, True, False, False, True,
    ]  # fmt: skip
    assert reached.advance(1, 1, 2)
    assert reached.advance(2, 0, 2)


def test_where_the_coverage_is_not_known_nothing_is_new() -> None:
    assert not Reached(None).advance(0, 0, SEQ_MAX)


def test_an_opening_knows_every_number(folder: Path, clock: ManualClock) -> None:
    """Of clips that grow, that were erased, the newest too, that were given up, and of other epochs."""
    with opened(folder, clock) as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        door = user.stream("door", space="cam")
        door.write_many([clip(seq) for seq in range(6)])
        door.write_many([clip(seq, epoch=3) for seq in (0, 4, 2)])
        door.write(clip(7, sealed=False))
        gone = user.stream("gone", space="cam")
        gone.write_many([clip(seq) for seq in range(4)])
        gone.erase(start_ns=20 * SECOND_NS, end_ns=50 * SECOND_NS)
        door.erase(start_ns=70 * SECOND_NS, end_ns=90 * SECOND_NS)
        with user.memory() as memory:
            assert beyond(memory) == []
    with opened(folder, clock) as db:
        user = db.user("alice")
        with user.memory() as memory:
            assert beyond(memory) == []
        assert user.stream("gone").write(clip(3)).duplicate
        with pytest.raises(AlreadyExists):
            user.stream("door").write(clip(5, global_memory=vector(99)))


def test_what_failed_is_looked_up_and_written_once(folder: Path, clock: ManualClock) -> None:
    with opened(folder, clock) as db:
        db.create_space("cam", dim=DIM)
        door = db.user("alice").stream("door", space="cam")
        door.write(clip(0))
        failpoints.arm("commit.before=error")
        with pytest.raises(FailpointError):
            door.write(clip(1))
        failpoints.arm("")
        assert not door.write(clip(1)).duplicate
        assert door.write(clip(1)).duplicate
        assert not door.write(clip(2)).duplicate
        assert db.verify().ok
