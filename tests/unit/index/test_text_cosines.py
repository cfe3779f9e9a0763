"""Texts found by a feature beside words, by heads first: what a look at every one of them finds, ties included."""

from __future__ import annotations

import numpy as np
import pytest

from memdb.index.bm25 import bm25
from memdb.index.columns import ALIVE
from memdb.index.directions import unit_vector
from memdb.index.flat import padded_query, row_scores
from memdb.index.fusion import word_scores
from memdb.index.head_scores import FEW, head_scores
from memdb.index.matrix import Matrix
from memdb.index.planes import padded
from memdb.index.text import Document, Match, TextIndex, TextView
from memdb.index.text_filter import TextFilter
from memdb.types.arrays import Array

UTTERANCE = 2
WORDS = ("red", "mug", "door", "opens", "Alice", "car", "yard", "blue")
SPACE = 3


def features_like(rng: np.random.Generator, kind: str, dim: int) -> list[Array | None]:
    count = int(rng.integers(3 * FEW, 5 * FEW))
    made = rng.standard_normal((count, dim)).astype(np.float32)
    if kind == "alike":
        # Closer than heads tell, some by one bit and some not at all.
        made = np.repeat(made[:9], count // 9 + 1, axis=0)[:count].copy()
        some = rng.random(count) < 0.5
        made[some, 0] = np.nextafter(made[some, 0], np.float32(9))
        some = rng.random(count) < 0.1
        made[some] += (1e-3 * rng.standard_normal((some.sum(), dim))).astype(np.float32)
    elif kind == "behind":
        made = -np.abs(made)
    elif kind == "none":
        made[rng.random(count) < 0.5] = 0.0
    lacking = rng.random(count) < (0.4 if kind == "lacking" else 0.02)
    return [None if none else row for none, row in zip(lacking, made, strict=True)]


def filled(rng: np.random.Generator, kind: str, dim: int) -> tuple[TextIndex, list[Array | None]]:
    index, features = TextIndex(), features_like(rng, kind, dim)
    for no, feature in enumerate(features):
        text = " ".join(rng.choice(WORDS, int(rng.integers(1, 4))))
        born, stream_no = 1 + no // 100, int(rng.integers(3))
        index.add(
            [
                Document(
                    UTTERANCE, no, 0, born, int(ALIVE), no, no + 1, stream_no, text, SPACE, feature
                )
            ]
        )
        if rng.random() < 0.05:
            index.end(UTTERANCE, int(rng.integers(no + 1)), born + 1)
    return index, features


def looked_at(
    view: TextView,
    features: list[Array | None],
    question: str,
    feature: Array,
    as_of: int,
    which: TextFilter,
) -> list[tuple[int, float]]:
    """(number, score) of everything that is found, best first."""
    column = view.columns
    alive = (column["birth"] <= as_of) & (column["death"] > as_of)
    words = bm25(view.words, question, alive)
    rows = which.rows(column, alive)
    query = unit_vector(feature)
    given = np.zeros(len(rows), np.float32)
    for place, row in enumerate(rows.tolist()):
        own = features[int(column["no"][row])]
        if own is not None:
            given[place] = max(score_of(own, query), 0.0)
    scores = 0.3 * given + 0.7 * word_scores(words.scores[rows], words.ceiling)
    order = sorted(np.flatnonzero(scores > 0.0), key=lambda at: (-scores[at], at))
    return [(int(column["no"][rows[at]]), float(scores[at])) for at in order]


def score_of(row: Array, query: Array) -> float:
    """As of a matrix of this row alone."""
    wide = padded_query(unit_vector(row), padded(len(row)))
    return float(row_scores(wide[None], padded_query(query, len(wide)))[0])


def told(matches: list[Match]) -> list[tuple[int, float]]:
    return [(match.no, match.score) for match in matches]


@pytest.mark.parametrize("kind", ["any", "alike", "behind", "none", "lacking"])
@pytest.mark.parametrize("dim", [5, 48])
def test_the_best_of_a_look_at_every_text(kind: str, dim: int) -> None:
    rng = np.random.default_rng([dim, len(kind)])
    index, features = filled(rng, kind, dim)
    view = index.view()
    for turn in range(6):
        own = features[int(rng.integers(len(features)))]
        feature = rng.standard_normal(dim).astype(np.float32)
        if turn % 3 == 0 and own is not None and own.any():
            feature = own.copy()
        question = " ".join(rng.choice([*WORDS, "unheard"], int(rng.integers(1, 4))))
        as_of = int(rng.integers(FEW // 100 + 2, len(features) // 100 + 2))
        which = TextFilter(stream_nos=(0, 2) if rng.random() < 0.4 else None)
        every = looked_at(view, features, question, feature, as_of, which)
        for limit in (1, 5, 40, 700, len(features)):
            found = told(view.search(question, feature, SPACE, limit, as_of, which))
            assert found == every[:limit]


def test_no_row_is_farther_from_its_head_than_is_told() -> None:
    rng = np.random.default_rng(4)
    matrix = Matrix(40)
    for _ in range(40):
        matrix.append(
            rng.standard_normal((100, 40)).astype(np.float32) * 10.0 ** rng.integers(-3, 4)
        )
    query = rng.standard_normal(40).astype(np.float32)
    exact = row_scores(matrix.take_padded(np.arange(4000)), padded_query(query, matrix.width))
    for share in (1.0, 0.5, 0.14):
        allowed = rng.random(4000) < share
        allowed[:30] = allowed[-40:] = False
        found = head_scores(matrix, 3980, query, allowed[:3980])
        assert found is not None
        assert found.numbers.tolist() == np.flatnonzero(allowed[:3980]).tolist()
        away = np.abs(found.scores - exact[found.numbers].astype(np.float64))
        assert 0 < away.max() <= found.bound


def test_what_heads_do_not_tell_is_not_asked_of_them() -> None:
    matrix = Matrix(4)
    matrix.append(np.full((3 * FEW, 4), 1e19, np.float32))
    everything = np.ones(matrix.rows, bool)
    assert head_scores(matrix, matrix.rows, np.full(4, 1e19, np.float32), everything) is None
    assert head_scores(matrix, FEW, np.ones(4, np.float32), everything[:FEW]) is None
    assert head_scores(matrix, matrix.rows, np.ones(4, np.float32), everything) is not None
