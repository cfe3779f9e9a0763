"""Standing questions in the engine: what is told, in which order, and told again from any cursor."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Alert, Clip, NotFound, ResourceExhausted, Retention, StandingQuestion
from memdb.clock import ManualClock
from memdb.engine import (
    apply_standing,
    standing,
    standing_margins,
    standing_questions,
    standing_rows,
)
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.standing_clock import LATE_MAX_NS
from memdb.engine.standing_questions import exact_score
from memdb.engine.user import EmbeddedUser
from memdb.store import schema
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.operation import CreateStanding, PutValue
from memdb.types.space import Space
from memdb.types.standing import checked_standing
from tests.unit.engine.conftest import CONFIG, DIM, SECOND_NS, clip, vector

AXES = np.eye(DIM, dtype=np.float32)
SEEDS = int(os.environ.get("MEMDB_STANDING_SEEDS", "3"))


def told(user: EmbeddedUser, cursor: str | None = None) -> list[Alert]:
    """All that there is to tell after a cursor."""
    return list(user.standing.watch(cursor=cursor, follow=False))


def at(seq: int, start_s: float, axis: int, clock: ManualClock, **fields: Any) -> Clip:
    """A clip of one second that begins so long after the clock's first moment."""
    start_ns = 1_700_000_000 * SECOND_NS + round(start_s * SECOND_NS)
    return clip(
        seq,
        start_ns=start_ns,
        end_ns=start_ns + SECOND_NS,
        global_memory=AXES[axis],
        **fields,
    )


@pytest.fixture
def user(db: EmbeddedDatabase) -> EmbeddedUser:
    """With two cameras."""
    alice = db.user("alice")
    for name in ("door", "yard"):
        alice.stream(name, space="cam").create()
    return alice


