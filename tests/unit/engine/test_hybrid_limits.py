"""What a question with words scores, and in which order, does not hang on how many are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from memdb import Clip, Grounding, Hit, Utterance
from memdb.engine.database import EmbeddedDatabase
from memdb.index.fusion import FLOOR_PLACE
from memdb.types.arrays import Array
from tests.unit.engine.conftest import DIM, SECOND_NS, clip, vector
from tests.unit.engine.test_hybrid import VOCABULARY, cosine


def test_how_many_are_asked_for_decides_nothing_between_equal_scores(db: EmbeddedDatabase) -> None:
    """Clips that one word finds, and that are none of the nearest: the nearer of them come first."""
    user = db.user("alice")
    question, rng = vector(77), np.random.default_rng(3)
    near = [
        clip(seq, global_memory=question + 0.05 * vector(seq)) for seq in range(FLOOR_PLACE + 30)
    ]
    user.stream("near", space="cam").write_many(near)
    far = [
        clip(seq, global_memory=rng.standard_normal(DIM).astype(np.float32), labels={"at": "porch"})
        for seq in range(40)
    ]
    user.stream("porch", space="cam").write_many(far)

    every = user.ground(question, text="porch", limit=1000).hits
    assert len({hit.score for hit in every[:40]}) == 1
    likeness = [cosine(hit.clip.global_memory, question) for hit in every[:40]]
    assert likeness == sorted(likeness, reverse=True)
    for limit in (1, 4, 40, FLOOR_PLACE + 20):
        few = user.ground(question, text="porch", limit=limit).hits
        assert [hit.clip.id for hit in few] == [hit.clip.id for hit in every[:limit]]


def talking(seq: int, cosines: Sequence[float], text: str = "hm") -> Clip:
    """A clip whose utterances have these cosines with the first direction."""
    features = np.zeros((len(cosines), DIM), np.float32)
    features[:, 0] = cosines
    features[:, 1] = np.sqrt(1 - features[:, 0] ** 2)
    start_ns = seq * 10 * SECOND_NS
    said = tuple(Utterance(start_ns + n, start_ns + n + 1, text) for n in range(len(cosines)))
    return clip(seq, transcript=said, transcript_features=features)


def test_a_clip_that_talks_of_nothing_else_hides_no_other(db: EmbeddedDatabase) -> None:
    """It has more of the nearest utterances than are looked at for the vectors' sake."""
    user = db.user("alice")
    stream = user.stream("door", space="cam")
    user.configure(text_space="cam")
    stream.write(talking(0, [0.9] * (FLOOR_PLACE + 20)))
    stream.write_many([talking(seq, [0.9 - seq / 10]) for seq in (1, 2, 3)])

    found = user.ground(
        text="unheard", text_feature=np.eye(DIM, dtype=np.float32)[0], weights={"vector": 0.0}
    )

    assert [hit.clip.seq for hit in found.hits] == [0, 1, 2, 3]


def test_a_score_with_words_does_not_depend_on_the_limit(db: EmbeddedDatabase) -> None:
    """What was said in a clip counts beside the word that finds it, however many said something nearer."""
    user = db.user("alice")
    stream = user.stream("door", space="cam")
    user.configure(text_space="cam")
    stream.write_many([talking(seq, [0.9 - seq / 1000]) for seq in range(FLOOR_PLACE + 20)])
    stream.write(talking(FLOOR_PLACE + 20, [0.5], "parcel"))

    def asked(limit: int) -> list[tuple[int, float]]:
        told = {"text_feature": np.eye(DIM, dtype=np.float32)[0], "weights": {"vector": 0.0}}
        found = user.ground(text="parcel", limit=limit, **told)
        return [(hit.clip.seq, hit.score) for hit in found.hits]

    every = asked(1000)
    assert every[0][0] == FLOOR_PLACE + 20
    for limit in (1, 4, FLOOR_PLACE + 5):
        assert asked(limit) == every[:limit]


def chatty(seq: int, rng: np.random.Generator, kinds: Array) -> Clip:
    """A clip of many utterances, most of them close to others."""
    start_ns = seq * 10 * SECOND_NS
    said = tuple(
        Utterance(start_ns + n, start_ns + n + 1, str(rng.choice(VOCABULARY)))
        for n in range(int(rng.integers(8)))
    )
    features = kinds[rng.integers(len(kinds), size=len(said))]
    near = rng.random(len(said)) < 0.5
    features[near] += (1e-3 * rng.standard_normal((near.sum(), DIM))).astype(np.float32)
    labels = {"seen": str(rng.choice(VOCABULARY))} if rng.random() < 0.3 else {}
    return clip(
        seq,
        global_memory=kinds[int(rng.integers(len(kinds)))],
        transcript=said,
        transcript_features=features if said and rng.random() < 0.9 else None,
        labels=labels,
    )


