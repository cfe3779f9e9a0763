"""Candidates and their order by what stands out of their cameras, against a comparison of everything."""

from __future__ import annotations

import numpy as np
import pytest

from memdb.engine.database import EmbeddedDatabase
from memdb.engine.relevance import CENTRE_SHARE
from memdb.index.directions import unit_rows
from memdb.types.arrays import Array
from tests.unit.engine.conftest import DIM, clip

CLIPS = 6
"""Of each stream: all of them are the sample."""
STREAMS = 3


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [1, 4, 18])
def test_scores_are_those_of_a_comparison_of_everything(
    db: EmbeddedDatabase, seed: int, count: int
) -> None:
    random = np.random.default_rng(seed)
    question = random.normal(size=DIM).astype(np.float32)
    tokens = random.normal(size=(2, DIM)).astype(np.float32)
    user = db.user("alice")
    wholes: list[Array] = []
    memories: list[Array] = []
    for stream in range(STREAMS):
        usual = random.normal(size=DIM)
        for seq in range(CLIPS):
            wholes.append((usual + random.normal(size=DIM)).astype(np.float32))
            memories.append((usual + random.normal(size=(5, DIM))).astype(np.float32))
            one = clip(seq, global_memory=wholes[-1], short_memory=memories[-1])
            user.stream(f"cam-{stream}", space="cam").write(one)
    similar = unit_rows(np.stack(wholes)) @ unit_rows(question[None])[0]
    means = similar.reshape(STREAMS, CLIPS).mean(axis=1).repeat(CLIPS)
    out = similar - CENTRE_SHARE * means

    found = user.ground(question, question_tokens=tokens, rerank=count, limit=18)
    few = user.ground(question, question_tokens=tokens, rerank=count, limit=4, explain=True)

    candidates = set(np.argsort(-out)[:count].tolist())
    places = [int(hit.clip.stream[4:]) * CLIPS + hit.clip.seq for hit in found.hits]
    assert set(places[:count]) == candidates
    assert len(set(places)) == 18
    assert places[count:] == [place for place in np.argsort(-similar) if place not in candidates]
    assert [hit.clip.id for hit in few.hits] == [hit.clip.id for hit in found.hits[:4]]
    by_similarity = np.argsort(-similar).tolist()
    ranks = [by_similarity.index(place) + 1 for place in places[:4]]
    assert [hit.arms[0].rank for hit in few.hits] == ranks
    scores = [hit.score for hit in found.hits[:count]]
    assert scores == sorted(scores, reverse=True)
    for hit, place in zip(found.hits[:count], places, strict=False):
        weights = np.array(hit.token_weights)
        late = [
            float((unit_rows(memory) @ unit_rows(tokens).T).max(axis=0) @ weights)
            for memory in memories
        ]
        first = place // CLIPS * CLIPS
        usual_late = float(np.mean(late[first : first + CLIPS]))
        expected = (out[place] + late[place] - CENTRE_SHARE * usual_late) / 2
        assert hit.score == pytest.approx(expected, abs=2e-3)
        assert all(span.score <= late[place] + 2e-3 for span in hit.spans)
    least = float(np.sort(similar)[-9])
    passing = user.ground(
        question, question_tokens=tokens, rerank=count, limit=18, min_score=least - 1e-6
    )
    assert len(passing.hits) == 9
    relevant = user.ground(
        question, question_tokens=tokens, rerank=count, limit=18, min_relevance=0.01
    )
    alone = user.ground(question, limit=18, min_relevance=0.01)
    assert {hit.clip.id for hit in relevant.hits} == {hit.clip.id for hit in alone.hits}
