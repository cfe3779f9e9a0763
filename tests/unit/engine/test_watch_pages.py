"""The embedded change feed reads in pages of so many bytes."""

from __future__ import annotations

from typing import Any

import pytest

from memdb import Keyframe
from memdb.engine import user as engine_user
from memdb.engine import watch
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.hydrate import load_clip
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
    monkeypatch.setattr(engine_user, "_WATCH_PAGE_BYTES", 1_000_000)
    changes = user.watch(follow=False)
    next(changes)
    assert len(loaded) <= 10
    rest = [change.clip.seq for change in changes if change.clip is not None]
    assert rest[-1] == 39
    assert len(loaded) == 40
