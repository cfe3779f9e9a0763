"""Questions with words, over a life of clips that are revised and erased and facts that are revised and forgotten: what
a look at every one of them finds, arm by arm, as of any moment, under any filter, in pages, and after a restart.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from memdb import FailedPrecondition, Hit, Not
from memdb.clock import ManualClock
from memdb.config import EngineConfig
from memdb.engine import hybrid
from memdb.engine.database import EmbeddedDatabase
from memdb.index import fusion, head_scores, matrix, partition, text_cosines
from memdb.index import text as index_text
from memdb.index.terms import asked_terms, terms
from memdb.types.arm import ARM_WEIGHTS
from tests.property.conftest import memory_folder
from tests.property.word_life import BEGIN_NS, DIMS, SECOND_NS, SPACES, VOCABULARY, Life
from tests.property.word_look import (
    FLOOR,
    Arms,
    Asked,
    alive,
    cosine,
    looked_at,
    recall_by_all,
    scaled_vectors,
)

pytestmark = pytest.mark.property

CONFIG = EngineConfig(durability="relaxed", disk_free_bytes_min=1 << 20, open_history_s=1500)


def drawn(life: Life, there: list[str]) -> Asked:
    rng = life.rng
    space = str(rng.choice(["cam", "text"]))
    weights = {
        name: float(rng.choice([0.0, weight, 1.0])) if rng.random() < 0.4 else weight
        for name, weight in ARM_WEIGHTS.items()
    }
    weights["labels"] = weights["labels"] or 0.1
    streams = [name for name in there if SPACES[name] == space and rng.random() < 0.6]
    begin = BEGIN_NS + int(rng.integers(0, 200)) * SECOND_NS
    zones: list[str] | Not | None = None
    if rng.random() < 0.4:
        some = [life.words(2), life.words(1), life.words(1)]
        zones = some if rng.random() < 0.5 else Not(*some)
    return Asked(
        space,
        " ".join(life.rng.choice([*VOCABULARY, "unheard"], int(rng.integers(1, 4)))),
        life.vector(DIMS[space]) if rng.random() < 0.5 else None,
        life.vector(3) if rng.random() < 0.7 else None,
        weights,
        streams if streams and rng.random() < 0.5 else None,
        begin if rng.random() < 0.3 else None,
        begin + int(rng.integers(1, 100)) * SECOND_NS if rng.random() < 0.3 else None,
        zones,
    )


def shown(hits: Sequence[Hit]) -> list[tuple[str, float]]:
    return [(hit.clip.id, hit.score) for hit in hits]


def check_ground(life: Life, asked: Asked, as_of: int | str) -> None:
    revision = life.snapshots[as_of] if isinstance(as_of, str) else as_of
    arms = looked_at(life, asked, revision)
    options = {**asked.options, "as_of": as_of}
    every = life.user.ground(asked.feature, limit=1000, **options).hits
    assert arms is None or dict(shown(every)) == pytest.approx(arms.scores(), abs=1e-4)
    assert len(every) == len(dict(shown(every)))
    scores = [hit.score for hit in every]
    assert scores == sorted(scores, reverse=True)
    for limit in (1, 4):
        assert shown(life.user.ground(asked.feature, limit=limit, **options).hits) == shown(
            every[:limit]
        )
    pages: list[Hit] = []
    cursor: str | None = ""
    while cursor is not None:
        page = life.user.ground(asked.feature, limit=3, cursor=cursor, **options)
        pages += page.hits
        cursor = page.next_cursor
    assert shown(pages) == shown(every)
    if arms is not None:
        explained = life.user.ground(asked.feature, limit=3, explain=True, **options).hits
        assert shown(explained) == shown(every[:3])
        for hit in explained:
            check_explained(hit, asked, arms)
        check_reranked(life, asked, as_of, arms, shown(every))
    bar = float(life.rng.choice([0.2, 0.5, 2.0]))
    passed = life.user.ground(asked.feature, limit=4, min_score=bar, fallback="recent", **options)
    if passed.fallback == "recent":
        assert not any(score >= bar for score in scores)
        (newest,) = passed.hits
        assert newest.score == dict(shown(every)).get(newest.clip.id, 0.0)
        assert newest.clip.end_ns == max(
            one.clip.end_ns
            for one in alive(life.versions, revision)
            if SPACES[one.stream] == asked.space and asked.admits(one)
        )
    else:
        assert shown(passed.hits) == [one for one in shown(every)[:4] if one[1] >= bar]


def check_explained(hit: Hit, asked: Asked, arms: Arms) -> None:
    own = {arm.name: arm for arm in hit.arms}
    key = hit.clip.id
    assert own.keys() == {name for name, w in arms.weights.items() if w and key in arms.raw[name]}
    for name, arm in own.items():
        assert arm.weight == pytest.approx(arms.weights[name])
        assert arm.score == pytest.approx(arms.scaled[name][key], abs=1e-4)
        assert arm.raw == pytest.approx(arms.raw[name][key], abs=1e-5)
        others = np.array(list(arms.raw[name].values()))
        better = np.count_nonzero(others > arm.raw + 1e-5)
        assert better < arm.rank <= 1 + np.count_nonzero(others >= arm.raw - 1e-5) + better
    assert sum(arm.weight * arm.score for arm in hit.arms) == pytest.approx(hit.score, abs=1e-9)
    wanted = asked_terms(asked.text)
    said = [f"{one.speaker} {one.text}" for one in hit.clip.transcript]
    if "transcript" in own:
        matches = own["transcript"].matches
        common = {
            index: tuple(word for term, word in wanted.items() if term in terms(text))
            for index, text in enumerate(said)
        }
        assert {match.index: match.terms for match in matches} == {
            index: found for index, found in common.items() if found
        }
    if "transcript_features" in own:
        (match,) = own["transcript_features"].matches
        assert 0 <= match.index < len(said)


def check_reranked(
    life: Life, asked: Asked, as_of: int | str, arms: Arms, plain: list[tuple[str, float]]
) -> None:
    """Late interaction in the place of similarity, of the first few."""
    revision = life.snapshots[as_of] if isinstance(as_of, str) else as_of
    tokens = np.stack([life.vector(DIMS[asked.space]) for _ in range(2)])
    count = int(life.rng.integers(1, 9))
    found = life.user.ground(
        asked.feature,
        limit=1000,
        question_tokens=tokens,
        rerank=count,
        weighting="uniform",
        as_of=as_of,
        explain=True,
        **asked.options,
    ).hits
    assert shown(found[count:]) == plain[count:]
    first = {key for key, _ in plain[:count]}
    assert {hit.clip.id for hit in found[:count]} == first
    late = {
        one.clip_id: sum(max(cosine(row, token) for row in memory) for token in tokens) / 2
        for one in alive(life.versions, revision)
        if one.clip_id in first and (memory := one.clip.short_memory) is not None
    }
    scaled = scaled_vectors(late, 0.1)  # short-term memory is kept in 16 bits
    for hit in found:
        assert sum(arm.weight * arm.score for arm in hit.arms) == pytest.approx(hit.score, abs=1e-9)
    if scaled is None:
        return
    pictures, share = arms.weights.get("vector", 0.0), 1.0
    if not pictures:
        # One arm more is asked.
        total = sum(asked.weights[name] for name in arms.weights) or 1.0
        share = total / (total + asked.weights["vector"])
        pictures = asked.weights["vector"] / (total + asked.weights["vector"])
    for hit in found[:count]:
        key = hit.clip.id
        likeness = scaled if key in late else arms.scaled.get("vector", {})
        expected = pictures * likeness.get(key, 0.0) + share * sum(
            weight * arms.scaled[name].get(key, 0.0)
            for name, weight in arms.weights.items()
            if name != "vector"
        )
        assert hit.score == pytest.approx(expected, abs=5e-3)
    reranked = [hit.score for hit in found[:count]]
    assert reranked == sorted(reranked, reverse=True)


def check_recall(life: Life, as_of: int | str) -> None:
    revision = life.snapshots[as_of] if isinstance(as_of, str) else as_of
    question = " ".join(life.rng.choice([*VOCABULARY, "unheard"], int(life.rng.integers(1, 4))))
    feature = life.vector(3) if life.rng.random() < 0.7 else None
    wanted = recall_by_all(life, question, feature, revision)

    def asked(limit: int) -> list[tuple[tuple[str, int], float]]:
        found = life.user.recall(
            question, limit=limit, feature=feature, as_of=as_of, valid_at="any"
        )
        return [
            (
                (hit.fact.id, 0)
                if hit.fact is not None
                else (hit.clip.id, hit.clip.transcript.index(hit.utterance)),  # type: ignore[union-attr]
                hit.score,
            )
            for hit in found.hits
        ]

    every = asked(1000)
    assert dict(every) == pytest.approx(wanted, abs=1e-5)
    for limit in (1, 6):
        assert asked(limit) == every[:limit]


def opened(folder: Path, clock: ManualClock) -> EmbeddedDatabase:
    return EmbeddedDatabase(folder, clock=clock, config=CONFIG, embed_texts=False)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("heads", [False, True])
def test_words_find_what_a_look_at_everything_finds(
    monkeypatch: pytest.MonkeyPatch, seed: int, heads: bool
) -> None:
    for module in (hybrid, fusion):
        monkeypatch.setattr(module, "FLOOR_PLACE", FLOOR)
    # What is gone is cleared away now and then.
    monkeypatch.setattr(index_text, "GONE_MAX", 5)
    monkeypatch.setattr(partition, "REMOVED_ROWS_MAX", 5)
    if heads:
        # By heads first, as of many texts.
        monkeypatch.setattr(matrix, "WHOLE_ROWS_MAX", 3)
        for few in (head_scores, text_cosines):
            monkeypatch.setattr(few, "FEW", 2)
    folder, clock = memory_folder(), ManualClock(BEGIN_NS)
    rng = np.random.default_rng([seed, heads])
    try:
        with opened(folder / "data", clock) as db:
            for name, dim in DIMS.items():
                db.create_space(name, dim=dim)
            life = Life(db, clock, rng)
            for turn in range(80):
                life.step()
                if turn == seed % 20:
                    life.configure()
            check(life)
        with opened(folder / "data", clock) as db:
            life.db = db
            check(life)
            for _ in range(20):
                life.step()
            check(life)
    finally:
        shutil.rmtree(folder)


def check(life: Life) -> None:
    newest = life.user.revision()
    there = {info.name: info.revision for info in life.user.streams()}
    for turn in range(12):
        as_of: int | str = newest if turn % 3 == 0 else int(life.rng.integers(2, newest + 1))
        if turn % 4 == 2 and life.snapshots:
            as_of = str(life.rng.choice(list(life.snapshots)))
        revision = life.snapshots[as_of] if isinstance(as_of, str) else as_of
        streams = [name for name, since in there.items() if since <= revision]
        asked = drawn(life, streams)
        try:
            check_recall(life, as_of)
        except FailedPrecondition as error:
            assert_collected(error, as_of)
            continue
        if any(SPACES[name] == asked.space for name in streams):
            check_ground(life, asked, as_of)


def assert_collected(error: FailedPrecondition, as_of: int | str) -> None:
    assert error.reason == "HISTORY_COLLECTED"
    assert not isinstance(as_of, str)
