"""When a large user lies ready, which of its clips do, and when no more."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from memdb.engine.database import EmbeddedDatabase
from memdb.engine.hydrate import Parts
from memdb.engine.listed import ClipFetch
from memdb.engine.prepared import Preparation
from memdb.engine.upkeep import Upkeep
from memdb.index import tiers
from memdb.index.breadth import widened
from memdb.index.indexed import Ready
from memdb.index.kernel import inner_products_address
from memdb.wire.clips import stored_clip_to_proto
from tests.unit.engine.test_kept_lists import ROWS, small, write
from tests.unit.index.test_indexed import structured

pytest.importorskip("memdb_edge", reason="the native edge is not installed")

import memdb_edge

from memdb.server.shelf import ASKED_MIN, Shelf
from tests.unit.server.listed.asking import (
    PARTS,
    answer,
    asked,
    keep_newest,
    lay_ready,
    lent,
    native,
    partition_of,
    python,
)


def test_clips_that_were_asked_for_lie_ready_and_outlast_a_commit(
    db: EmbeddedDatabase, shelf: Shelf
) -> None:
    feature = structured(1, 94)[0]
    assert native(shelf, asked(feature)) is None, "no clip lies there yet"
    assert answer(db, shelf, feature) is not None
    write(db, structured(1, 95), ROWS)
    assert native(shelf, asked(feature)) is None
    assert not shelf._lists, "it holds nothing of a view that is gone"
    lay_ready(db, shelf)
    found = native(shelf, asked(feature))
    assert found is not None
    assert found.revision == python(db, feature).revision


def test_clips_that_nobody_keeps_are_read_in_the_background(
    db: EmbeddedDatabase, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    chores: list[ClipFetch] = []
    monkeypatch.setattr(db._users._upkeep, "want", chores.append)
    feature, other = structured(2, 94)
    assert native(shelf, asked(feature)) is None
    # As if Python had found others.
    shelf.was_asked("u", PARTS, python(db, other).revision)
    assert native(shelf, asked(feature)) is None
    (chore,) = (chore for chore in chores if isinstance(chore, ClipFetch))
    chore.maintain(lambda: False)
    found = native(shelf, asked(feature))
    assert found is not None
    mine = {hit.clip.id: hit.clip.SerializeToString() for hit in found.hits}
    monkeypatch.undo()
    small(monkeypatch)
    its = {
        hit.clip.id: stored_clip_to_proto(hit.clip).SerializeToString()
        for hit in python(db, feature).hits
    }
    assert all(mine[key] == its[key] for key in mine.keys() & its.keys())
    # Not once something was taken away.
    keep_newest(db, ROWS - 1)
    given: list[int] = []
    ClipFetch(db._users, chore.listed, chore.rows, lambda row, _: given.append(row)).maintain(
        lambda: False
    )
    assert not given


@pytest.mark.parametrize("change", ["wider", "given up", "other lists"])
def test_lists_that_change_are_withdrawn(
    db: EmbeddedDatabase, shelf: Shelf, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    feature = structured(1, 94)[0]
    assert answer(db, shelf, feature) is not None
    index = partition_of(db).tiers.indexed
    ready = index.ready
    assert ready is not None
    wanted: list[tuple[str, Parts]] = []
    monkeypatch.setattr(db, "prepare", lambda user, parts, _: wanted.append((user, parts)))
    shelf.note_use()
    assert native(shelf, asked(feature)) is not None
    if change == "wider":
        index._ready = Ready(ready.lists, widened(ready.breadth, 2.0))
    elif change == "given up":
        index._ready = None
    else:
        index._ready = Ready(ready.lists, ready.breadth)
    shelf.note_use()
    assert native(shelf, asked(feature)) is None
    assert wanted == [("u", PARTS)]
    lay_ready(db, shelf)
    assert (native(shelf, asked(feature)) is None) == (change == "given up")


def test_codes_that_came_since_have_it_laid_ready_anew(db: EmbeddedDatabase, shelf: Shelf) -> None:
    write(db, structured(tiers.LATE_ROWS, 95), ROWS)
    lay_ready(db, shelf)
    assert lent(shelf).is_current
    partition = partition_of(db)
    sketch = partition.tiers._sketch
    assert sketch is not None
    assert sketch.extend(partition.matrix, tiers.LATE_ROWS)
    assert not lent(shelf).is_current


def test_a_user_is_laid_ready_once_it_is_asked_and_again_when_it_was_crowded_out(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = inner_products_address()
    assert address is not None
    shelf = Shelf(db, address)
    monkeypatch.setattr(
        db,
        "prepare",
        lambda user, parts, its: Preparation(db._users, user, parts, its).maintain(lambda: False),
    )
    feature = structured(1, 94)[0]
    for count in range(ASKED_MIN):
        assert (shelf.native.users == 0) == (count < ASKED_MIN)
        shelf.was_asked("u", PARTS, python(db, feature).revision)
    assert shelf.native.users == 1
    shelf.native.withdraw("u")
    shelf.was_asked("u", PARTS, python(db, feature).revision)
    assert shelf.native.users == 1


def test_one_that_was_crowded_out_comes_back_once_it_is_asked(
    db: EmbeddedDatabase, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by itself: it would crowd out others, which come back then, over and over."""
    wanted: list[str] = []
    monkeypatch.setattr(db, "prepare", lambda user, *_: wanted.append(user))
    shelf.note_use()
    assert shelf._lists
    shelf.native.withdraw("u")  # as others that need the room do
    shelf.note_use()
    assert not shelf._lists, "it holds the user's arrays"
    assert not wanted
    for _ in range(ASKED_MIN):
        shelf.was_asked("u", PARTS, 1)
    assert wanted == ["u"]


