"""Answers that would be too large are given up while they are collected, and nothing is read twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from memdb import Keyframe, ResourceExhausted, Utterance
from memdb.engine import recall
from memdb.engine import view as views
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.hydrate import clip_bytes, load_clip
from memdb.engine.user import EmbeddedUser
from memdb.store import facts
from memdb.store.records import unpack
from memdb.types.arrays import Array
from memdb.wire.clips import stored_clip_to_proto
from tests.unit.engine.conftest import clip, vector

UTTERANCES = 100
FRAME_BYTES = 100_000


class Counted:
    """A function that counts its calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.calls = 0

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.calls += 1
        return self._function(*args, **options)


def talkative(db: EmbeddedDatabase, clips: int) -> EmbeddedUser:
    """A user with clips in which the same word is said over and over."""
    user = db.user("alice")
    said = tuple(Utterance(0, 1, f"hello {number}") for number in range(UTTERANCES))
    frames = (Keyframe(0, b"x" * FRAME_BYTES),)
    for seq in range(clips):
        user.stream("door", space="cam").write(clip(seq, transcript=said, keyframes=frames))
    return user


def test_a_clip_of_many_utterances_is_read_once(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = talkative(db, clips=2)
    load = Counted(load_clip)
    monkeypatch.setattr(recall, "load_clip", load)
    hits = user.recall("hello", limit=1000).hits
    assert len(hits) == 2 * UTTERANCES
    assert load.calls == 2
    assert len({id(hit.clip) for hit in hits}) == 2


def test_recall_stops_at_the_most_that_can_be_sent(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = talkative(db, clips=20)
    load = Counted(load_clip)
    monkeypatch.setattr(recall, "load_clip", load)
    # Each hit carries its clip over the wire, so each counts.
    with pytest.raises(ResourceExhausted) as refused:
        user.recall("hello", limit=1000, answer_bytes_max=3 * FRAME_BYTES)
    assert refused.value.reason == "MESSAGE_TOO_LARGE"
    assert load.calls <= 4
    assert user.recall("hello", limit=2, answer_bytes_max=3 * FRAME_BYTES).hits


def test_clips_without_their_heavy_parts_count_as_well(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = db.user("a-user-of-thirty-letters-or-so")
    user.stream("front-door", space="cam").write_many([clip(seq) for seq in range(40)])
    light: dict[str, Any] = {"with_global_memory": False, "with_keyframes": False}
    (one,) = user.clips(limit=1, **light)
    wire = stored_clip_to_proto(one).ByteSize()
    assert 0.8 * wire < clip_bytes(one) <= wire
    load = Counted(load_clip)
    monkeypatch.setattr(views, "load_clip", load)

    def ask_many(feature: Array, **options: Any) -> object:
        return user.ground_many(feature[None], **options)

    asks: list[Callable[..., object]] = [user.ground, ask_many]
    for ask in asks:
        load.calls = 0
        with pytest.raises(ResourceExhausted) as refused:
            ask(vector(1), limit=40, answer_bytes_max=10 * wire, **light)
        assert refused.value.reason == "MESSAGE_TOO_LARGE"
        assert load.calls <= 13
    assert len(user.ground(vector(1), limit=10, answer_bytes_max=10 * wire, **light).hits) == 10


def test_facts_and_their_history_stop_there_too(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = db.user("alice")
    for number in range(20):
        fact = user.remember(f"{number} " + "x" * 10_000, key="one")
        user.remember(f"another {number} " + "x" * 10_000)
    unpacked = Counted(unpack)
    monkeypatch.setattr(facts, "unpack", unpacked)
    for call in (
        lambda: user.facts(answer_bytes_max=50_000),
        lambda: user.history(fact.id, answer_bytes_max=50_000),
        lambda: user.recall("another", limit=20, answer_bytes_max=50_000),
    ):
        unpacked.calls = 0
        with pytest.raises(ResourceExhausted) as refused:
            call()
        assert refused.value.reason == "MESSAGE_TOO_LARGE"
        assert unpacked.calls <= 12
    assert len(user.history(fact.id)) == 20


def test_one_version_of_a_fact_is_read_without_the_others(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = db.user("alice")
    for number in range(50):
        fact = user.remember(f"seen {number}", key="where")
    unpacked = Counted(unpack)
    monkeypatch.setattr(facts, "unpack", unpacked)
    (hit,) = user.recall("seen", limit=5).hits
    assert unpacked.calls == 1
    unpacked.calls = 0
    changes = [change.fact for change in user.watch(follow=False) if change.fact is not None]
    assert unpacked.calls == 50
    monkeypatch.undo()
    history = user.history(fact.id)
    assert hit.fact == history[-1] == changes[-1]
    assert [version.superseded_revision for version in history] == [*range(2, 51), None]
