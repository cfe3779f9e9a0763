"""Late interaction: the same answer block by block as at once, frame by frame."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from memdb.index import late_interaction
from memdb.index.directions import unit_rows
from memdb.index.late_interaction import best_cosines, frame_means, frame_scores
from memdb.types.arrays import Array


def tokens(seed: int, rows: int, dim: int = 8) -> Array:
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


@pytest.mark.parametrize("block", [1, 90, 1 << 20])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(late_interaction, "_BLOCK_ELEMENTS", block)
    questions, rows = unit_rows(tokens(1, 50)), tokens(2, 30)
    starts = np.array([0, 4, 5, 20])
    cosines = unit_rows(rows) @ questions.T
    frames = np.stack([part.max(axis=0) for part in np.split(cosines, starts[1:])])
    weights = np.random.default_rng(3).dirichlet(np.ones(50)).astype(np.float32)

    np.testing.assert_allclose(best_cosines(questions, rows), cosines.max(axis=0), atol=1e-6)
    means = frame_means(questions, rows, starts)
    np.testing.assert_allclose(means, frames.mean(axis=0), atol=1e-6)
    scores = frame_scores(questions, weights, rows, starts)
    np.testing.assert_allclose(scores, frames @ weights, atol=1e-6)


def test_the_length_of_a_row_does_not_matter_and_a_row_of_zeros_matches_nothing() -> None:
    questions, rows = unit_rows(tokens(1, 5)), tokens(2, 6)
    longer = rows * np.array([[1e-3], [1], [7], [500], [1], [1e4]], np.float32)

    same = best_cosines(questions, longer)

    np.testing.assert_allclose(same, best_cosines(questions, rows), atol=1e-6)
    assert best_cosines(questions, np.zeros((3, 8), np.float32)).tolist() == [0] * 5


def test_many_tokens_take_little_memory() -> None:
    questions, rows = unit_rows(tokens(1, 10_000)), tokens(2, 10_000)
    tracemalloc.start()
    try:
        best_cosines(questions, rows)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20  # all cosines at once are 400 MB
