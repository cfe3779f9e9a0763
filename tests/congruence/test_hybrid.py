"""Grounding with words: arms, their fusion and explanation, under filters and at revisions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memdb import FailedPrecondition, InvalidArgument, NotFound
from memdb.types.arm import ARM_WEIGHTS
from memdb.types.arrays import Array
from memdb.types.clip import Clip, SoundEvent, Utterance
from memdb.types.database import Database, Stream, User
from memdb.types.grounding import Grounding, Hit
from tests.congruence.media import SECOND_NS, T0_NS, clip, vector

pytestmark = pytest.mark.congruence

QUESTION = vector(1)


def said(seq: int, text: str, memory: Array | None = None, **fields: object) -> Clip:
    start_ns = T0_NS + seq * 4 * SECOND_NS
    spoken = Utterance(start_ns + 1, start_ns + SECOND_NS, text)
    return clip(seq, memory, transcript=(spoken,), **fields)


def barked(seq: int, name: str, **fields: object) -> Clip:
    start_ns = T0_NS + seq * 4 * SECOND_NS
    event = SoundEvent(start_ns + 2, start_ns + SECOND_NS, name, 0.9)
    return clip(seq, vector(0, 1), events=(event,), **fields)


def numbers(grounding: Grounding) -> list[int]:
    return [hit.clip.seq for hit in grounding.hits]


def arms(hit: Hit) -> dict[str, float]:
    return {arm.name: arm.score for arm in hit.arms}


@pytest.fixture
def seen(door: Stream) -> Stream:
    door.write_many(
        [
            said(0, "the parcels are on the porch", vector(1, 1)),
            barked(1, "Dog barking"),
            clip(2, vector(1, 0.1)),
            clip(3, vector(0, 0, 1), labels={"vehicle": "red car, sports car"}),
            said(4, "two red cars stopped by the gate", vector(0, 0, 0, 1)),
        ]
    )
    return door


def test_words_find_what_was_said_heard_and_labelled(user: User, seen: Stream) -> None:
    assert numbers(user.ground(text="where is my parcel?")) == [0]
    assert numbers(user.ground(text="did a dog bark?")) == [1]
    assert set(numbers(user.ground(text="a red car"))) == {3, 4}
    assert numbers(user.ground(text="vehicles")) == [3]
    assert user.ground(text="giraffe").hits == ()


def test_a_feature_and_words_are_weighed(user: User, seen: Stream) -> None:
    assert numbers(user.ground(QUESTION))[0] == 2
    both = user.ground(QUESTION, text="a parcel", limit=5)
    assert numbers(both)[:2] == [0, 2]
    assert len(both.hits) == 5
    assert all(0.0 <= hit.score <= 1.0 for hit in both.hits)
    assert [hit.score for hit in both.hits] == sorted((h.score for h in both.hits), reverse=True)
    only_seen = user.ground(
        QUESTION, text="a parcel", weights={"transcript": 0, "events": 0, "labels": 0}
    )
    assert numbers(only_seen) == numbers(user.ground(QUESTION))
    assert numbers(user.ground(QUESTION, text="a parcel", min_score=0.5)) == [0]


def test_every_hit_is_explained(user: User, seen: Stream) -> None:
    found = user.ground(QUESTION, text="who saw two red cars?", explain=True, limit=5)
    for hit in found.hits:
        assert sum(arm.weight * arm.score for arm in hit.arms) == pytest.approx(hit.score)
    best = found.hits[0]
    assert best.clip.seq == 4
    spoken = next(arm for arm in best.arms if arm.name == "transcript")
    assert spoken.rank == 1
    assert spoken.score == pytest.approx(1.0)
    (match,) = spoken.matches
    assert (match.index, match.start_ns, match.end_ns) == (
        0,
        best.clip.transcript[0].start_ns,
        best.clip.transcript[0].end_ns,
    )
    assert match.terms == ("two", "red", "cars")
    labelled = next(hit for hit in found.hits if hit.clip.seq == 3)
    (label,) = next(arm for arm in labelled.arms if arm.name == "labels").matches
    assert (label.index, label.terms) == (0, ("red", "cars"))
    assert label.start_ns == labelled.clip.start_ns
    assert set(arms(best)) <= set(ARM_WEIGHTS)
    assert all(hit.arms == () for hit in user.ground(QUESTION, text="red").hits)


def test_a_question_without_words_is_explained_by_its_one_arm(user: User, seen: Stream) -> None:
    plain, explained = user.ground(QUESTION), user.ground(QUESTION, explain=True)
    assert [hit.score for hit in plain.hits] == [hit.score for hit in explained.hits]
    assert [(hit.arms[0].name, hit.arms[0].rank) for hit in explained.hits] == [
        ("vector", place) for place in (1, 2, 3, 4)
    ]
    assert all(hit.arms[0].raw == hit.score for hit in explained.hits)


@pytest.mark.parametrize("policy", ["ixc-live", "ixc-gradio", "ixc-offline", "ixc-train"])
def test_a_published_policy_is_explained_by_the_place_among_all(
    user: User, door: Stream, policy: str
) -> None:
    """What it gives is chosen by time, too: the earliest need not be the most similar."""
    for seq, cosine in enumerate([0.1, 0.4, 0.95, 0.9, 0.5, 0.2]):
        door.write(clip(seq, vector(cosine, (1 - cosine**2) ** 0.5)))
    places = {2: 1, 3: 2, 4: 3, 1: 4, 5: 5, 0: 6}

    hits = user.ground(QUESTION, policy=policy, explain=True).hits

    assert hits
    assert [hit.arms[0].rank for hit in hits] == [places[hit.clip.seq] for hit in hits]
    if policy in ("ixc-live", "ixc-gradio"):
        assert [hit.clip.seq for hit in hits] == [1]
    # So is what stands in for an answer.
    (recent,) = user.ground(QUESTION, min_score=0.99, fallback="recent", explain=True).hits
    assert (recent.clip.seq, recent.arms[0].rank) == (5, 5)


def test_filters_hold_for_every_arm(user: User, seen: Stream) -> None:
    user.stream("porch", space="clip").write(said(1, "a parcel for the dog in the red car"))
    for text in ("parcel", "dog", "red car"):
        found = user.ground(text=text, streams=["door"], limit=10)
        assert found.hits
        assert {hit.clip.stream for hit in found.hits} == {"door"}
        assert [h.clip.stream for h in user.ground(text=text, streams=["porch"]).hits] == ["porch"]
    assert numbers(
        user.ground(text="red car", end_ns=T0_NS + 16 * SECOND_NS, streams=["door"])
    ) == [3]
    assert numbers(user.ground(text="red car", start_ns=T0_NS + 16 * SECOND_NS)) == [4]
    # The best of what may answer is the best: nothing is thrown away after the search.
    (hit,) = user.ground(text="red car", streams=["door"], start_ns=T0_NS + 16 * SECOND_NS).hits
    assert hit.score == pytest.approx(
        max(h.score for h in user.ground(text="red car").hits), rel=0.5
    )


def test_an_answer_as_of_a_revision_stays(user: User, door: Stream) -> None:
    door.write(said(0, "the mug is blue", sealed=False))
    first = user.revision()
    before = user.ground(vector(1), text="a blue mug", explain=True)
    door.write(said(0, "the mug is green", sealed=False))
    door.write_many([said(n, "a blue blue mug", vector(0, 1)) for n in range(1, 6)])
    door.write(barked(6, "Blue mug", labels={"mug": "blue"}))

    again = user.ground(vector(1), text="a blue mug", explain=True, as_of=first)

    assert [(hit.clip.seq, hit.score, hit.arms) for hit in again.hits] == [
        (hit.clip.seq, hit.score, hit.arms) for hit in before.hits
    ]
    assert numbers(user.ground(text="green")) == [0]
    assert user.ground(text="green", as_of=first).hits == ()
    assert 0 not in numbers(user.ground(text="blue", limit=10))


def test_what_is_erased_is_found_by_no_arm(user: User, seen: Stream) -> None:
    found = user.ground(text="red car dog parcel", limit=10)
    assert set(numbers(found)) == {0, 1, 3, 4}
    user.erase_clips([hit.clip.id for hit in found.hits if hit.clip.seq in (1, 3)])
    assert set(numbers(user.ground(text="red car dog parcel", limit=10))) == {0, 4}


def test_what_was_said_is_also_found_by_its_feature(db: Database, user: User, door: Stream) -> None:
    db.create_space("text", dim=3)
    user.configure(text_space="text")
    feature = np.array([[0.0, 1.0, 0.0]], np.float32)
    door.write(said(0, "felines everywhere", transcript_features=feature))
    door.write(said(1, "nothing", transcript_features=np.array([[1.0, 0.2, 0.0]], np.float32)))

    found = user.ground(text="cats", text_feature=feature[0], explain=True)

    assert numbers(found) == [0, 1]
    (arm,) = found.hits[0].arms
    assert (arm.name, arm.rank) == ("transcript_features", 1)
    assert arm.raw == pytest.approx(1.0)
    assert (arm.matches[0].index, arm.matches[0].terms) == (0, ())
    with pytest.raises(InvalidArgument) as caught:
        user.ground(text="cats", text_feature=vector(1))
    assert (caught.value.reason, caught.value.field) == ("DIM_MISMATCH", "text_feature")


def test_a_text_feature_is_a_question_where_clips_are_of_the_text_space(
    user: User, door: Stream
) -> None:
    door.write_many([clip(0), clip(1)])
    user.configure(text_space="clip")
    found = user.ground(text="unheard of", text_feature=vector(0.1, 1), explain=True)
    assert numbers(found) == [1, 0]
    assert arms(found.hits[0]) == {"vector": 1.0}


def test_what_was_said_is_found_by_who_said_it(user: User, door: Stream) -> None:
    door.write(clip(0, transcript=(Utterance(T0_NS, T0_NS + 1, "hello", speaker="Caroline"),)))
    door.write(clip(1, transcript=(Utterance(T0_NS, T0_NS + 1, "hello", speaker="Bob"),)))
    assert numbers(user.ground(text="what did Caroline say?")) == [0]


def test_the_newest_that_nothing_speaks_for_has_a_score_of_zero(user: User, door: Stream) -> None:
    door.write(clip(0, vector(1)))
    answer = user.ground(
        text="mug", question_tokens=np.eye(1, 4, dtype=np.float32), rerank=1, fallback="recent"
    )
    (hit,) = answer.hits
    assert (answer.fallback, type(hit.score), hit.score) == ("recent", float, 0.0)


def test_rerank_and_fallback_go_with_words(user: User, door: Stream) -> None:
    tokens = np.stack([vector(0, 0, 1)])
    door.write(said(0, "a mug", vector(1), short_memory=np.stack([vector(1)])))
    door.write(said(1, "a mug on a table", vector(1), short_memory=np.stack([vector(0, 0, 1)])))
    assert numbers(user.ground(text="mug")) == [0, 1]
    reranked = user.ground(text="mug", question_tokens=tokens, rerank=2, explain=True)
    assert numbers(reranked) == [1, 0]
    assert reranked.hits[0].spans
    assert [arm.name for arm in reranked.hits[0].arms] == ["transcript", "vector"]
    assert reranked.hits[0].arms[0].rank == 2
    recent = user.ground(text="giraffe", fallback="recent", explain=True)
    assert (numbers(recent), recent.fallback, recent.hits[0].score) == ([1], "recent", 0.0)
    assert recent.hits[0].arms == ()


def test_late_interaction_leaves_the_words_their_share(user: User, door: Stream) -> None:
    tokens = np.stack([vector(0, 0, 1)])
    door.write(said(0, "the mug is blue", vector(0, 1), short_memory=np.stack([vector(0, 1)])))
    door.write(said(1, "good morning", vector(1), short_memory=np.stack([vector(0, 0, 1)])))
    door.write(said(2, "hello", vector(1), short_memory=np.stack([vector(0, 1, 1)])))
    door.write(said(3, "a blue mug", vector(0, 1)))
    options: dict[str, Any] = {"question_tokens": tokens, "rerank": 4, "explain": True}
    pictures = user.ground(vector(1), question_tokens=tokens, rerank=4)
    assert numbers(pictures)[:2] == [1, 2]

    for feature in (vector(1), None):
        found = user.ground(feature, text="a blue mug", **options)
        # What was said comes first; of what said nothing of it, late interaction tells.
        assert set(numbers(found)[:2]) == {0, 3}
        assert [n for n in numbers(found) if n in (1, 2)] == ([1, 2] if feature is not None else [])
        for hit in found.hits:
            assert sum(arm.weight * arm.score for arm in hit.arms) == pytest.approx(hit.score)
            assert 0.0 <= hit.score <= 1.0
        scores = [hit.score for hit in found.hits]
        assert scores == sorted(scores, reverse=True)
    by_pictures = dict.fromkeys(ARM_WEIGHTS, 0.0) | {"vector": 1.0}
    found = user.ground(vector(1), text="a blue mug", weights=by_pictures, **options)
    assert numbers(found)[:2] == [1, 2]


def test_words_are_asked_of_one_space(db: Database, user: User, seen: Stream) -> None:
    db.create_space("sound", dim=3, metric="dot")
    louder, quieter = np.array([2, 0, 0], np.float32), np.array([1, 0, 0], np.float32)
    mic = user.stream("mic", space="sound")
    mic.write_many([said(0, "a red car", quieter), said(1, "so loud", louder)])

    with pytest.raises(InvalidArgument) as caught:
        user.ground(text="a red car")
    assert (caught.value.reason, caught.value.field) == ("SPACE_REQUIRED", "space")
    assert set(numbers(user.ground(text="a red car", space="clip"))) == {3, 4}
    both = user.ground(quieter, text="a red car", streams=["mic"], explain=True)
    assert numbers(both) == [0, 1]
    assert {arm.name: arm.raw for arm in both.hits[1].arms} == {"vector": pytest.approx(2.0)}
    assert all(0.0 <= hit.score <= 1.0 for hit in both.hits)


def test_what_makes_no_question_is_refused(user: User, seen: Stream) -> None:
    refusals: list[tuple[dict[str, object], str, str]] = [
        ({}, "QUESTION_REQUIRED", "question_feature"),
        ({"text": ""}, "EMPTY", "text"),
        ({"text": "x" * 16_385}, "TOO_LARGE", "text"),
        ({"text": 5}, "BAD_TEXT", "text"),
        ({"text": "a", "policy": "ixc-live"}, "BAD_POLICY", "policy"),
        ({"text": "a", "weights": {"nose": 1.0}}, "BAD_ARM", "weights"),
        ({"text": "a", "weights": 5}, "BAD_TYPE", "weights"),
        ({"text": "a", "weights": {"labels": -1.0}}, "OUT_OF_RANGE", "weights[labels]"),
        ({"text": "a", "weights": {"labels": float("nan")}}, "OUT_OF_RANGE", "weights[labels]"),
        ({"text": "a", "weights": dict.fromkeys(ARM_WEIGHTS, 0.0)}, "OUT_OF_RANGE", "weights"),
        ({"text": "a", "explain": 2}, "BAD_TYPE", "explain"),
        ({"question_feature": QUESTION, "weights": {"labels": 1.0}}, "TEXT_REQUIRED", "weights"),
        ({"question_feature": QUESTION, "text_feature": QUESTION}, "TEXT_REQUIRED", "text_feature"),
        ({"text": "a", "question_feature": vector(float("nan"))}, "NOT_FINITE", "question_feature"),
    ]
    for options, reason, field in refusals:
        with pytest.raises(InvalidArgument) as caught:
            user.ground(**options)  # type: ignore[arg-type]
        assert (caught.value.reason, caught.value.field) == (reason, field), options
    with pytest.raises(FailedPrecondition) as nowhere:
        user.ground(text="a", text_feature=QUESTION)
    assert (nowhere.value.reason, nowhere.value.field) == ("NO_TEXT_SPACE", "text_feature")


def test_words_to_a_user_that_is_not_there(db: Database) -> None:
    with pytest.raises(NotFound) as caught:
        db.user("nobody").ground(text="a")
    assert caught.value.reason == "USER_NOT_FOUND"
