"""Standing questions in the engine: what is told, in which order, and told again from any cursor."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Alert, NotFound, ResourceExhausted
from memdb.clock import ManualClock
from memdb.engine import (
    apply_standing,
    standing,
    standing_margins,
    standing_questions,
    standing_rows,
)
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.standing_cursor import Cursor
from memdb.engine.user import EmbeddedUser
from memdb.types.operation import CreateStanding, PutValue
from memdb.types.space import Space
from memdb.types.standing import checked_standing
from tests.unit.engine.conftest import CONFIG, DIM, SECOND_NS, clip
from tests.unit.engine.standing_lives import (
    AXES,
    BEGIN_NS,
    SEEDS,
    ask_everything,
    at,
    some_life,
    told,
)


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
        now_s = (clock.now_ns() - BEGIN_NS) / SECOND_NS
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
def test_a_back_test_tells_what_is_absent_though_others_come(
    user: EmbeddedUser, clock: ManualClock, seed: int
) -> None:
    """Clips that a question does not look at, of other cameras or labels, move the clock that it is told by."""
    rng = random.Random(seed)
    ask: dict[str, Any] = {"min_score": 0.5, "kind": "absent", "window_s": 5}
    asked = [user.standing.create(AXES[axis], **ask, labels={"n": "0"}) for axis in (0, 1)]
    asked += [user.standing.create(AXES[0], **ask, streams=[name]) for name in ("door", "yard")]
    numbers = {"door": 0, "yard": 0}
    for _ in range(30):
        clock.advance(rng.choice([1, 1, 4, 7]) * SECOND_NS)
        now_s = (clock.now_ns() - BEGIN_NS) / SECOND_NS
        # Of the yard none at all in some lives.
        name = "door" if seed % 2 else rng.choice(["door", "door", "yard"])
        labels = {"n": rng.choice("012")}
        camera = user.stream(name)
        camera.write(at(numbers[name], now_s - 1, rng.randrange(4), clock, labels=labels))
        numbers[name] += 1

    live = told(user)

    for question in asked:
        test = user.standing.backtest(
            question.feature,
            **(ask | {"streams": question.streams}),
            start_ns=question.armed_ns,
            limit=1000,
            **question.only.options(),
        )
        mine = [alert for alert in live if alert.question_id == question.id]
        assert [(a.happened_ns, a.earlier_clip_id) for a in test.alerts] == [
            (a.happened_ns, a.earlier_clip_id) for a in mine
        ]


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


def test_clips_of_two_spaces_are_told_in_the_order_of_their_commits(
    db: EmbeddedDatabase, user: EmbeddedUser, pages: str
) -> None:
    """Rows of a space lie together, those of two spaces do not come one after the other."""
    db.create_space("eye", dim=DIM)
    cameras = {"cam": "door", "eye": "porch"}
    for space, name in cameras.items():
        user.stream(name, space=space).create()
        user.standing.create(AXES[0], min_score=0.5, space=space)
    for seq in range(5):
        for name in cameras.values():
            user.stream(name).write(clip(seq, global_memory=AXES[0]))

    everything = told(user)

    assert [(alert.stream, alert.start_ns) for alert in everything] == [
        (name, seq * 10 * SECOND_NS) for seq in range(5) for name in cameras.values()
    ]
    assert [alert.revision for alert in everything] == sorted(a.revision for a in everything)
    for place, alert in enumerate(everything):
        assert told(user, alert.cursor) == everything[place + 1 :]


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


def test_a_cursor_ahead_of_the_user_is_refused(user: EmbeddedUser, db: EmbeddedDatabase) -> None:
    user.standing.create(AXES[0], min_score=0.5)
    with user.memory() as memory:
        key = memory.view.state.id_key
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
