"""Standing questions beside clips whose products leave the range of float32: whatever way they are looked through,
what matches is what a comparison of each pair in float64 says.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pytest

from memdb.engine import standing_margins, standing_questions, standing_relevance
from memdb.engine.standing_past_relevance import scores_and_relevances
from memdb.engine.standing_questions import SpaceQuestions, exact_scores, score_questions
from memdb.engine.standing_relevance import relevance_at_birth, relevance_questions
from memdb.index import outline
from memdb.index.columns import ALIVE
from memdb.index.partition import ClipRows, Partition, PartitionView
from memdb.store.records import StandingRecord
from memdb.types.arrays import Array

DIM: Final = 64
CLIPS: Final = 24
QUESTIONS: Final = 200
LENGTHS: Final = {
    # Products below the smallest number that float32 tells from none.
    "vanishing": (1e-28, 1e-17),
    "vanishing beside others": (1e-38, 1e-3),
    "ordinary": (1.0, 1.0),
    # Sums that overflow on their way to what float32 could hold.
    "overflowing": (1e19, 5e19),
    "overflowing beside others": (1e19, 1e21),
}


@pytest.fixture(params=["outlines", "scans", "products"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    least = QUESTIONS + 1 if request.param == "products" else 1
    for module in (standing_questions, standing_relevance):
        monkeypatch.setattr(module, "SEARCHED_PROBES_MIN", least)
    if request.param == "outlines":
        monkeypatch.setattr(outline, "DIRECTIONS", 13)
        monkeypatch.setattr(standing_margins, "OUTLINE_CLIPS", 0)
        monkeypatch.setattr(standing_margins, "_TOLD_SHARE", 0.0)


def seen(vectors: Array) -> PartitionView:
    """A partition of a space of inner products with a clip of each vector."""
    count = len(vectors)
    numbers = np.arange(count)
    partition = Partition(vectors.shape[1], "dot")
    partition.extend(
        ClipRows(
            clip_no=numbers.astype(np.uint64) + 1,
            stream_no=(numbers % 2).astype(np.uint32),
            epoch=np.zeros(count, np.uint32),
            seq=numbers.astype(np.uint64),
            start_ns=numbers,
            end_ns=numbers + 1,
            sealed=np.ones(count, bool),
            birth=numbers.astype(np.uint64) + 1,
            death=np.full(count, ALIVE, np.uint64),
            short_memory_bytes=np.zeros(count, np.uint32),
            keyframe_bytes=np.zeros(count, np.uint32),
            vectors=vectors,
        )
    )
    return partition.view()


def record(
    feature: Array, min_score: float = math.inf, min_relevance: float | None = None
) -> StandingRecord:
    return StandingRecord(
        *("seen", 1, None, min_score, None, True, "", 0, 0, 0),
        *(feature.dtype.str, feature.tobytes(), "", None, min_relevance, ""),
    )


def vectors_of(kind: str, seed: int) -> tuple[Array, Array]:
    """(questions, clips), all alike in a few ways."""
    random = np.random.default_rng(seed)
    ways = random.normal(size=(4, DIM))
    low, high = np.log10(LENGTHS[kind])

    def some(count: int) -> Array:
        lengths = 10.0 ** random.uniform(low, high, (count, 1)) / DIM
        return np.asarray(lengths * (random.normal(size=(count, 4)) @ ways), np.float32)

    return some(QUESTIONS), some(CLIPS)


def check(questions: SpaceQuestions, partition: PartitionView) -> None:
    every = np.arange(QUESTIONS)
    matches = 0
    for row in range(CLIPS):
        together = questions.candidates(partition, np.arange(row, CLIPS, 2))[0]
        (alone,) = questions.candidates(partition, np.array([row]))
        with np.errstate(over="ignore", invalid="ignore"):
            expected, _ = questions.matched(partition, row, every)
        for candidates in (alone, together):
            assert set(expected.tolist()) <= set(candidates.tolist())
        matches += len(expected)
    assert CLIPS < matches < CLIPS * QUESTIONS


@pytest.mark.parametrize("kind", LENGTHS)
def test_no_score_is_missed(kind: str) -> None:
    for seed in range(3):
        features, clips = vectors_of(kind, seed)
        partition = seen(clips)
        records = []
        for no, feature in enumerate(features):
            # What some clip scores, to the last bit, or nothing.
            score = exact_scores(clips[no % CLIPS], features, np.array([no]))[0]
            records.append((no, record(feature, float(score) if no % 4 else 0.0)))
        questions = score_questions(records, cosine=False)
        check(questions, partition)
        found = questions.first_matches(partition, np.arange(CLIPS), np.arange(QUESTIONS))
        scores = np.array([exact_scores(clip, features, np.arange(QUESTIONS)) for clip in clips])
        matched = scores >= questions.thresholds
        assert found == {no: int(matched[:, no].argmax()) for no in np.flatnonzero(matched.any(0))}


@pytest.mark.parametrize("kind", LENGTHS)
def test_no_relevance_is_missed(kind: str) -> None:
    features, clips = vectors_of(kind, 0)
    partition = seen(clips)
    records = []
    for no, feature in enumerate(features):
        relevance = relevance_at_birth(partition, no % CLIPS, feature)[1]
        records.append((no, record(feature, min_relevance=min(max(relevance, 1e-9), 1 - 1e-9))))
    check(relevance_questions(records, cosine=False), partition)


@pytest.mark.parametrize("kind", LENGTHS)
def test_a_back_test_compares_the_same(kind: str) -> None:
    features, clips = vectors_of(kind, 1)
    partition = seen(clips)
    for feature in features[:12]:
        told = [relevance_at_birth(partition, row, feature)[1] for row in range(CLIPS)]
        relevances = (*sorted(told)[::8], 0.5)
        _, _, found = scores_and_relevances(partition, feature, None, relevances)
        for least in relevances:
            assert ((found >= least) == (np.array(told) >= least)).all()
