"""How a standing question keeps which clips it looks at: on disk, in backups, under a zone that is not known."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

import msgspec
import numpy as np
import pytest

from memdb import FailedPrecondition
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import restore
from memdb.engine.user import EmbeddedUser
from memdb.index import labels
from memdb.index.labels import LabelRows, joined
from memdb.store import schema, standing
from memdb.store.envelope import Kind, seal, unseal
from memdb.store.records import encode_record
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types import local_time
from tests.unit.engine.conftest import CONFIG, DIM, SECOND_NS, clip

AXES = np.eye(DIM, dtype=np.float32)
FIELDS_OF_EARLIER = 16
"""Of a record, before questions could look at some clips alone."""
ONLY: dict[str, Any] = {
    "labels": {"zone": ["porch", "drive"]},
    "hours": [("22:00", "06:00")],
    "weekdays": [4],
    "zone": "Europe/Berlin",
}


@pytest.fixture
def user(db: EmbeddedDatabase) -> EmbeddedUser:
    alice = db.user("alice")
    alice.stream("door", space="cam").create()
    return alice


def stored(user: EmbeddedUser, no: int) -> list[Any]:
    """The fields of a question as they stand on disk."""
    key = schema.standing_key(no)
    with user.memory() as memory, memory.environment.read() as txn:
        value = txn.get(Table.META, key)
        assert value is not None
        fields: list[Any] = msgspec.msgpack.decode(
            unseal(Table.META, key, bytes(value), Kind.RECORD).payload
        )
    return fields


def test_for_who_knows_no_filters_nothing_matches(user: EmbeddedUser) -> None:
    """An earlier release that reads what this one wrote: rather no alerts than those of other clips."""
    user.standing.create(AXES[0], min_score=0.5, **ONLY)
    user.standing.create(AXES[0], min_relevance=0.5, **ONLY)
    user.standing.create(AXES[0], min_score=0.5)

    for no in (0, 1):
        fields = stored(user, no)
        assert fields[3] == float("inf")
        assert fields[14] is None
    assert stored(user, 2)[3] == 0.5
    bars = [(one.min_score, one.min_relevance) for one in user.standing.list()]
    assert bars == [(0.5, None), (None, 0.5), (0.5, None)]


def test_a_question_of_an_earlier_release_looks_at_every_clip(user: EmbeddedUser) -> None:
    question = user.standing.create(AXES[0], min_score=0.5)
    key = schema.standing_key(0)
    fields = stored(user, 0)[:FIELDS_OF_EARLIER]

    def as_before(txn: Transaction) -> tuple[bool, None]:
        txn.put(Table.META, key, seal(key, encode_record(fields), Kind.RECORD))
        return True, None

    with user.memory() as memory:
        memory.environment.write(as_before)
        with memory.environment.read() as txn:
            record = standing.get(txn, 0)
    assert record is not None
    assert record.only is None
    user.stream("door").write(clip(0, global_memory=AXES[0], labels={"zone": "porch"}))

    assert [one.question_id for one in user.standing.watch(follow=False)] == [question.id]
    assert user.standing.get(question.id).labels is None


def test_a_stream_that_goes_leaves_the_filter(user: EmbeddedUser) -> None:
    user.stream("yard", space="cam").create()
    question = user.standing.create(AXES[0], min_score=0.5, streams=["door", "yard"], **ONLY)
    user.stream("yard").erase()

    left = user.standing.get(question.id)

    assert left.streams == ("door",)
    assert (left.min_score, left.only) == (0.5, question.only)
    assert stored(user, 0)[3] == float("inf")


def test_each_absence_is_counted_from_a_clip_that_its_question_looks_at(
    user: EmbeddedUser, clock: ManualClock
) -> None:
    """Whoever begins at a cursor looks up the last matches of many questions together."""
    ask: dict[str, Any] = {"min_score": 0.5, "kind": "absent", "window_s": 20}
    asked = {
        zone: user.standing.create(AXES[0], **ask, labels={"zone": zone}).id
        for zone in ("porch", "drive", "roof")
    }
    seen = user.standing.create(AXES[1], min_score=0.5).id
    begin_ns = clock.now_ns()
    for seq, (zone, axis) in enumerate([("porch", 0), ("drive", 0), ("hall", 0), ("hall", 1)]):
        at_ns = begin_ns + seq * SECOND_NS
        clock.advance(SECOND_NS)
        user.stream("door").write(
            clip(
                seq,
                start_ns=at_ns,
                end_ns=at_ns + SECOND_NS,
                global_memory=AXES[axis],
                labels={"zone": zone},
            )
        )
    clock.advance(60 * SECOND_NS)

    alerts = list(user.standing.watch(follow=False))
    cursor = next(one.cursor for one in alerts if one.question_id == seen)

    due = {asked["roof"]: 20, asked["porch"]: 21, asked["drive"]: 22}
    for told in (alerts, list(user.standing.watch(cursor=cursor, follow=False))):
        absent = [one for one in told if one.kind == "absent"]
        assert {one.question_id: one.happened_ns for one in absent} == {
            no: begin_ns + seconds * SECOND_NS for no, seconds in due.items()
        }


def test_backups_carry_it(db: EmbeddedDatabase, user: EmbeddedUser, folder: Path) -> None:
    first = user.standing.create(AXES[0], min_score=0.5, **ONLY)
    db.backup(folder / "monday")
    second = user.standing.create(AXES[0], min_relevance=0.5, labels={"zone": "porch"})
    report = db.backup(folder / "tuesday", parent=folder / "monday")
    assert report.incremental == 1
    restore(folder / "tuesday", folder / "copy")

    with EmbeddedDatabase(folder / "copy", config=CONFIG) as copy:
        asked = copy.user("alice").standing.list()

    assert [(one.id, one.only) for one in asked] == [
        (first.id, first.only),
        (second.id, second.only),
    ]
    assert [(one.min_score, one.min_relevance) for one in asked] == [(0.5, None), (None, 0.5)]


def test_a_zone_that_this_machine_does_not_know_is_refused_as_ground_refuses_it(
    user: EmbeddedUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    user.standing.create(AXES[0], min_score=0.5, hours=[("22:00", "06:00")])
    user.stream("door").write(clip(0, global_memory=AXES[0]))

    def unknown(name: str) -> None:
        raise ZoneInfoNotFoundError(name)

    local_time._pieces_of_year.cache_clear()
    monkeypatch.setattr(local_time, "ZoneInfo", unknown)
    for call in (
        lambda: list(user.standing.watch(follow=False)),
        lambda: user.standing.backtest(AXES[0], min_score=0.5, hours=[("22:00", "06:00")]),
        lambda: user.ground(AXES[0], hours=[("22:00", "06:00")]),
    ):
        with pytest.raises(FailedPrecondition) as refused:
            call()
        assert refused.value.reason == "ZONE_UNKNOWN"
    monkeypatch.undo()
    # Nothing is lost by it.
    assert len(list(user.standing.watch(follow=False))) == 1


@pytest.mark.parametrize("few", [0, 64])
def test_labels_of_some_rows_are_those_of_all(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(labels, "_FEW_ROWS", few)
    random = np.random.default_rng(0)
    rows = LabelRows()
    rows.add(
        joined({str(random.integers(3)): str(random.integers(4)) for _ in range(2)})
        for _ in range(500)
    )
    for wanted in (
        (("0", ("1",)),),
        (("0", ("1", "2")), ("1", ("3",))),
        (("2", ("9",)),),
        (("9", ("1",)), ("0", ("1",))),
    ):
        some = random.permutation(400)[:50]
        assert rows.among(wanted, some).tolist() == rows.mask(wanted, 500)[some].tolist()
    assert rows.among((("0", ("1",)),), np.empty(0, np.int64)).tolist() == []
