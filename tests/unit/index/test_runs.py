"""Stretches of frames that stand out."""

from __future__ import annotations

import numpy as np

from memdb.index.runs import RUNS_MAX, best_runs


def runs(scores: list[float], usual: float) -> list[tuple[int, int]]:
    return [(run.first, run.last) for run in best_runs(np.array(scores, np.float32), usual)]


def test_what_stands_out_is_told_best_first() -> None:
    assert runs([0.1, 0.4, 0.5, 0.1, 0.6, 0.1], 0.1) == [(4, 4), (1, 2)]
    assert best_runs(np.array([0.1, 0.5, 0.4], np.float32), 0.1)[0].score == np.float32(0.5)


def test_a_clip_that_matches_all_along_is_one_run() -> None:
    assert runs([0.5, 0.5, 0.49, 0.5], 0.1) == [(0, 3)]
    assert runs([0.3], 0.1) == [(0, 0)]


def test_a_clip_like_all_others_is_told_by_its_best_frames() -> None:
    assert runs([0.2, 0.3, 0.2], 0.4) == [(1, 1)]
    assert runs([0.3, 0.3, 0.3], 0.3) == [(0, 2)]


def test_there_are_not_too_many() -> None:
    assert len(best_runs(np.array([0.5, 0.0] * 40, np.float32), 0.0)) == RUNS_MAX