@pytest.fixture(params=["large", "small"])
def pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Pages as they are, and such that end everywhere."""
    size: str = request.param
    if size == "small":
        monkeypatch.setattr(standing, "PAGE_ALERTS", 2)
        monkeypatch.setattr(standing_rows, "PAGE_ROWS", 3)
        monkeypatch.setattr(standing_rows, "_TAIL_ROWS", 2)
        # So few clips at once are searched for, and so few matches are found at once.
        monkeypatch.setattr(standing_questions, "SEARCHED_PROBES_MIN", 1)
        monkeypatch.setattr(standing_margins, "OUTLINE_CLIPS", 2)
    return size


def ask_everything(user: EmbeddedUser) -> list[StandingQuestion]:
    """Questions of every kind, of one camera and of both."""
    asked: list[StandingQuestion] = []
    for streams in (None, ["door"]):
        for sealed_only in (True, False):
            ask: dict[str, Any] = {"streams": streams, "sealed_only": sealed_only, "min_score": 0.5}
            create = user.standing.create
            asked.append(create(AXES[0], **ask))
            asked.append(create(AXES[0], window_s=4, **ask))
            asked.append(create(AXES[0], kind="sequence", then_feature=AXES[1], window_s=4, **ask))
            asked.append(create(AXES[2], kind="absent", window_s=5, **ask))
    some: dict[str, Any] = {"labels": {"n": ["0", "2"]}, "sealed_only": False, "min_score": 0.5}
    asked.append(create(AXES[0], window_s=4, **some))
    asked.append(create(AXES[0], kind="sequence", then_feature=AXES[1], window_s=4, **some))
    asked.append(create(AXES[2], kind="absent", window_s=5, **some))
    return asked


def some_life(
    user: EmbeddedUser,
    clock: ManualClock,
    seed: int,
    clips: int = 40,
    look: Callable[[], None] = lambda: None,
) -> None:
    """Clips of two cameras that come late, out of order, together, and growing.

    look: called as time passes.
    """
    rng = random.Random(seed)
    numbers = {"door": 0, "yard": 0}
    for _ in range(clips):
        clock.advance(rng.randrange(SECOND_NS))
        look()
        clock.advance(rng.randrange(SECOND_NS))
        stream = rng.choice(["door", "yard"])
        now_s = clock.now_ns() / SECOND_NS - 1_700_000_000
        batch: list[Clip] = []
        for _ in range(rng.choice([1, 1, 1, 3])):
            start_s = now_s - rng.choice([1, 1, 1, 3, 8])
            axis = rng.choice([0, 1, 2, 3])
            seq = numbers[stream]
            numbers[stream] += 1
            if rng.random() < 0.3:
                user.stream(stream).write(at(seq, start_s, rng.choice([0, 1]), clock, sealed=False))
                user.stream(stream).write(
                    at(seq, start_s, axis, clock, sealed=False, labels={"n": "2"})
                )
            batch.append(at(seq, start_s, axis, clock, labels={"n": str(seq % 3)}))
        user.stream(stream).write_many(batch)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_from_every_cursor_the_rest_is_told(
    user: EmbeddedUser, clock: ManualClock, folder: Path, pages: str, seed: int
) -> None:
    ask_everything(user)
    some_life(user, clock, seed, clips=25)
    clock.advance(20 * SECOND_NS)

    everything = told(user)

    ids = [alert.id for alert in everything]
    assert {alert.kind for alert in everything} == {"seen", "sequence", "absent"}
    assert [alert.revision for alert in everything] == sorted(a.revision for a in everything)
    matches = [alert.id for alert in everything if alert.kind != "absent"]
    assert len(set(matches)) == len(matches)
    for place, alert in enumerate(everything):
        rest = [again.id for again in told(user, alert.cursor)]
        # None is missing; an absence may be told again, under the id it had.
        assert set(rest) >= set(ids[place + 1 :])
        assert set(rest) <= set(ids)
        missing_absences = [i for i in rest if i in matches]
        assert missing_absences == [i for i in ids[place + 1 :] if i in matches]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_who_listens_hears_the_same_as_who_comes_later(
    user: EmbeddedUser, clock: ManualClock, pages: str, seed: int
) -> None:
    ask_everything(user)
    watched = user.standing.watched()
    heard: list[Alert] = []

    rng = random.Random(seed)

    def look() -> None:
        while rng.random() < 0.8:
            heard.extend(watched.page())

    some_life(user, clock, seed, look=look)
    clock.advance(20 * SECOND_NS)
    heard.extend(watched.page())
    while not watched.is_at_end:
        heard.extend(watched.page())

    later = told(user)

    # Whoever looks at every moment hears of absences that a clip which came late undoes; nobody hears
    # of less.
    matches = [alert.id for alert in later if alert.kind != "absent"]
    assert [alert.id for alert in heard if alert.kind != "absent"] == matches
    assert {alert.id for alert in heard} >= {alert.id for alert in later}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_back_test_tells_what_would_have_been_told(
    user: EmbeddedUser, clock: ManualClock, seed: int
) -> None:
    asked = ask_everything(user)
    rng = random.Random(seed)
    for seq in range(60):
        clock.advance(rng.choice([1, 1, 1, 4, 7]) * SECOND_NS)
        now_s = clock.now_ns() / SECOND_NS - 1_700_000_000
        labels = {"n": str(seq % 3)}
        user.stream("door").write(at(seq, now_s - 1, rng.randrange(4), clock, labels=labels))

    live = told(user)

    for question in asked:
        test = user.standing.backtest(
            question.feature,
            min_score=question.min_score,
            kind=question.kind,
            then_feature=question.then_feature,
            window_s=question.window_s,
            start_ns=question.armed_ns if question.kind == "absent" else None,
            limit=1000,
            **question.only.options(),
        )
        mine = [alert for alert in live if alert.question_id == question.id]
        assert [(a.happened_ns, a.clip_id, a.earlier_clip_id) for a in test.alerts] == [
            (a.happened_ns, a.clip_id, a.earlier_clip_id) for a in mine
        ]
        (point,) = [point for point in test.curve if point.threshold == question.min_score]
        assert point.alerts == len(mine)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_matches_are_those_of_a_plain_search(
    user: EmbeddedUser, clock: ManualClock, pages: str, seed: int
) -> None:
    """Against loops over numpy, with thresholds that scores come close to."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((30, DIM)).astype(np.float32)
    features = rng.standard_normal((20, DIM)).astype(np.float32)
    units = [rows / np.linalg.norm(rows, axis=1)[:, None] for rows in (vectors, features)]
    cosines = units[0].astype(np.float64) @ units[1].astype(np.float64).T
    expected = set()
    for place, feature in enumerate(features):
        threshold = float(cosines[rng.integers(30), place]) + float(rng.choice([1e-5, -1e-5, 0.1]))
        streams = [None, ["door"], ["yard"], ["yard", "door"]][place % 4]
        question = user.standing.create(feature, min_score=threshold, streams=streams)
        for seq in range(30):
            stream = "door" if seq % 2 else "yard"
            if cosines[seq, place] >= threshold and (streams is None or stream in streams):
                expected.add((question.id, seq))
    seqs = {}
    for seq in range(30):
        camera = user.stream("door" if seq % 2 else "yard")
        seqs[camera.write(clip(seq, global_memory=vectors[seq])).clip_id] = seq

    assert {(a.question_id, seqs[a.clip_id or ""]) for a in told(user)} == expected


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_threshold_taken_from_a_score_means_the_same_in_both(
    user: EmbeddedUser, seed: int
) -> None:
    """However scores are rounded: the very score of a clip is enough, and a little more is not."""
    vectors = np.random.default_rng(seed).standard_normal((40, DIM)).astype(np.float32)
    feature = vector(seed + 100)
    user.standing.create(feature, min_score=-2)
    door = user.stream("door")
    door.write_many([clip(seq, global_memory=one) for seq, one in enumerate(vectors)])
    scores = sorted(alert.score or 0.0 for alert in told(user))
    assert len(scores) == 40
    points = [*scores, *(float(np.nextafter(score, 2)) for score in scores)]
    test = user.standing.backtest(feature, min_score=scores[20], thresholds=points)
    counts = {point.threshold: point.alerts for point in test.curve}
    for place, score in enumerate(scores):
        assert counts[score] == 40 - place
        assert counts[float(np.nextafter(score, 2))] == 39 - place
    assert len(test.alerts) == 20
    assert min(alert.score or 0.0 for alert in test.alerts) == scores[20]


