"""Answers at once: those of any other way to ask, without the store, or none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memdb.engine.at_once import (
    GAPS_MAX,
    HITS_MAX,
    PAUSE_MAX,
    PICTURE_BYTES_MAX,
    STREAMS_COVERED_MAX,
    STREAMS_MAX,
    TOLD_MAX,
    Tries,
)
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.reading import WouldWait
from memdb.engine.user import EmbeddedUser
from memdb.index.matrix import WHOLE_ROWS_MAX
from memdb.store.environment import Environment
from memdb.types.arrays import Array
from memdb.types.clip import Clip, Keyframe, SoundEvent, Utterance

DIM = 6
SECOND_NS = 1_000_000_000
CLIPS = 12


def vector(seed: int, dim: int = DIM) -> Array:
    return np.random.default_rng(seed).standard_normal(dim).astype(np.float32)


def clip(seq: int, **changes: Any) -> Clip:
    start_ns = seq * SECOND_NS
    fields: dict[str, Any] = {
        "seq": seq,
        "start_ns": start_ns,
        "end_ns": start_ns + SECOND_NS,
        "global_memory": vector(seq),
        "labels": {"zone": f"z{seq % 3}"},
    }
    return Clip(**fields | changes)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[EmbeddedDatabase]:
    with EmbeddedDatabase(tmp_path / "data") as database:
        database.create_space("cam", dim=DIM)
        yield database


@pytest.fixture
def user(db: EmbeddedDatabase) -> EmbeddedUser:
    user = db.user("alice")
    for name in ("door", "yard"):
        stream = user.stream(name, space="cam")
        stream.write_many(
            [clip(seq, short_memory=np.ones((2, DIM), np.float16)) for seq in range(CLIPS)]
        )
    return user


def keep_all(user: EmbeddedUser, **parts: Any) -> None:
    """Every clip was part of an answer."""
    user.ground(vector(0), limit=2 * CLIPS, **parts)


def shown(answer: Any) -> Any:
    hits = [
        (hit.clip.id, hit.score, hit.relevance, hit.clip.global_memory.tobytes())
        for hit in answer.hits
    ]
    rest = answer.revision, answer.fallback, answer.gaps, answer.coverage, answer.abstained
    return hits, rest


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    limit=st.integers(1, HITS_MAX),
    streams=st.sampled_from([None, ["door"], ["door", "yard"]]),
    start=st.none() | st.integers(0, CLIPS),
    length=st.none() | st.integers(1, CLIPS),
    least=st.none() | st.floats(-1, 1),
    relevance=st.none() | st.floats(0, 1),
    fallback=st.sampled_from(["none", "recent"]),
    policy=st.sampled_from(["top", "ixc-live", "ixc-train", "ixc-offline"]),
    labels=st.sampled_from([None, {"zone": "z1"}]),
    coverage=st.booleans(),
)
def test_an_answer_at_once_is_the_answer(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    limit: int,
    streams: list[str] | None,
    start: int | None,
    length: int | None,
    least: float | None,
    relevance: float | None,
    fallback: str,
    policy: str,
    labels: dict[str, str] | None,
    coverage: bool,
) -> None:
    user = filled_once(tmp_path_factory)
    options: dict[str, Any] = {
        "limit": limit,
        "streams": streams,
        "start_ns": None if start is None else start * SECOND_NS,
        "end_ns": None if start is None or length is None else (start + length) * SECOND_NS,
        "min_score": least,
        "min_relevance": relevance if policy == "top" else None,
        "fallback": fallback,
        "policy": policy,
        "labels": labels,
        "with_coverage": coverage,
    }

    assert shown(user.ground(vector(seed), **options, at_once=True)) == shown(
        user.ground(vector(seed), **options)
    )


_FILLED: list[EmbeddedUser] = []


def filled_once(folders: pytest.TempPathFactory) -> EmbeddedUser:
    """One user for all examples; all of its clips are kept."""
    if not _FILLED:
        database = EmbeddedDatabase(folders.mktemp("once") / "data")
        database.create_space("cam", dim=DIM)
        user = database.user("alice")
        for name in ("door", "yard"):
            missing = 4 if name == "yard" else None
            clips = [clip(seq) for seq in range(CLIPS) if seq != missing]
            user.stream(name, space="cam").write_many(clips)
        keep_all(user)
        _FILLED.append(user)
    return _FILLED[0]


def test_the_store_is_not_touched(user: EmbeddedUser, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_all(user)

    def read(_: Environment) -> Any:
        raise AssertionError("the store was read")

    monkeypatch.setattr(Environment, "read", read)
    assert len(user.ground(vector(1), at_once=True).hits) == 4
    with pytest.raises(AssertionError):
        user.ground(vector(1), with_keyframes=False)


@pytest.mark.parametrize(
    "options",
    [
        {"text": "a dog"},
        {"question_tokens": np.ones((2, DIM), np.float32), "rerank": 4},
        {"policy": "tokens", "question_tokens": np.ones((2, DIM), np.float32)},
        {"hours": [("08:00", "20:00")], "zone": "UTC"},
        {"as_of": 1},
        {"cursor": ""},
        {"min_revision": 1},
        {"explain": True},
        {"with_short_memory": True},
        {"limit": HITS_MAX + 1},
    ],
    ids=lambda options: "_".join(options),
)
def test_what_asks_for_much_is_not_answered_at_once(
    user: EmbeddedUser, options: dict[str, Any]
) -> None:
    keep_all(user)
    feature = None if options.get("policy") == "tokens" else vector(1)
    with pytest.raises(WouldWait):
        user.ground(feature, **options, at_once=True)
    user.ground(feature, **options)


def test_clips_that_are_not_kept_are_not_read(user: EmbeddedUser) -> None:
    with pytest.raises(WouldWait):
        user.ground(vector(1), at_once=True)
    user.ground(vector(1))
    assert len(user.ground(vector(1), at_once=True).hits) == 4
    # As another answer shows them.
    with pytest.raises(WouldWait):
        user.ground(vector(1), with_global_memory=False, at_once=True)


def test_who_is_not_open_is_not_opened(db: EmbeddedDatabase, user: EmbeddedUser) -> None:
    for name in ("bob", "alice"):
        with db._users.exclusively(name), pytest.raises(WouldWait):
            db.user(name).ground(vector(1), at_once=True)
    assert not db.tries_at_once("bob")


def test_who_is_being_closed_is_not_waited_for(db: EmbeddedDatabase, user: EmbeddedUser) -> None:
    keep_all(user)
    inside, done = threading.Event(), threading.Event()

    def shut() -> None:
        with db._users.exclusively("alice"):
            inside.set()
            assert done.wait(20)

    thread = threading.Thread(target=shut)
    thread.start()
    try:
        assert inside.wait(20)
        with pytest.raises(WouldWait):
            user.ground(vector(1), at_once=True)
    finally:
        done.set()
        thread.join()


def test_removed_clips_are_not_shown_at_once(user: EmbeddedUser) -> None:
    keep_all(user)
    gone = user.ground(vector(3), limit=1, at_once=True).hits[0].clip
    user.erase_clips([gone.id])

    with pytest.raises(WouldWait):
        user.ground(vector(3), limit=1, at_once=True)
    assert user.ground(vector(3), limit=1).hits[0].clip.id != gone.id


def test_large_users_are_not_answered_at_once(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    stream = user.stream("door", space="cam")
    stream.write_many([clip(seq) for seq in range(WHOLE_ROWS_MAX)])
    user.ground(vector(1))
    assert user.ground(vector(1), at_once=True).hits
    stream.write(clip(WHOLE_ROWS_MAX))
    user.ground(vector(1))
    with pytest.raises(WouldWait):
        user.ground(vector(1), at_once=True)


def test_users_of_many_streams_are_not_answered_at_once(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    for number in range(STREAMS_MAX):
        user.stream(f"cam{number}", space="cam").write(clip(0))
    user.ground(vector(1))
    assert user.ground(vector(1), at_once=True).hits
    user.stream("one-more", space="cam").write(clip(0))
    user.ground(vector(1))
    with pytest.raises(WouldWait):
        user.ground(vector(1), at_once=True)


@pytest.mark.parametrize("options", [{"with_coverage": True}, {"min_score": 2.0}])
def test_where_many_streams_were_searched_is_not_told_at_once(
    db: EmbeddedDatabase, options: dict[str, Any]
) -> None:
    user = db.user("alice")
    names = [f"cam{number}" for number in range(STREAMS_COVERED_MAX + 1)]
    for name in names:
        user.stream(name, space="cam").write(clip(0))
    keep_all(user)
    few = user.ground(vector(1), streams=names[1:], **options, at_once=True)
    assert len(few.coverage) == STREAMS_COVERED_MAX
    with pytest.raises(WouldWait):
        user.ground(vector(1), **options, at_once=True)
    assert user.ground(vector(1), at_once=True).hits


def test_users_of_many_gaps_are_not_answered_at_once(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    streams = [user.stream(name, space="cam") for name in ("a", "b")]
    count = WHOLE_ROWS_MAX // 2
    for stream in streams:
        stream.write_many([clip(2 * seq + 1) for seq in range(count)])
    user.ground(vector(1))
    assert len(user.ground(vector(1), at_once=True).gaps) == GAPS_MAX

    streams[0].write(clip(0))  # and it was a gap once
    streams[0].write(clip(2))
    user.ground(vector(1))
    with pytest.raises(WouldWait):
        user.ground(vector(1), at_once=True)


@pytest.mark.parametrize(
    ("count", "part"),
    [
        (2, {"transcript": (Utterance(0, SECOND_NS, "so"),) * (TOLD_MAX // 2)}),
        (2, {"events": (SoundEvent(0, SECOND_NS, "bark", 0.5),) * (TOLD_MAX // 2)}),
        (16, {"keyframes": (Keyframe(0, bytes(PICTURE_BYTES_MAX // 16)),)}),
    ],
    ids=["transcript", "events", "keyframes"],
)
def test_clips_that_hold_much_are_not_answered_at_once(
    db: EmbeddedDatabase, count: int, part: dict[str, Any]
) -> None:
    user = db.user("alice")
    stream = user.stream("door", space="cam")
    stream.write_many([clip(seq, labels={}, **part) for seq in range(count)])
    keep_all(user)
    assert len(user.ground(vector(0), limit=HITS_MAX, at_once=True).hits) == count
    stream.write(clip(count, labels={}, **{name: held[:1] for name, held in part.items()}))
    keep_all(user)
    with pytest.raises(WouldWait):
        user.ground(vector(0), limit=HITS_MAX, at_once=True)
    assert len(user.ground(vector(0), limit=HITS_MAX).hits) == count + 1


def test_tries_in_vain_become_few() -> None:
    tries = Tries()
    made = 0
    for _ in range(1000):
        if tries.begin():
            made += 1
            tries.failed()
    assert made <= 6 + 1000 // PAUSE_MAX
    while not tries.begin():
        pass
    tries.succeeded()
    assert all(tries.begin() for _ in range(10))


def test_who_fails_is_tried_seldom(db: EmbeddedDatabase, user: EmbeddedUser) -> None:
    keep_all(user)
    assert [db.tries_at_once("alice") for _ in range(3)] == [True] * 3
    with pytest.raises(WouldWait):
        user.ground(vector(1), with_keyframes=False, at_once=True)
    assert [db.tries_at_once("alice") for _ in range(3)] == [False, True, True]


def test_spoken_words_stay_with_a_clip(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    said = Utterance(0, SECOND_NS, "the parcel is here")
    user.stream("door", space="cam").write(clip(0, transcript=(said,)))
    user.ground(vector(0))
    (hit,) = user.ground(vector(0), at_once=True).hits
    assert hit.clip.transcript == (said,)


def test_a_call_whose_user_is_closed_meanwhile_leaves_no_place_behind(
    db: EmbeddedDatabase, user: EmbeddedUser
) -> None:
    """Erasures wait for calls only so long, and then leave it to the call that goes on."""
    slots = db._users._slots
    user.revision()

    def closed_meanwhile(_: object) -> None:
        slot = slots.find(user.id)
        assert slot is not None
        with slot.lock:
            slot.close()

    slots.call(user.id, closed_meanwhile)
    assert len(slots) == 0
