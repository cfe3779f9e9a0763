"""Questions that are asked together: each answer is that of the question alone."""

from __future__ import annotations

import numpy as np
import pytest

from memdb import InvalidArgument, NotFound, Unavailable
from memdb.types import limits
from memdb.types.database import Stream, User
from memdb.types.grounding import Grounding
from tests.congruence.media import SECOND_NS, T0_NS, clip, vector

pytestmark = pytest.mark.congruence

RNG = np.random.default_rng(3)
QUESTIONS = RNG.standard_normal((40, 4)).astype(np.float32)


@pytest.fixture
def seen(user: User, door: Stream) -> Stream:
    """Twelve clips with two gaps, one of them in the first clips, and three of another stream."""
    numbers = [0, 1, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15]
    for seq in numbers:
        tokens = RNG.standard_normal((6, 4)).astype(np.float16)
        memory = RNG.standard_normal(4).astype(np.float32)
        door.write(clip(seq, memory, short_memory=tokens if seq % 4 else None))
    porch = user.stream("porch", space="clip")
    porch.write_many([clip(seq, RNG.standard_normal(4).astype(np.float32)) for seq in range(3)])
    return door


def shown(grounding: Grounding) -> object:
    """All of an answer; arrays by their bytes."""
    hits = [
        (
            hit.clip.id,
            hit.score,
            hit.clip.revision,
            hit.clip.global_memory.tobytes(),
            None if hit.clip.short_memory is None else np.asarray(hit.clip.short_memory).tobytes(),
        )
        for hit in grounding.hits
    ]
    gaps = grounding.gaps, grounding.gaps_left_out
    return hits, grounding.revision, grounding.fallback, gaps


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"limit": 1},
        {"limit": 100, "with_short_memory": True},
        {"streams": ["porch"]},
        {"start_ns": T0_NS + 8 * SECOND_NS, "end_ns": T0_NS + 40 * SECOND_NS},
        {"policy": "ixc-live"},
        {"policy": "ixc-train", "streams": ["door"]},
        {"min_score": 0.9},
        {"min_score": 2.0, "fallback": "recent"},
        {"as_of": 1},
        {"space": "clip", "min_revision": 1},
    ],
)
def test_each_answer_is_that_of_the_question_alone(
    user: User, seen: Stream, options: dict[str, object]
) -> None:
    together = user.ground_many(QUESTIONS, **options)  # type: ignore[arg-type]

    alone = [user.ground(question, **options) for question in QUESTIONS]  # type: ignore[arg-type]
    assert [shown(one) for one in together] == [shown(one) for one in alone]


def test_each_question_is_re_ranked_by_its_own_tokens(user: User, seen: Stream) -> None:
    tokens = [RNG.standard_normal((2 + place % 3, 4)).astype(np.float32) for place in range(10)]

    together = user.ground_many(QUESTIONS[:10], question_tokens=tokens, rerank=8, limit=5)

    for question, own, answer in zip(QUESTIONS, tokens, together, strict=False):
        alone = user.ground(question, question_tokens=own, rerank=8, limit=5)
        assert shown(answer) == shown(alone)
        assert [hit.spans for hit in answer.hits] == [hit.spans for hit in alone.hits]
    assert any(hit.spans for answer in together for hit in answer.hits)


def test_bad_tokens(user: User, seen: Stream) -> None:
    good = np.ones((2, 4), np.float32)
    for tokens, reason, field, value in (
        ([good], "BAD_SHAPE", "question_tokens", "1"),
        ([good, np.ones(4, np.float32)], "BAD_SHAPE", "question_tokens[1]", "(4,)"),
        ([good, np.ones((2, 5), np.float32)], "DIM_MISMATCH", "question_tokens[1]", "5"),
        ("ab", "BAD_DTYPE", "question_tokens", "str"),
        (7, "BAD_DTYPE", "question_tokens", "int"),
        (None, "TOKENS_REQUIRED", "rerank", "3"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            user.ground_many(QUESTIONS[:2], question_tokens=tokens, rerank=3)  # type: ignore[arg-type]
        assert (caught.value.reason, caught.value.field) == (reason, field)
        assert caught.value.value == value


def test_a_list_of_vectors_and_of_halves(user: User, seen: Stream) -> None:
    expected = [shown(user.ground(question)) for question in QUESTIONS[:3]]

    assert [shown(one) for one in user.ground_many(list(QUESTIONS[:3]))] == expected
    halves = QUESTIONS[:3].astype(np.float16)
    alone = [shown(user.ground(question)) for question in halves]
    assert [shown(one) for one in user.ground_many(halves)] == alone


def test_the_same_question_twice(user: User, seen: Stream) -> None:
    first, second = user.ground_many(np.stack([vector(1), vector(1)]))

    assert shown(first) == shown(second)


def test_a_stream_without_clips_has_no_answers(user: User, door: Stream) -> None:
    door.create()

    assert [one.hits for one in user.ground_many(QUESTIONS[:2])] == [(), ()]


def test_bad_questions_are_named(user: User, seen: Stream) -> None:
    bad = QUESTIONS[:5].copy()
    bad[3] = 0
    endless = QUESTIONS[:5].copy()
    endless[4, 1] = np.inf
    for questions, reason, field, value in (
        (bad, "ZERO_VECTOR", "question_features[3]", None),
        (np.ones((2, 5), np.float32), "DIM_MISMATCH", "question_features[0]", "5"),
        (np.ones(4, np.float32), "BAD_SHAPE", "question_features", "(4,)"),
        (np.ones((0, 4), np.float32), "EMPTY", "question_features", "(0, 4)"),
        (np.full((2, 4), np.nan, np.float32), "NOT_FINITE", "question_features[0]", None),
        (endless, "NOT_FINITE", "question_features[4]", None),
        (
            [[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 1e300]],
            "NOT_FINITE",
            "question_features[1]",
            None,
        ),
        (np.ones((2, 4), np.int32), "BAD_DTYPE", "question_features", "int32"),
        ([[1.0, 2.0], [1.0]], "BAD_DTYPE", "question_features", "list"),
        (
            np.ones((limits.QUESTIONS_MAX + 1, 4), np.float32),
            "TOO_LARGE",
            "question_features",
            str(limits.QUESTIONS_MAX + 1),
        ),
    ):
        with pytest.raises(InvalidArgument) as caught:
            user.ground_many(questions)
        assert (caught.value.reason, caught.value.field) == (reason, field)
        assert caught.value.value == value


def test_bad_options(user: User, seen: Stream) -> None:
    with pytest.raises(InvalidArgument) as bad:
        user.ground_many(QUESTIONS, limit=0)
    assert (bad.value.reason, bad.value.field) == ("OUT_OF_RANGE", "limit")
    with pytest.raises(NotFound) as unknown:
        user.ground_many(QUESTIONS, streams=["nope"])
    assert (unknown.value.reason, unknown.value.field) == ("STREAM_NOT_FOUND", "streams")
    with pytest.raises(Unavailable) as behind:
        user.ground_many(QUESTIONS, min_revision=10_000)
    assert behind.value.reason == "BEHIND"
    with pytest.raises(TypeError, match="nonsense"):
        user.ground_many(QUESTIONS, nonsense=1)  # type: ignore[call-arg]


def test_a_user_that_never_wrote(user: User) -> None:
    with pytest.raises(NotFound) as caught:
        user.ground_many(QUESTIONS)
    assert caught.value.reason == "USER_NOT_FOUND"
