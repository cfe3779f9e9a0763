"""What the tokens of a question weigh."""

from __future__ import annotations

import numpy as np
import pytest

from memdb.index.token_weights import idf_weights, uniform_weights


def test_what_every_clip_has_weighs_nothing() -> None:
    sample = np.array([[0.5, 0.1], [0.49, 0.1], [0.51, 0.12], [0.5, 0.08]], np.float32)
    weights = idf_weights(sample, np.array([0.51, 0.6], np.float32))
    assert weights.tolist() == [0, 1]


def test_the_rarer_weighs_more() -> None:
    sample = np.array([[0.5, 0.1], [0.5, 0.5], [0.1, 0.1], [0.1, 0.1]], np.float32)
    often, seldom = idf_weights(sample, sample.max(axis=0))
    assert 0 < often < seldom
    assert often + seldom == pytest.approx(1)


def test_how_wide_a_space_spreads_its_cosines_does_not_matter() -> None:
    sample = np.random.default_rng(1).uniform(0, 1, (8, 5)).astype(np.float32)
    top = np.full(5, 1, np.float32)
    wide, narrow = idf_weights(sample, top), idf_weights(sample / 16 + 0.5, top / 16 + 0.5)
    np.testing.assert_allclose(wide, narrow, atol=1e-6)


def test_where_nothing_tells_clips_apart_all_weigh_the_same() -> None:
    same = np.full((4, 2), 0.5, np.float32)
    assert idf_weights(same, same[0]).tolist() == uniform_weights(2).tolist() == [0.5, 0.5]
    assert idf_weights(same[:0], same[0]).tolist() == [0.5, 0.5]
