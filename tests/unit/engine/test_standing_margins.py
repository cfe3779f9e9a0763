"""The outline of a user's standing questions is made while clips are told, and nobody waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb.engine import standing_margins, standing_questions
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from memdb.index import outline
from memdb.index.outline import Outline
from memdb.types.arrays import Array
from tests.unit.engine.conftest import CONFIG, clip

DIM = 48
QUESTIONS = 200
SCENES = np.random.default_rng(0).standard_normal((5, DIM))
ORIGINAL = outline.outlined
WAIT_S = 20


def like_a_scene(seed: int) -> Array:
    random = np.random.default_rng(seed)
    return np.asarray(SCENES[seed % 5] + 0.3 * random.standard_normal(DIM), np.float32)


class Gate:
    """In the place of `outlined`: begins when it is asked, goes on when it may."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_go_on = threading.Event()
        self.made = threading.Event()
        self.thread: threading.Thread | None = None
        self.error: Exception | None = None
        self.times = 0

    def __call__(
        self, rows: Array, beside: Array, stop: Callable[[], bool] = lambda: False
    ) -> Outline | None:
        self.times += 1
        self.thread = threading.current_thread()
        self.begun.set()
        give_up_s = time.monotonic() + WAIT_S
        while not self.may_go_on.wait(0.01):
            if stop():
                return None
            assert time.monotonic() < give_up_s, "somebody waits for it who must not"
        if self.error is not None:
            raise self.error
        try:
            return ORIGINAL(rows, beside, stop)
        finally:
            self.made.set()

    def join(self) -> None:
        """Wait for the thread's end."""
        assert self.thread is not None
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    made = Gate()
    monkeypatch.setattr(standing_margins, "outlined", made)
    monkeypatch.setattr(outline, "DIRECTIONS", 13)
    monkeypatch.setattr(standing_margins, "OUTLINE_CLIPS", 4)
    monkeypatch.setattr(standing_margins, "MANY", 1)
    monkeypatch.setattr(standing_margins, "_TOLD_SHARE", 0.0)
    monkeypatch.setattr(standing_questions, "SEARCHED_PROBES_MIN", QUESTIONS)
    return made


@pytest.fixture
def database(tmp_path: Path) -> Iterator[EmbeddedDatabase]:
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as opened:
        opened.create_space("cam", dim=DIM)
        yield opened


@pytest.fixture
def user(database: EmbeddedDatabase) -> EmbeddedUser:
    alice = database.user("alice")
    alice.stream("door", space="cam").create()
    for number in range(QUESTIONS):
        alice.standing.create(like_a_scene(number), min_score=0.9)
    return alice


class Watcher:
    """Tells of clips one by one, as they come."""

    def __init__(self, user: EmbeddedUser) -> None:
        self._user = user
        self._watched = user.standing.watched()
        self._seq = 0

    def see(self, clips: int) -> list[tuple[str, int]]:
        """(question, clip) of what some more clips are told to answer."""
        found: list[tuple[str, int]] = []
        for _ in range(clips):
            memory = like_a_scene(1000 + self._seq)
            self._user.stream("door").write(clip(self._seq, global_memory=memory))
            while True:
                alerts = self._watched.page()
                found += [(one.question_id, self._seq) for one in alerts]
                if not alerts and self._watched.is_at_end:
                    break
            self._seq += 1
        return found


def test_clips_are_told_while_it_is_made(
    user: EmbeddedUser, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was made by who had the next clip to tell, which waited for it: 0.9 s for 10,000 questions."""
    reaching: list[int] = []
    original = Outline.reaching

    def counted(self: Outline, *given: Any) -> Array | None:
        reaching.append(1)
        return original(self, *given)

    monkeypatch.setattr(Outline, "reaching", counted)
    watcher = Watcher(user)

    heard = watcher.see(12)

    assert gate.begun.wait(WAIT_S)
    assert gate.thread is not threading.current_thread()
    heard += watcher.see(12)
    assert (len(reaching), gate.times) == (0, 1)
    gate.may_go_on.set()
    assert gate.made.wait(WAIT_S)
    gate.join()  # it lives while there is something to make
    heard += watcher.see(12)
    assert (len(reaching), gate.times) == (12, 1)
    plainly = {
        (question.id, seq)
        for question in user.standing.list()
        for seq in range(36)
        if _cosine(question.feature, like_a_scene(1000 + seq)) >= 0.9
    }
    assert len(heard) == len(set(heard)) > 100
    assert set(heard) == plainly


def test_a_database_is_closed_while_it_is_made(
    database: EmbeddedDatabase, user: EmbeddedUser, gate: Gate
) -> None:
    Watcher(user).see(6)
    assert gate.begun.wait(WAIT_S)

    database.close()

    gate.join()
    assert not gate.made.is_set()


def test_that_it_fails_costs_no_alert(
    user: EmbeddedUser, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    gate.error = MemoryError("no room for an outline")
    gate.may_go_on.set()
    watcher = Watcher(user)
    with caplog.at_level(logging.ERROR, "memdb.engine"):
        heard = watcher.see(5)
        assert gate.begun.wait(WAIT_S)
        gate.join()
        heard += watcher.see(4)
    assert "no room for an outline" in caplog.text
    assert gate.times == 1, "it is not tried again with every clip"
    assert heard
    gate.begun.clear()
    watcher.see(1)
    assert gate.begun.wait(WAIT_S)
    assert gate.times == 2


def test_what_is_made_is_left_between_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outline, "DIRECTIONS", 13)
    random = np.random.default_rng(1)
    rows = random.standard_normal((4096, DIM)).astype(np.float32)
    steps: list[int] = []

    def stop() -> bool:
        steps.append(1)
        return len(steps) == 2

    assert ORIGINAL(rows, np.zeros((4096, 1)), stop) is None
    assert len(steps) == 2
    assert ORIGINAL(rows, np.zeros((4096, 1))) is not None


def _cosine(one: Array, other: Array) -> float:
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    return float(one.astype(np.float64) @ other.astype(np.float64) / lengths)