def test_a_score_does_not_depend_on_what_is_scored_beside_it(user: EmbeddedUser) -> None:
    user.standing.create(vector(1000), min_score=-1)
    clips = [clip(seq) for seq in range(64)]
    user.stream("door").write_many(clips)
    together = [alert.score for alert in told(user)]
    for number in range(50):
        user.standing.create(vector(number), min_score=1)
    apart = [
        alert.score for alert in told(user, None) if alert.question_id == user.standing.list()[0].id
    ]
    assert apart == together
    assert exact_score(AXES[0], AXES[0]) == 1.0


def test_it_scores_inner_products_where_the_space_does(
    db: EmbeddedDatabase, clock: ManualClock
) -> None:
    db.create_space("dot", dim=2, metric="dot")
    user = db.user("bob")
    door = user.stream("door", space="dot")
    door.create()
    user.standing.create(np.array([2, 0], np.float32), min_score=6)
    huge = np.float32(3e38)
    for seq, memory in enumerate(([3, 0], [2.9, 9], [4, -9], [huge, huge], [-huge, huge])):
        door.write(clip(seq, global_memory=np.array(memory, np.float32)))

    assert [alert.score for alert in told(user)] == [6, 8, pytest.approx(2.0 * float(huge))]
    test = user.standing.backtest(np.array([2, 0], np.float32), min_score=6, thresholds=[7])
    assert test.curve[0].alerts == 2


