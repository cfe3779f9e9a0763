"""Late interaction: the same answer block by block as at once."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from memdb.index import late_interaction
from memdb.index.directions import unit_rows
from memdb.index.late_interaction import max_sim
from memdb.types.arrays import Array


def tokens(seed: int, rows: int, dim: int = 8) -> Array:
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


@pytest.mark.parametrize("block", [1, 90, 1 << 20])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(late_interaction, "_BLOCK_ELEMENTS", block)
    questions, rows = tokens(1, 50), tokens(2, 30)
    cosines = unit_rows(questions) @ unit_rows(rows).T
    score, best = max_sim(questions, rows)
    assert score == pytest.approx(cosines.max(axis=1).mean())
    assert best.tolist() == cosines.argmax(axis=1).tolist()


def test_many_tokens_take_little_memory() -> None:
    questions, rows = tokens(1, 10_000), tokens(2, 10_000)
    tracemalloc.start()
    try:
        max_sim(questions, rows)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20  # all cosines at once are 400 MB
