"""What was searched of many cameras is counted in a time that grows with their clips, and not with both multiplied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Clip, DeadlineExceeded
from memdb.config import EngineConfig
from memdb.deadline import Deadline
from memdb.engine import footage
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from memdb.engine.view import View

CONFIG = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)
CAMERAS = 40
QUESTION = np.array([1, 0, 0, 0], np.float32)


@pytest.fixture
def user(tmp_path: Path) -> Iterator[EmbeddedUser]:
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        db.create_space("clip", dim=4)
        user = db.user("alice")
        for camera in range(CAMERAS):
            user.stream(f"c{camera:02}", space="clip").write_many(
                Clip(seq=seq, start_ns=seq, end_ns=seq + 1, global_memory=QUESTION)
                for seq in range(camera)
            )
        yield user


class Numpy:
    """numpy, as `footage` sees it, that tells of its look-ups."""

    def __init__(self, told: Callable[[Any, Any], None]) -> None:
        self._told = told

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def searchsorted(self, sorted_ones: Any, wanted: Any, side: Any = "left") -> Any:
        self._told(sorted_ones, wanted)
        return np.searchsorted(sorted_ones, wanted, side)


def test_cameras_are_looked_up_together_and_nothing_is_copied_for_it(
    user: EmbeddedUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[tuple[Any, Any]] = []
    monkeypatch.setattr(footage, "np", Numpy(lambda *types: looked_up.append(types)))

    coverage = user.ground(QUESTION, with_coverage=True).coverage

    # A camera without clips was never made.
    assert [(one.stream, one.clips) for one in coverage] == [
        (f"c{camera:02}", camera) for camera in range(1, CAMERAS)
    ]
    assert 0 < len(looked_up) <= 2
    assert all(np.asarray(wanted).dtype == there.dtype for there, wanted in looked_up)


def test_a_caller_who_leaves_ends_the_count(
    user: EmbeddedUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadline = Deadline()
    monkeypatch.setattr(footage, "np", Numpy(lambda *_: deadline.leave()))

    with pytest.raises(DeadlineExceeded, match="CALLER_LEFT"):
        deadline.within(user.ground, QUESTION, with_coverage=True)


class Unsearched(tuple[int, ...]):
    """Numbers that nobody looks through for one."""

    def __contains__(self, number: object) -> bool:
        raise AssertionError(number)


@pytest.mark.parametrize("space", [None, "clip"])
def test_cameras_that_are_named_are_not_looked_for_among_each_other(
    user: EmbeddedUser, space: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 10,000 cameras and a thousand names that took 60 ms, for each of the questions of a call."""
    stream_nos = View.stream_nos

    def unsearched(self: View, *args: Any) -> tuple[int, ...] | None:
        found = stream_nos(self, *args)
        return None if found is None else Unsearched(found)

    monkeypatch.setattr(View, "stream_nos", unsearched)
    names = [f"c{camera:02}" for camera in range(3, CAMERAS)]

    answer = user.ground(QUESTION, streams=names, space=space, with_coverage=True)

    assert [one.stream for one in answer.coverage] == names
    assert len(user.recall("word", streams=names, weekdays=range(7)).hits) == 0