def test_a_back_test_scores_what_overflows_as_a_watch_does(
    db: EmbeddedDatabase, clock: ManualClock
) -> None:
    db.create_space("dot", dim=3, metric="dot")
    user = db.user("bob")
    door = user.stream("door", space="dot")
    door.create()
    huge = 3e38
    rows = ([huge, huge, 0], [huge, huge / 2, huge], [huge, huge, huge], [1, 0, 0], [-huge, 0, 0])
    for feature in ([2, -2, 0], [2, -1, -1.4], [2, -1, -1.6]):
        user.standing.create(np.array(feature, np.float32), min_score=-1)
    for seq, memory in enumerate(rows):
        door.write(clip(seq, global_memory=np.array(memory, np.float32)))

    alerts = told(user)
    for question in user.standing.list():
        test = user.standing.backtest(question.feature, min_score=-1, thresholds=[-1])
        heard = [one for one in alerts if one.question_id == question.id]
        assert [(one.clip_id, one.score) for one in test.alerts] == [
            (one.clip_id, one.score) for one in heard
        ]
        assert test.curve[0].alerts == len(heard) > 1


def test_the_clock_is_held_back_by_what_comes_late(user: EmbeddedUser, clock: ManualClock) -> None:
    """A camera whose clips come 30 s late: what happened may still be on its way."""
    clock.advance(40 * SECOND_NS)
    door = user.stream("door")
    door.write(at(0, 9, 3, clock))  # ends at 10, comes at 40
    question = user.standing.create(AXES[0], min_score=0.5, kind="absent", window_s=20)
    assert question.armed_ns == clock.now_ns() - 30 * SECOND_NS
    clock.advance(19 * SECOND_NS)
    assert told(user) == []
    door.write(at(1, 28, 0, clock))  # ends at 29, comes at 59
    clock.advance(19 * SECOND_NS)
    assert told(user) == []
    clock.advance(SECOND_NS)
    (alert,) = told(user)
    assert alert.happened_ns == question.armed_ns + (19 + 20) * SECOND_NS


def test_the_clock_is_held_back_by_an_hour_at_most(user: EmbeddedUser, clock: ManualClock) -> None:
    user.stream("door").write(at(0, -86_400, 3, clock))
    question = user.standing.create(AXES[0], min_score=0.5, kind="absent", window_s=20)
    assert question.armed_ns == clock.now_ns() - LATE_MAX_NS
    clock.advance(20 * SECOND_NS)
    assert len(told(user)) == 1


def test_a_clip_that_is_stamped_ahead_takes_no_clock_along(
    user: EmbeddedUser, clock: ManualClock
) -> None:
    question = user.standing.create(AXES[0], min_score=0.5, kind="absent", window_s=20)
    user.stream("door").write(at(0, 365 * 86_400, 3, clock))
    assert told(user) == []
    clock.advance(20 * SECOND_NS)
    assert [alert.happened_ns for alert in told(user)] == [question.armed_ns + 20 * SECOND_NS]


def test_after_a_wall_clock_was_ahead_absences_are_told_again(
    user: EmbeddedUser, clock: ManualClock
) -> None:
    user.standing.create(AXES[0], min_score=0.5, kind="absent", window_s=20)
    clock.jump(365 * 86_400 * SECOND_NS)
    (early,) = told(user)
    clock.jump(-365 * 86_400 * SECOND_NS)
    start_s = (clock.now_ns() - 1_700_000_000 * SECOND_NS) / SECOND_NS
    user.stream("door").write(at(0, start_s, 0, clock))
    assert told(user, early.cursor) == []
    clock.advance(21 * SECOND_NS)
    (alert,) = told(user, early.cursor)
    assert alert.id != early.id
    assert alert.earlier_clip_id == user.clips()[0].id


def test_what_comes_back_too_late_was_absent(user: EmbeddedUser, clock: ManualClock) -> None:
    question = user.standing.create(AXES[0], min_score=0.5, kind="absent", window_s=20)
    clock.advance(60 * SECOND_NS)
    user.stream("door").write(at(0, 25, 0, clock))
    (first,) = told(user)
    assert (first.happened_ns, first.earlier_clip_id) == (question.armed_ns + 20 * SECOND_NS, None)
    clock.advance(20 * SECOND_NS)
    (_, second) = told(user)
    assert second.happened_ns == question.armed_ns + 46 * SECOND_NS


