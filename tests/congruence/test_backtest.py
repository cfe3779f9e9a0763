"""Back-tests of standing questions: the same answers over every transport."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memdb import Alert
from memdb.types.database import Database, Stream, User
from tests.congruence.media import AXES, SECOND_NS, T0_NS, clip, vector

pytestmark = pytest.mark.congruence


def test_a_back_test_counts_by_threshold(user: User, door: Stream) -> None:
    for seq in range(8):
        cosine = seq / 8
        door.write(clip(seq, vector(cosine, (1 - cosine**2) ** 0.5)))

    test = user.standing.backtest(AXES[0], min_score=0.6, thresholds=[0.5, 0.0, 0.99], limit=2)

    assert [(point.threshold, point.alerts) for point in test.curve] == [
        (0, 8),
        (0.5, 4),
        (0.99, 0),
    ]
    assert (test.clips, test.revision) == (8, user.revision())
    assert [alert.score for alert in test.alerts] == [pytest.approx(0.75), pytest.approx(0.875)]
    assert {(alert.id, alert.question_id, alert.cursor) for alert in test.alerts} == {("", "", "")}
    default = user.standing.backtest(AXES[0], min_score=0.6)
    assert len(default.curve) == 21
    assert default.curve[-1].threshold == 1.0
    assert user.standing.list() == []
    earlier = user.standing.backtest(AXES[0], min_score=0.6, as_of=test.revision - 1)
    assert (earlier.clips, len(earlier.alerts)) == (7, 2)
    begin = user.standing.backtest(AXES[0], min_score=0.1, end_ns=T0_NS + 8 * SECOND_NS)
    assert begin.clips == 2


def test_a_back_test_of_sequences_and_absences(user: User, door: Stream) -> None:
    for seq, axis in enumerate((0, 1, 2, 0, 2, 2, 2, 1, 1)):
        door.write(clip(seq, AXES[axis]))

    ask: Any = {"min_score": 0.9, "kind": "sequence", "then_feature": AXES[1]}
    sequence = user.standing.backtest(AXES[0], window_s=16, **ask)
    absent = user.standing.backtest(AXES[0], min_score=0.9, kind="absent", window_s=12)

    def begins(alerts: tuple[Alert, ...]) -> list[float]:
        return [(alert.happened_ns - T0_NS) / (4 * SECOND_NS) for alert in alerts]

    assert begins(sequence.alerts) == [1.0, 7.0]
    assert begins(absent.alerts) == [7.0]
    last = user.clips()[3].id
    assert absent.alerts[0].earlier_clip_id == last
    assert sequence.alerts[1].earlier_clip_id == last


def test_a_back_test_of_an_absence_needs_no_clip(user: User, door: Stream) -> None:
    """A camera that sent nothing, or nothing that the question looks at, is what such a question is for."""
    door.create()
    window: Any = {"start_ns": T0_NS, "end_ns": T0_NS + 60 * SECOND_NS}
    ask: Any = {"min_score": 0.9, "kind": "absent", "window_s": 12}

    def happened(**more: Any) -> list[float]:
        test = user.standing.backtest(AXES[0], **ask, **more)
        assert all(point.alerts == len(test.alerts) for point in test.curve)
        return [(alert.happened_ns - T0_NS) / SECOND_NS for alert in test.alerts]

    assert happened(**window) == [12.0]
    assert happened() == happened(start_ns=T0_NS) == []  # nobody can say until when
    assert user.standing.backtest(AXES[0], **(ask | {"window_s": 61}), **window).alerts == ()
    # A clip of another camera, which the question does not ask, moves the user's clock.
    user.stream("yard", space="clip").write(clip(5, AXES[1]))
    assert happened(streams=["door"], start_ns=T0_NS) == [12.0]
    assert happened(streams=["door"]) == []
    door.write(clip(0, AXES[0]))
    assert happened(streams=["door"]) == [16.0]
    assert happened(labels={"zone": "porch"}, **window) == [12.0]


def test_a_back_test_of_nothing_has_the_usual_thresholds(
    db: Database, user: User, door: Stream
) -> None:
    db.create_space("sound", dim=3, metric="dot")
    door.create()
    bars: list[dict[str, Any]] = [{"min_score": 0.6}, {"min_relevance": 0.6}]
    for bar in bars:
        curve = user.standing.backtest(AXES[0], space="clip", **bar).curve
        assert [point.threshold for point in curve] == pytest.approx(
            [number / 20 for number in range(21)]
        )
        assert {point.alerts for point in curve} == {0}
    loud = user.standing.backtest(np.ones(3, np.float32), space="sound", min_score=7)
    assert [point.threshold for point in loud.curve] == [7.0]
