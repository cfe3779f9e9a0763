"""Standing questions that ask for a relevance: told as `ground` has it as of the clip's commit, whenever it is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from memdb import Alert
from memdb.engine import standing, standing_margins, standing_relevance, standing_rows
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.relevance import CENTRE_SHARE, LOGISTIC, SPREAD_SHARE, THINGS_SHARE
from memdb.engine.user import EmbeddedUser
from tests.unit.engine.conftest import DIM, SECOND_NS, clip

BARS = (0.05, 0.5, 0.9)
CAMERAS = ("door", "yard")


@pytest.fixture(params=["cosine", "dot"])
def user(db: EmbeddedDatabase, request: pytest.FixtureRequest) -> EmbeddedUser:
    """With two cameras."""
    space = "cam"
    if request.param == "dot":
        space = "products"
        db.create_space(space, dim=DIM, metric="dot", model="m")
    alice = db.user("alice")
    for name in CAMERAS:
        alice.stream(name, space=space).create()
    return alice


@pytest.fixture(params=["searched", "multiplied"])
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways in which questions are looked through, and pages that end everywhere."""
    if request.param == "searched":
        monkeypatch.setattr(standing_relevance, "SEARCHED_PROBES_MIN", 1)
        monkeypatch.setattr(standing_margins, "OUTLINE_CLIPS", 2)
        monkeypatch.setattr(standing_rows, "PAGE_ROWS", 3)
        monkeypatch.setattr(standing, "PAGE_ALERTS", 2)
    return str(request.param)


def pictures(seed: int, count: int) -> Iterator[np.ndarray[Any, Any]]:
    """What a camera sees: much the same, and now and then something else."""
    random = np.random.default_rng(seed)
    usual = random.normal(size=DIM)
    for _ in range(count):
        if random.random() < 0.3:
            seen = random.normal(size=DIM)
        else:
            seen = usual + 0.3 * random.normal(size=DIM)
        yield (2 * seen).astype(np.float32)


def told(user: EmbeddedUser, cursor: str | None = None) -> list[Alert]:
    return list(user.standing.watch(cursor=cursor, follow=False))


def fill(user: EmbeddedUser, clips: int) -> None:
    """Clips of both cameras, in turns; some grow first."""
    for camera, name in enumerate(CAMERAS):
        stream = user.stream(name)
        for seq, seen in enumerate(pictures(camera, clips)):
            own = {"start_ns": seq * 20 * SECOND_NS, "end_ns": (seq * 20 + 20) * SECOND_NS}
            if seq % 5 == 4:
                stream.write(clip(seq, global_memory=-seen, sealed=False, **own))
            stream.write(clip(seq, global_memory=seen, **own))


def test_what_is_told_is_what_ground_finds_as_of_the_commit(user: EmbeddedUser, ways: str) -> None:
    looked_for = list(pictures(7, 6)) + list(pictures(0, 3))
    asked = {}
    for feature in looked_for:
        for bar in BARS:
            for streams in (None, ["door"]):
                question = user.standing.create(feature, min_relevance=bar, streams=streams)
                asked[question.id] = feature, bar, streams
    fill(user, 20)

    alerts = told(user)

    found = {(alert.question_id, alert.clip_id) for alert in alerts}
    expected = set()
    for stored in user.clips(limit=100):
        for question_id, (feature, bar, streams) in asked.items():
            if streams is not None and stored.stream not in streams:
                continue
            answer = user.ground(feature, as_of=stored.revision, limit=100)
            hit = next(hit for hit in answer.hits if hit.clip.id == stored.id)
            assert hit.relevance is not None
            if hit.relevance >= bar:
                expected.add((question_id, stored.id))
    assert found == expected
    assert 0 < len(found) < len(asked) * 40


def test_from_every_cursor_the_rest_is_told_the_same(user: EmbeddedUser, ways: str) -> None:
    features = list(pictures(0, 3)) + list(pictures(1, 12))[::4]
    for bar in BARS[:2]:
        for feature in features:
            user.standing.create(feature, min_relevance=bar, sealed_only=False)
            user.standing.create(feature, min_relevance=bar, window_s=70)
            user.standing.create(
                feature, min_relevance=bar, kind="sequence", then_feature=features[0], window_s=400
            )
    fill(user, 15)
    alerts = told(user)
    assert {alert.kind for alert in alerts} == {"seen", "sequence"}
    fill_more = clip(99, start_ns=99 * 20 * SECOND_NS, end_ns=100 * 20 * SECOND_NS)
    user.stream("door").write(fill_more)

    again = told(user)

    assert [alert.id for alert in again[: len(alerts)]] == [alert.id for alert in alerts]
    for place in range(0, len(alerts), 7):
        rest = told(user, alerts[place].cursor)
        assert [alert.id for alert in rest] == [alert.id for alert in again[place + 1 :]]