@pytest.mark.parametrize("is_new", [False, True])
def test_an_absence_after_clips_that_come_late_together_is_told(
    user: EmbeddedUser, clock: ManualClock, *, is_new: bool
) -> None:
    """Of one commit: the first puts nothing off that the second would not leave absent itself."""
    question = user.standing.create(AXES[0], min_score=0.5, kind="absent", window_s=20)
    clock.advance(60 * SECOND_NS)
    watched = user.standing.watched()
    (first,) = watched.page()
    assert watched.page() == []
    user.stream("door").write_many([at(0, 5, 0, clock), at(1, 10, 0, clock)])
    if is_new:
        watched = user.standing.watched(first.cursor)
    (second,) = watched.page()
    assert first.happened_ns == question.armed_ns + 20 * SECOND_NS
    assert second.happened_ns == question.armed_ns + (11 + 20) * SECOND_NS
    assert second.earlier_clip_id == user.clips()[-1].id


@pytest.mark.parametrize("is_new", [False, True])
def test_an_absence_that_was_told_is_not_told_again_for_a_clip_that_ends_with_its_last(
    user: EmbeddedUser, clock: ManualClock, *, is_new: bool
) -> None:
    """Neither to who listened nor to who goes on from a cursor."""
    user.standing.create(AXES[0], min_score=0.5, kind="absent", window_s=20)
    clock.advance(60 * SECOND_NS)
    watched = user.standing.watched()
    assert len(watched.page()) == 1
    user.stream("door").write(at(0, 5, 0, clock))
    (told_last,) = watched.page()
    user.stream("yard", space="cam").write(at(0, 5, 0, clock))
    if is_new:
        watched = user.standing.watched(told_last.cursor)
    assert watched.page() == []
    assert watched.is_at_end


def test_a_question_is_asked_of_later_commits_alone(user: EmbeddedUser) -> None:
    door = user.stream("door")
    door.write(clip(0, global_memory=AXES[0]))
    watched = user.standing.watched()
    assert watched.page() == []
    question = user.standing.create(AXES[0], min_score=0.5)
    door.write(clip(1, global_memory=AXES[0]))
    assert [alert.question_id for alert in watched.page()] == [question.id]
    user.standing.remove(question.id)
    door.write(clip(2, global_memory=AXES[0]))
    assert watched.page() == []
    assert told(user) == []


def test_a_sequence_that_a_removed_clip_began_is_told_no_more(user: EmbeddedUser) -> None:
    user.standing.create(AXES[0], min_score=0.5, kind="sequence", then_feature=AXES[1], window_s=60)
    door = user.stream("door")
    first = door.write(clip(0, global_memory=AXES[0]))
    door.write(clip(1, global_memory=AXES[1]))
    assert len(told(user)) == 1
    user.erase_clips([first.clip_id])
    assert told(user) == []


def test_what_retention_gave_up_is_told_no_more(user: EmbeddedUser, db: EmbeddedDatabase) -> None:
    user.standing.create(AXES[0], min_score=0.5)
    door = user.stream("door")
    for seq in range(4):
        door.write(clip(seq, global_memory=AXES[0]))
    door.set_retention(Retention(max_clips=2))
    db.sweep()
    assert [alert.start_ns for alert in told(user)] == [20 * SECOND_NS, 30 * SECOND_NS]


