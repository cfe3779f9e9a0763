"""The embedded change feed reads in pages of so many bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from memdb import Keyframe, NotFound, Retention
from memdb.engine import user_changes, watch
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.hydrate import load_clip
from memdb.index.partition import PartitionView
from tests.unit.engine.conftest import clip


def test_large_clips_are_fed_in_pages(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = db.user("alice")
    for seq in range(40):
        frames = (Keyframe(0, b"x" * 100_000),)
        user.stream("door", space="cam").write(clip(seq, keyframes=frames))
    loaded: list[int] = []

    def counting(*args: Any, **options: Any) -> Any:
        loaded.append(1)
        return load_clip(*args, **options)

    monkeypatch.setattr(watch, "load_clip", counting)
    monkeypatch.setattr(user_changes, "_WATCH_PAGE_BYTES", 1_000_000)
    changes = user.watch(follow=False)
    next(changes)
    assert len(loaded) <= 10
    rest = [change.clip.seq for change in changes if change.clip is not None]
    assert rest[-1] == 39
    assert len(loaded) == 40


def test_clips_that_were_removed_are_told_without_a_look_at_the_index(db: EmbeddedDatabase) -> None:
    class Untouched(dict[int, PartitionView]):
        def values(self) -> Any:
            raise AssertionError("all rows were searched for a clip that was removed")

    user = db.user("alice")
    door = user.stream("door", space="cam")
    door.write_many([clip(seq) for seq in range(8)])
    door.set_retention(Retention(max_clips=3))
    db.sweep()
    with user.memory() as memory:
        view = replace(memory.view, partitions=Untouched(memory.view.partitions))
        told = watch.changes(memory.environment, view, 0, 100)
    clips = [change.clip for change in told if change.kind == "clip"]
    assert [None if found is None else found.seq for found in clips] == [*[None] * 5, 5, 6, 7]


def test_pages_are_of_one_life_of_the_user(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    user.put("before", 1)
    watched = user.watched_changes()
    assert [change.key for change in watched.page()] == ["before"]
    user.erase()
    for number in range(3):
        user.put("after", number)
    with pytest.raises(NotFound) as caught:
        watched.page()
    assert (caught.value.reason, caught.value.value) == ("USER_NOT_FOUND", "alice")
    assert [change.key for change in user.changes()] == ["after"] * 3
