"""Standing questions, alerts and back-tests survive the wire."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memdb.types.arrays import as_vector
from memdb.types.standing import (
    Alert,
    Backtest,
    StandingQuestion,
    ThresholdCount,
    checked_standing,
)
from memdb.wire import standing
from tests.unit.wire.values import over_the_wire, same

FEATURE = as_vector(np.array([1, 2, 3], np.float32), "x")
HALF = as_vector(np.array([1, 2, 3], np.float16), "x")
ID = "04" + "0" * 30
ALERT = Alert(ID, ID, "seen", 7, -5, 0.5, ID, "door", -5, 4, None, "00ff")


@pytest.mark.parametrize(
    "question",
    [
        StandingQuestion(ID, "u", "seen", HALF, 0.25, None, None, None, "s", True, "", 3, 5, -6),
        StandingQuestion(
            ID, "u", "sequence", FEATURE, -1.5, HALF, 2.5, ("a", "b"), "s", False, "wann?", 3, 5, 6
        ),
        StandingQuestion(ID, "u", "absent", FEATURE, 0.0, None, 0.001, (), "s", True, "x", 1, 1, 1),
        StandingQuestion(
            ID, "u", "seen", HALF, None, None, None, None, "s", True, "", 3, 5, -6, 0.5, "mug"
        ),
    ],
    ids=lambda question: question.name or question.kind,
)
def test_question(question: StandingQuestion) -> None:
    message = over_the_wire(standing.question_to_proto(question))
    assert same(standing.question_from_proto(message), question)


@pytest.mark.parametrize(
    "alert",
    [ALERT, Alert(ID, ID, "absent", 7, 2**62, None, None, None, None, None, ID, "")],
    ids=lambda alert: alert.kind,
)
def test_alert(alert: Alert) -> None:
    assert standing.alert_from_proto(over_the_wire(standing.alert_to_proto(alert))) == alert


def test_backtest() -> None:
    backtest = Backtest((ThresholdCount(0.0, 3), ThresholdCount(0.5, 0)), (ALERT,), 9, 4)
    message = over_the_wire(standing.backtest_to_proto(backtest))
    assert standing.backtest_from_proto(message) == backtest


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"window_s": 0.001, "streams": ["a"], "space": "s", "sealed_only": False},
        {"kind": "sequence", "then_feature": HALF, "window_s": 86_400.0},
        {"kind": "absent", "window_s": 3.7},
    ],
)
def test_a_request_asks_what_was_asked(options: dict[str, Any]) -> None:
    given: dict[str, Any] = {
        "kind": "seen", "then_feature": None, "window_s": None, "streams": None, "space": None,
        "sealed_only": True, **options,
    }  # fmt: skip
    spec = checked_standing(FEATURE, min_score=0.3, text="when?", **given)
    message = over_the_wire(standing.spec_to_proto(spec))
    feature, arguments = standing.spec_arguments(message)
    assert same(checked_standing(feature, **arguments, text=message.text), spec)
