"""Stretches of frames that stand out."""

from __future__ import annotations

import numpy as np

from memdb.index.runs import GAP_MAX, RUNS_MAX, best_runs

CLEAR = 0.05


def runs(scores: list[float], usual: float) -> list[tuple[int, int]]:
    return [(run.first, run.last) for run in best_runs(np.array(scores, np.float32), usual, CLEAR)]


def test_what_stands_out_is_told_best_first() -> None:
    apart = [0.1] * (GAP_MAX + 1)
    assert runs([0.1, 0.4, 0.5, *apart, 0.6, 0.1], 0.1) == [(6, 6), (1, 2)]
    (run,) = best_runs(np.array([0.1, 0.5, 0.4], np.float32), 0.1, CLEAR)
    assert run.score == np.float32(0.5)


def test_a_short_gap_belongs_to_the_run() -> None:
    short = [0.1] * GAP_MAX
    assert runs([0.1, 0.4, *short, 0.6, *short, 0.5, 0.1], 0.1) == [(1, 7)]
    assert runs([*short, 0.6, *short], 0.1) == [(2, 2)]


def test_a_clip_that_matches_all_along_is_one_run() -> None:
    assert runs([0.5, 0.5, 0.49, 0.5], 0.1) == [(0, 3)]
    assert runs([0.3], 0.1) == [(0, 0)]


def test_a_clip_in_which_nothing_is_clear_is_told_whole() -> None:
    assert runs([0.2, 0.3, 0.2], 0.4) == [(0, 2)]
    assert runs([0.2, 0.3, 0.2], 0.26) == [(0, 2)]
    assert runs([0.2, 0.3, 0.2], 0.24) == [(1, 1)]
    assert runs([0.3, 0.3, 0.3], 0.3) == [(0, 2)]


def test_there_are_not_too_many() -> None:
    assert len(best_runs(np.array([0.5, 0.0, 0.0, 0.0] * 40, np.float32), 0.0, CLEAR)) == RUNS_MAX