def test_a_version_that_was_collected_leaves_the_alert_its_id(
    user: EmbeddedUser, clock: ManualClock, folder: Path, db: EmbeddedDatabase
) -> None:
    user.standing.create(AXES[0], min_score=0.5, sealed_only=False)
    door = user.stream("door")
    for length in (2, 4):
        door.write(
            clip(0, global_memory=AXES[0], sealed=False, end_ns=length * SECOND_NS, start_ns=0)
        )
    door.write(clip(0, global_memory=AXES[0]))
    (before,) = told(user)
    db.close()
    config = replace(CONFIG, open_history_s=1)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as again:
        clock.advance(3600 * SECOND_NS)
        assert again.sweep().versions > 0
        (after,) = told(again.user("alice"))
    assert after.id == before.id
    assert after.revision > before.revision


def test_an_absence_after_a_clip_that_was_erased_is_counted_from_before(
    user: EmbeddedUser, clock: ManualClock
) -> None:
    """By who listens as by who comes later, and the clip is named no more."""
    user.standing.create(AXES[0], min_score=0.5, kind="absent", window_s=20)
    door = user.stream("door")
    watched = user.standing.watched()
    clock.advance(12 * SECOND_NS)
    kept = door.write(at(0, 9, 0, clock))
    clock.advance(4 * SECOND_NS)
    gone = door.write(at(1, 14, 0, clock))
    assert watched.page() == []
    user.erase_clips([gone.clip_id])
    clock.advance(16 * SECOND_NS)
    (heard,) = watched.page()
    assert heard.earlier_clip_id == kept.clip_id
    assert heard.happened_ns == 1_700_000_000 * SECOND_NS + 30 * SECOND_NS
    assert [alert.id for alert in told(user)] == [heard.id]


def test_a_damaged_record_of_the_log_ends_no_watch(user: EmbeddedUser, clock: ManualClock) -> None:
    """It says when a commit was made, which is not what a match needs to know."""
    user.standing.create(AXES[0], min_score=0.5)
    user.standing.create(AXES[1], min_score=0.5, kind="absent", window_s=20)
    ack = user.stream("door").write(at(0, -1, 0, clock))
    with user.memory() as memory:

        def emptied(txn: Transaction) -> tuple[bool, None]:
            txn.put(Table.LOG, schema.revision_key(ack.revision), b"")
            return True, None

        memory.environment.write(emptied)
    assert [alert.kind for alert in told(user)] == ["seen"]
    clock.advance(25 * SECOND_NS)
    assert [alert.kind for alert in told(user)] == ["seen", "absent"]


def test_a_watch_of_a_user_that_was_made_anew_says_so(user: EmbeddedUser) -> None:
    user.standing.create(AXES[0], min_score=0.5)
    watched = user.standing.watched()
    watched.page()
    user.erase()
    for _ in range(2):
        with pytest.raises(NotFound) as caught:
            watched.page()
        assert caught.value.reason == "USER_NOT_FOUND"
        user.put("a", 1)


def test_a_sequence_is_told_once_though_what_began_it_became_something_else(
    user: EmbeddedUser,
) -> None:
    user.standing.create(
        AXES[0],
        min_score=0.5,
        kind="sequence",
        then_feature=AXES[1],
        window_s=60,
        sealed_only=False,
    )
    door, yard = user.stream("door"), user.stream("yard")
    door.write(clip(0, global_memory=AXES[0], sealed=False))
    yard.write(clip(1, global_memory=AXES[1]))
    door.write(clip(0, global_memory=AXES[3]))
    door.write(clip(2, global_memory=AXES[3]))
    yard.write(clip(0, global_memory=AXES[0]))

    (alert,) = told(user)

    assert alert.revision == user.revision() - 3


def test_many_are_asked_in_one_commit(user: EmbeddedUser) -> None:
    """And one that is refused leaves nothing behind."""
    space = Space("cam", DIM, "cosine", "")

    def ask(feature: Any, streams: list[str] | None = None) -> CreateStanding:
        options: Any = {"kind": "seen", "then_feature": None, "window_s": None, "space": None}
        spec = checked_standing(
            feature, min_score=0.5, streams=streams, sealed_only=True, text="", **options
        )
        return CreateStanding(spec, space, 0, 0)

    with user.memory() as memory:
        outcomes = memory.write(
            [ask(AXES[0]), ask(AXES[1], ["nowhere"]), ask(AXES[2]), PutValue("a", "1")]
        )
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "StandingQuestion",
        "NotFound",
        "StandingQuestion",
        "int",
    ]
    listed = user.standing.list()
    assert [one.id for one in listed] == [outcomes[0].id, outcomes[2].id]  # type: ignore[union-attr]
    assert listed[0].revision == listed[1].revision


