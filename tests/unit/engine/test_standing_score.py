"""Scores of standing questions: a watch, a back-test and a plain search mean the same."""

from __future__ import annotations

import numpy as np
import pytest

from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.standing_questions import exact_score
from memdb.engine.user import EmbeddedUser
from tests.unit.engine.conftest import DIM, clip, vector
from tests.unit.engine.standing_lives import AXES, SEEDS, told


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


def test_the_usual_thresholds_mean_the_same_too(user: EmbeddedUser) -> None:
    """Of clips whose score is one of them but for rounding."""
    rng = np.random.default_rng(5)
    feature = rng.standard_normal(DIM)
    feature /= np.linalg.norm(feature)
    aside = rng.standard_normal((200, DIM))
    aside -= (aside @ feature)[:, None] * feature
    aside /= np.linalg.norm(aside, axis=1)[:, None]
    rows = (0.5 * feature + np.sqrt(0.75) * aside).astype(np.float32)
    user.standing.create(feature.astype(np.float32), min_score=0.5)
    user.stream("door").write_many([clip(seq, global_memory=row) for seq, row in enumerate(rows)])

    live = len(told(user))

    assert 0 < live < 200
    curve = user.standing.backtest(feature.astype(np.float32), min_score=0.9).curve
    assert [point.alerts for point in curve if point.threshold == 0.5] == [live]


def test_the_usual_thresholds_of_products_mean_the_same_too(db: EmbeddedDatabase) -> None:
    """Which are known only once the scores are."""
    db.create_space("dot", dim=DIM, metric="dot")
    user = db.user("bob")
    rng = np.random.default_rng(5)
    feature = rng.standard_normal(DIM)
    feature /= np.linalg.norm(feature)
    aside = 3 * rng.standard_normal((200, DIM))
    aside -= (aside @ feature)[:, None] * feature
    rows = [*(feature + aside), -feature, 3 * feature]
    user.stream("door", space="dot").write_many(
        [clip(seq, global_memory=row.astype(np.float32)) for seq, row in enumerate(rows)]
    )
    asked = feature.astype(np.float32)

    usual = user.standing.backtest(asked, min_score=2).curve
    named = user.standing.backtest(
        asked, min_score=2, thresholds=[point.threshold for point in usual]
    ).curve

    assert usual == named
    assert any(1 < point.alerts < 200 for point in named), "rounding decides on some"


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