@pytest.mark.parametrize("kind", ["seen", "sequence"])
def test_a_back_test_counts_what_a_watch_tells(user: EmbeddedUser, kind: str) -> None:
    feature, after = list(pictures(7, 2))
    options: dict[str, Any] = {"kind": kind, "window_s": 70}
    if kind == "sequence":
        options["then_feature"] = after
    questions = [
        user.standing.create(feature, min_relevance=bar, streams=["door"], **options)
        for bar in BARS
    ]
    fill(user, 30)
    alerts = told(user)

    test = user.standing.backtest(
        feature, min_relevance=BARS[0], streams=["door"], thresholds=BARS, **options
    )

    counts = [sum(alert.question_id == one.id for alert in alerts) for one in questions]
    assert [point.alerts for point in test.curve] == counts
    own = [alert for alert in alerts if alert.question_id == questions[0].id]
    assert [(one.clip_id, one.earlier_clip_id) for one in test.alerts] == [
        (one.clip_id, one.earlier_clip_id) for one in own
    ]
    assert [one.score for one in test.alerts] == pytest.approx([one.score for one in own])


def test_a_bar_taken_from_a_relevance_means_the_same_to_both(user: EmbeddedUser) -> None:
    feature = next(pictures(7, 1))
    fill(user, 12)
    relevances = [
        next(
            hit.relevance
            for hit in user.ground(feature, as_of=one.revision, limit=100).hits
            if hit.clip.id == one.id
        )
        for one in user.clips(limit=100)
    ]
    bars = [one for one in relevances if one is not None and 0.0 < one < 1.0]
    counted = user.standing.backtest(feature, min_relevance=bars[0], thresholds=bars)

    above = [sum(one is not None and one >= bar for one in relevances) for bar in sorted(set(bars))]
    apart = [abs(point.alerts - count) for point, count in zip(counted.curve, above, strict=True)]
    # Of a bar that is some clip's own relevance, rounding decides on that clip alone.
    assert max(apart) <= 1
    assert counted.clips == len(relevances)


def test_the_usual_thresholds_mean_the_same_to_both(db: EmbeddedDatabase) -> None:
    """Of clips whose relevance is one of them but for rounding."""
    user = db.user("alice")
    usual = 0.15
    rng = np.random.default_rng(5)
    feature = rng.standard_normal(DIM)
    feature /= np.linalg.norm(feature)
    aside = rng.standard_normal((200, DIM))
    aside -= (aside @ feature)[:, None] * feature
    aside /= np.linalg.norm(aside, axis=1)[:, None]
    # Of a camera with one clip, which is its own sample.
    chance = usual ** (1 / THINGS_SHARE)
    z = np.log(chance / (1 - chance)) / LOGISTIC
    score = z * SPREAD_SHARE / np.sqrt(DIM) / (1 - CENTRE_SHARE)
    rows = (score * feature + np.sqrt(1 - score**2) * aside).astype(np.float32)
    user.standing.create(feature.astype(np.float32), min_relevance=usual, space="cam")
    for number, row in enumerate(rows):
        user.stream(f"camera-{number}", space="cam").write(clip(0, global_memory=row))

    live = len(told(user))

    assert 0 < live < 200
    curve = user.standing.backtest(feature.astype(np.float32), min_relevance=0.9, space="cam").curve
    assert [point.alerts for point in curve if point.threshold == usual] == [live]


def test_an_absence_ends_with_what_is_relevant(db: EmbeddedDatabase, clock: Any) -> None:
    user = db.user("bob")
    user.stream("door", space="cam").create()
    axes = np.eye(DIM, dtype=np.float32)
    begin_ns = clock.now_ns()
    for seq in range(5):
        user.stream("door").write(
            clip(seq, start_ns=begin_ns + seq, end_ns=begin_ns + seq + 1, global_memory=axes[1])
        )
    question = user.standing.create(axes[0], min_relevance=0.05, kind="absent", window_s=20)
    start_ns = begin_ns + 10 * SECOND_NS
    user.stream("door").write(
        clip(5, start_ns=start_ns, end_ns=start_ns + SECOND_NS, global_memory=axes[0])
    )
    clock.advance(25 * SECOND_NS)
    assert told(user) == []

    clock.advance(10 * SECOND_NS)

    (alert,) = told(user)
    assert (alert.question_id, alert.happened_ns) == (question.id, start_ns + 21 * SECOND_NS)
