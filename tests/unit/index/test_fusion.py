"""Scales of arms, and one order out of several."""

from __future__ import annotations

import numpy as np
import pytest

from memdb.index.fusion import (
    CEILING_SHARE,
    FLOOR_PLACE,
    ArmScores,
    best_parts,
    fused,
    similarities,
    word_scores,
)
from memdb.types.limits import LIMIT_MAX


def arm(name: str, weight: float, found: dict[int, float]) -> ArmScores:
    rows = np.array(sorted(found), np.int64)
    scores = np.array([found[row] for row in rows.tolist()])
    return ArmScores(name, weight, rows, scores, scores)


def test_similarities_reach_from_the_floor_to_the_best() -> None:
    raw = np.linspace(-0.5, 0.9, FLOOR_PLACE + 50).astype(np.float32)
    scaled = similarities(raw)
    assert (scaled.min(), scaled.max()) == (0.0, 1.0)
    assert np.count_nonzero(scaled) == FLOOR_PLACE - 1
    assert similarities(raw[-3:]).tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1e-3)


def test_more_that_was_asked_for_scales_no_other_way() -> None:
    raw = np.sort(np.random.default_rng(1).standard_normal(LIMIT_MAX))
    assert similarities(raw)[-FLOOR_PLACE:].tolist() == similarities(raw[-FLOOR_PLACE:]).tolist()


def test_equal_similarities_are_all_the_best() -> None:
    assert similarities(np.full(3, 0.4)).tolist() == [1.0, 1.0, 1.0]
    assert similarities(np.empty(0)).tolist() == []


def test_the_best_words_are_worth_all_unless_they_are_few_of_many() -> None:
    assert word_scores(np.array([2.0, 1.0]), 4.0).tolist() == [1.0, 0.5]
    few = word_scores(np.array([2.0, 1.0]), 100.0)
    assert few.tolist() == pytest.approx([2 / (100 * CEILING_SHARE), 1 / (100 * CEILING_SHARE)])
    assert word_scores(np.zeros(2), 0.0).tolist() == [0.0, 0.0]


def test_the_best_part_of_a_row_and_of_equal_ones_the_first() -> None:
    rows = np.array([4, 2, 4, 2, 4])
    found = best_parts(rows, np.array([1.0, 3.0, 5.0, 3.0, 5.0]), np.array([0, 0, 1, 1, 2]))
    assert [one.tolist() for one in found] == [[2, 4], [3.0, 5.0], [0, 1]]


def test_scores_are_added_and_a_rank_is_of_one_arm() -> None:
    one, other = arm("one", 0.25, {1: 1.0, 7: 0.5}), arm("other", 0.75, {7: 1.0, 3: 1.0})
    rows, scores = fused([one, other])
    assert rows.tolist() == [1, 3, 7]
    assert scores.tolist() == [0.25, 0.75, 0.875]
    assert [other.rank(place) for place in (0, 1)] == [1, 2]
    assert (one.place(7), one.place(3), one.place(99)) == (1, None, None)
    assert fused([arm("none", 1.0, {})])[0].tolist() == []
