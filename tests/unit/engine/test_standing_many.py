"""One commit that matches very many standing questions: what is held of it, and whom it holds up."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memdb import Alert
from memdb.engine import standing, standing_follower, standing_step
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.standing import WatchedStanding
from memdb.engine.user import EmbeddedUser
from memdb.types.operation import CreateStanding
from memdb.types.standing import checked_standing
from tests.unit.engine.conftest import CONFIG, DIM, SECOND_NS, clip, vector

CLIPS = 256
"""As many as one commit takes."""
QUESTIONS = 600
PAIR_BYTES = 64
"""A pair that is kept takes more."""


@pytest.fixture
def user(tmp_path: Path) -> Iterator[EmbeddedUser]:
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as opened:
        opened.create_space("cam", dim=DIM)
        alice = opened.user("alice")
        alice.stream("door", space="cam").create()
        yield alice


def ask(user: EmbeddedUser, kinds: list[str]) -> None:
    """Questions that every clip answers."""
    space = user.catalog_space("cam")
    operations = []
    for number, kind in enumerate(kinds):
        feature = vector(number)
        given: dict[str, Any] = {"text": "", "streams": None, "space": None, "sealed_only": True}
        spec = checked_standing(
            feature,
            min_score=-1,
            kind=kind,
            then_feature=feature if kind == "sequence" else None,
            window_s=None if kind == "seen" else 3600,
            **given,
        )
        operations.append(CreateStanding(spec, space, 0, 0))
    with user.memory() as memory:
        for begin in range(0, len(operations), 256):
            memory.write([*operations[begin : begin + 256]])


def write(user: EmbeddedUser, count: int = CLIPS) -> None:
    user.stream("door").write_many(clip(seq) for seq in range(count))


def traced_bytes(watched: WatchedStanding, pages: int) -> int:
    """The most that was held beside what there was before."""
    tracemalloc.start()
    try:
        for _ in range(pages):
            watched.page()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["absent", "sequence"])
def test_what_is_held_does_not_grow_with_what_matches(
    user: EmbeddedUser, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every pair of a clip and a question that it answers was kept until the commit was told to its end."""
    monkeypatch.setattr(standing, "PAGE_ALERTS", 100)
    ask(user, [kind] * 2 + [kind if kind == "absent" else "seen"] * (QUESTIONS - 2))
    watched = user.standing.watched()
    while watched.page() or not watched.is_at_end:
        pass
    write(user)

    held = traced_bytes(watched, pages=1 if kind == "absent" else 3)

    assert held < CLIPS * QUESTIONS * PAIR_BYTES / 2


def test_a_page_ends_when_its_time_is_over(
    user: EmbeddedUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clip later: whoever tells goes on from there, as does who comes with its cursor; and the others have their
    turn, however little there is to tell.
    """
    ask(user, ["seen"] * 3 + ["sequence"])
    write(user, 20)
    everything = list(user.standing.watch(follow=False))
    monkeypatch.setattr(standing_follower, "PAGE_S", 0.0)
    watched = user.standing.watched()
    told: list[Alert] = []
    pages = 0
    while True:
        page = watched.page()
        assert len({alert.clip_id for alert in page}) <= 1
        told += page
        pages += 1
        again = user.standing.watched(watched.cursor)
        monkeypatch.setattr(standing_follower, "PAGE_S", 60.0)
        assert [*told, *again.page()] == everything
        monkeypatch.setattr(standing_follower, "PAGE_S", 0.0)
        if watched.is_at_end:
            break
    assert told == everything
    assert len(everything) == 20 * 3 + 19
    assert pages >= 20


def test_sequences_whose_ends_came_before_are_told_page_by_page(
    user: EmbeddedUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clip begins more of them than a page takes."""
    ask(user, ["sequence"] * 7)
    user.stream("door").write_many(
        clip(seq, start_ns=(100 + seq) * SECOND_NS, end_ns=(101 + seq) * SECOND_NS)
        for seq in range(9)
    )
    assert len(list(user.standing.watch(follow=False))) == 7 * 8
    user.stream("door").write(clip(9, start_ns=0, end_ns=SECOND_NS))
    everything = list(user.standing.watch(follow=False))
    for size in (1, 2, 3):
        monkeypatch.setattr(standing, "PAGE_ALERTS", size)
        assert list(user.standing.watch(follow=False)) == everything
    # The clip that was the first one follows another now, and no other does anew.
    assert len(everything) == 7 * 9
    assert {alert.start_ns for alert in everything[-7:]} == {100 * SECOND_NS}


def test_a_commit_that_takes_long_to_begin_is_not_begun_for_each_clip(
    user: EmbeddedUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clips that come before many others: which sequences they complete is found before the first is told."""
    ask(user, ["sequence"] * 3)
    door = user.stream("door")
    door.write_many(
        clip(seq, start_ns=(100 + seq) * SECOND_NS, end_ns=(101 + seq) * SECOND_NS)
        for seq in range(20)
    )
    door.write_many(
        clip(20 + seq, start_ns=seq * SECOND_NS, end_ns=(seq + 1) * SECOND_NS) for seq in range(5)
    )
    everything = list(user.standing.watch(follow=False))
    clock = _Clock()
    looks_s: list[float] = []
    original = standing_step.Step._comes_before_another

    def slow(self: standing_step.Step, row: Any) -> bool:
        clock.now_s += 1.0
        looks_s.append(clock.now_s)
        return original(self, row)

    monkeypatch.setattr(standing_step.Step, "_comes_before_another", slow)
    monkeypatch.setattr(standing_step, "time", clock)
    monkeypatch.setattr(standing_follower, "time", clock)
    assert list(user.standing.watch(follow=False)) == everything
    assert len(looks_s) == 25, "each clip once"


class _Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s