@pytest.mark.parametrize("seed", range(3))
def test_what_was_said_by_heads_first_is_all_that_was_said(db: EmbeddedDatabase, seed: int) -> None:
    """So many utterances that those of the best clips alone are scored whole; of a limit that reaches all, all are."""
    rng = np.random.default_rng(seed)
    user = db.user("alice")
    user.configure(text_space="cam")
    kinds = rng.standard_normal((5, DIM)).astype(np.float32)
    for name in ("door", "yard"):
        stream = user.stream(name, space="cam")
        stream.write_many([chatty(seq, rng, kinds) for seq in range(350)])
    moment = user.revision()
    user.stream("door", space="cam").write_many(
        [chatty(seq, rng, kinds) for seq in range(350, 400)]
    )
    for turn in range(16):
        told = kinds[turn % 5] if turn % 2 else rng.standard_normal(DIM).astype(np.float32)
        options: dict[str, Any] = {
            "text": " ".join(rng.choice([*VOCABULARY, "unheard"], 2)),
            "text_feature": told,
            "streams": ["yard"] if turn % 4 == 3 else None,
            "as_of": moment if turn % 3 == 2 else None,
            "weights": {"vector": 0.0, "transcript": float(rng.choice([0.0, 0.4]))},
        }
        feature = None
        if turn % 8 > 4:
            feature, options["weights"] = kinds[0] + np.float32(0.1), None
        every = user.ground(feature, limit=1000, **options).hits
        for limit in (1, 7, 60):
            few = user.ground(feature, limit=limit, **options).hits
            assert [(hit.clip.id, hit.score) for hit in few] == [
                (hit.clip.id, hit.score) for hit in every[:limit]
            ]
        # What nothing passes is answered by the newest, with the score that it has among all.
        scores = {hit.clip.id: hit.score for hit in every}
        options |= {"min_score": 1.5, "fallback": "recent"}
        (newest,) = user.ground(feature, limit=1, **options).hits
        assert newest.score == scores.get(newest.clip.id, 0.0)


def test_of_a_picture_that_stays_the_same_no_clip_is_worth_more(db: EmbeddedDatabase) -> None:
    """The word is said in one of the clips that the search, which takes the first of equal ones, does not come to."""
    stream = db.user("alice").stream("door", space="cam")
    count = FLOOR_PLACE + 30
    said = [Utterance(0, 1, "parcel")]
    stream.write_many(
        [clip(seq, global_memory=vector(1), transcript=said[: seq == 120]) for seq in range(count)]
    )

    def asked(limit: int) -> list[tuple[int, float]]:
        found = db.user("alice").ground(vector(1), text="parcel", limit=limit)
        return [(hit.clip.seq, hit.score) for hit in found.hits]

    every = asked(1000)
    assert every[0][0] == 120
    assert len(every) == count
    for limit in (1, 4, FLOOR_PLACE + 5):
        assert asked(limit) == every[:limit]


def test_what_explains_a_hit_does_not_depend_on_how_many_there_are(db: EmbeddedDatabase) -> None:
    """Its similarity and its place by that are told of each, also behind the hundred that are scaled."""
    user = db.user("alice")
    question, count = vector(77), FLOOR_PLACE + 30
    told = [{"at": "porch"} if seq % 10 == 0 else {} for seq in range(count)]
    user.stream("door", space="cam").write_many(
        [clip(seq, labels=labels) for seq, labels in enumerate(told)]
    )

    def asked(**options: Any) -> Grounding:
        return user.ground(question, text="porch", explain=True, **options)

    every = asked(limit=1000).hits
    assert len(every) == count
    places = [arm.rank for hit in every for arm in hit.arms if arm.name == "vector"]
    assert sorted(places) == list(range(1, count + 1))
    assert [hit.arms for hit in asked(limit=9).hits] == [hit.arms for hit in every[:9]]
    pages: list[Hit] = []
    cursor = ""
    while len(pages) < count:
        page = asked(limit=11, cursor=cursor)
        pages += page.hits
        cursor = page.next_cursor or ""
    assert [(hit.score, hit.arms) for hit in pages] == [(hit.score, hit.arms) for hit in every]