def test_there_are_only_so_many(user: EmbeddedUser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply_standing, "STANDING_MAX", 2)
    first = user.standing.create(AXES[0], min_score=0.5)
    user.standing.create(AXES[0], min_score=0.5)
    before = user.revision()
    with pytest.raises(ResourceExhausted) as caught:
        user.standing.create(AXES[0], min_score=0.5)
    assert (caught.value.reason, user.revision()) == ("QUOTA", before)
    user.standing.remove(first.id)
    user.standing.create(AXES[0], min_score=0.5)


def test_questions_survive_a_restart(
    user: EmbeddedUser, db: EmbeddedDatabase, clock: ManualClock, folder: Path
) -> None:
    ask_everything(user)
    some_life(user, clock, 1)
    before, listed = told(user), [repr(one) for one in user.standing.list()]
    db.close()
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as again:
        alice = again.user("alice")
        assert [repr(one) for one in alice.standing.list()] == listed
        assert told(alice) == before
        assert told(alice, before[3].cursor) == before[4:]
        assert again.verify().ok
        assert alice.standing.create(AXES[0], min_score=0.5).id not in listed


def test_a_watch_outlives_the_user_being_opened_anew(
    user: EmbeddedUser, db: EmbeddedDatabase
) -> None:
    user.standing.create(AXES[0], min_score=0.5)
    watched = user.standing.watched()
    door = user.stream("door")
    gone = door.write(clip(0, global_memory=AXES[0]))
    assert len(watched.page()) == 1
    user.erase_clips([gone.clip_id])  # makes the environment anew
    door.write(clip(1, global_memory=AXES[0]))
    assert [alert.start_ns for alert in watched.page()] == [10 * SECOND_NS]


def test_a_cursor_ahead_of_the_user_is_refused(user: EmbeddedUser, db: EmbeddedDatabase) -> None:
    user.standing.create(AXES[0], min_score=0.5)
    with user.memory() as memory:
        key = memory.view.state.id_key
        from memdb.engine.standing_cursor import Cursor

        ahead = Cursor(memory.view.revision + 1).text(key)
    with pytest.raises(NotFound) as caught:
        told(user, ahead)
    assert (caught.value.reason, caught.value.field) == ("REVISION_NOT_FOUND", "cursor")


def test_watchers_and_writers_at_once(user: EmbeddedUser) -> None:
    """Each hears of every clip once, whenever questions come and go beside."""
    question = user.standing.create(AXES[0], min_score=0.5)
    heard: list[list[int | None]] = [[], [], []]

    def watch(mine: list[int | None]) -> None:
        for alert in user.standing.watch():
            if alert.question_id == question.id:
                mine.append(alert.start_ns)
                if len(mine) == 60:
                    return

    def write(name: str, first: int) -> None:
        for seq in range(30):
            start_ns = (first + seq) * SECOND_NS
            fields = {"start_ns": start_ns, "end_ns": start_ns + 1, "global_memory": AXES[0]}
            user.stream(name).write(clip(seq, **fields))

    def churn() -> None:
        for _ in range(20):
            user.standing.remove(user.standing.create(AXES[0], min_score=0.5).id)

    threads = [threading.Thread(target=watch, args=(mine,)) for mine in heard]
    threads += [
        threading.Thread(target=write, args=(n, f)) for n, f in (("door", 0), ("yard", 100))
    ]
    threads.append(threading.Thread(target=churn))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    expected = sorted([*range(30), *range(100, 130)])
    for mine in heard:
        assert sorted((start or 0) // SECOND_NS for start in mine) == expected