def test_clips_are_fetched_by_one_chore_however_often_they_are_asked_for(
    db: EmbeddedDatabase, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What learns from the rows may take minutes, and each question brought another."""
    begun, go_on = threading.Event(), threading.Event()

    class Learning:
        def maintain(self, stop: Any, gpu: Any = None, approximation: Any = None) -> None:
            begun.set()
            assert go_on.wait(20)

        def put_off(self) -> None:
            raise AssertionError

    upkeep = Upkeep()
    monkeypatch.setattr(db._users, "_upkeep", upkeep)
    upkeep.want(Learning())
    assert begun.wait(20)
    revision = python(db, structured(1, 90)[0]).revision
    for feature in structured(6, 94):
        assert native(shelf, asked(feature)) is None
        shelf.was_asked("u", PARTS, revision)
    waiting = [chore for chore in upkeep._waiting if isinstance(chore, ClipFetch)]
    go_on.set()
    assert len(waiting) == 1
    upkeep.close()


def test_the_oldest_clips_make_room() -> None:
    room = memdb_edge.ClipRoom(64 * 1024)
    first, other = room.clips(), room.clips()
    for row in range(40):
        first.put(row, b"x" * 500)
    assert 0 < room.bytes <= 64 * 1024
    for row in range(200):
        other.put(row, b"y" * 500)
    assert room.bytes <= 64 * 1024
    before = room.bytes
    other.put(7, b"z" * 60_000)
    assert room.bytes == before, "one that is too large is not kept"
    del first, other
    assert room.bytes == 0


def test_users_that_come_and_go_leave_nothing_in_the_room() -> None:
    room = memdb_edge.ClipRoom(1 << 20)
    for _ in range(200):
        clips = room.clips()
        for row in range(50):
            clips.put(row, b"x" * 100)
        del clips
    assert room.bytes == 0


def test_a_closed_database_answers_nothing(db: EmbeddedDatabase, shelf: Shelf) -> None:
    feature = structured(1, 94)[0]
    assert answer(db, shelf, feature) is not None
    db.close()
    assert native(shelf, asked(feature)) is None
    assert not shelf._lists
