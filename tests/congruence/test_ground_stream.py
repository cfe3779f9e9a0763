"""A stream of questions: each is answered as alone, in its order, as it comes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from memdb import Grounding, InvalidArgument, NotFound
from memdb.types.arrays import Array
from memdb.types.database import Stream, User
from tests.congruence.media import clip, vector
from tests.congruence.test_ground_many import QUESTIONS, shown

pytestmark = pytest.mark.congruence


@pytest.fixture
def seen(door: Stream) -> Stream:
    """Ten clips, and a gap."""
    rng = np.random.default_rng(9)
    door.write_many(
        [clip(seq, rng.standard_normal(4, np.float32)) for seq in (0, 1, 2, 5, 6, 7, 8, 9, 10, 11)]
    )
    return door


@pytest.mark.parametrize(
    "options",
    [{}, {"limit": 2, "streams": ["door"]}, {"min_score": 0.9, "fallback": "recent"}, {"as_of": 1}],
)
@pytest.mark.parametrize("kind", [np.asarray, list, iter])
def test_each_answer_is_that_of_the_question_alone(
    user: User, seen: Stream, options: dict[str, Any], kind: Any
) -> None:
    many = np.concatenate([QUESTIONS] * 4)  # more than go together

    streamed = list(user.ground_stream(kind(many), **options))

    alone = [shown(user.ground(question, **options)) for question in QUESTIONS]
    assert [shown(one) for one in streamed] == alone * 4


def test_a_question_may_wait_for_the_answer_before(
    user: User, seen: Stream, transport: str
) -> None:
    if transport == "async":
        pytest.skip("waits in its thread: there, an async iterable does (tests/unit/client)")
    answered = threading.Semaphore()

    def questions() -> Iterator[Array]:
        for question in QUESTIONS[:10]:
            answered.acquire()
            yield question

    count = 0
    for _ in user.ground_stream(questions()):
        count += 1
        answered.release()
    assert count == 10


def test_no_question_has_no_answer(user: User, seen: Stream) -> None:
    assert list(user.ground_stream([])) == []


@pytest.mark.parametrize("kind", [list, iter])
@pytest.mark.parametrize(
    ("bad", "reason", "value"),
    [
        (np.zeros(4, np.float32), "ZERO_VECTOR", None),
        (np.ones(5, np.float32), "DIM_MISMATCH", "5"),
        (np.full(4, np.nan, np.float32), "NOT_FINITE", None),
        (np.ones(4, np.int32), "BAD_DTYPE", "int32"),
        (np.ones((2, 4), np.float32), "BAD_SHAPE", "(2, 4)"),
        ("text", "BAD_DTYPE", "str"),
    ],
)
def test_those_before_a_bad_question_are_answered(
    user: User, seen: Stream, kind: Any, bad: Any, reason: str, value: str | None
) -> None:
    questions: list[Any] = [*QUESTIONS[:7], bad, *QUESTIONS[:7]]
    answers: list[Grounding] = []

    with pytest.raises(InvalidArgument) as caught:
        answers.extend(user.ground_stream(kind(questions)))

    assert (caught.value.reason, caught.value.field) == (reason, "question_features[7]")
    assert caught.value.value == value
    assert [shown(one) for one in answers] == [
        shown(user.ground(question)) for question in QUESTIONS[:7]
    ]


def test_what_the_questions_raise_comes_after_the_answers_before(user: User, seen: Stream) -> None:
    def questions() -> Iterator[Array]:
        yield vector(1)
        yield vector(0, 1)
        raise KeyError("the microphone")

    answers: list[Grounding] = []
    with pytest.raises(KeyError, match="microphone"):
        answers.extend(user.ground_stream(questions()))
    assert len(answers) == 2


def test_bad_options(user: User, seen: Stream) -> None:
    with pytest.raises(InvalidArgument) as bad:
        list(user.ground_stream(QUESTIONS, limit=0))
    assert (bad.value.reason, bad.value.field) == ("OUT_OF_RANGE", "limit")
    with pytest.raises(NotFound) as unknown:
        list(user.ground_stream(QUESTIONS, streams=["nope"]))
    assert (unknown.value.reason, unknown.value.field) == ("STREAM_NOT_FOUND", "streams")
    with pytest.raises(TypeError, match="rerank"):
        list(user.ground_stream(QUESTIONS, rerank=1))  # type: ignore[call-arg]


def test_a_user_that_never_wrote(user: User) -> None:
    with pytest.raises(NotFound) as caught:
        list(user.ground_stream(QUESTIONS))
    assert caught.value.reason == "USER_NOT_FOUND"


def test_a_stream_ends_with_its_user_also_where_another_has_its_name(
    user: User, seen: Stream, transport: str
) -> None:
    """Whose revisions begin again: those of a stream's answers never go back."""
    if transport == "async":
        pytest.skip("waits in its thread, as above")
    erased = threading.Event()

    def questions() -> Iterator[Array]:
        yield QUESTIONS[0]
        assert erased.wait(30)
        yield QUESTIONS[1]

    answers = user.ground_stream(questions())
    assert next(answers).hits
    user.erase()
    seen.write(clip(0, vector(1)))
    erased.set()

    with pytest.raises(NotFound) as caught:
        next(answers)
    assert (caught.value.reason, caught.value.field) == ("USER_NOT_FOUND", "user")


def test_a_stream_that_is_left_half_way(user: User, seen: Stream) -> None:
    def for_ever() -> Iterator[Array]:
        while True:
            yield from QUESTIONS

    answers = user.ground_stream(for_ever(), limit=1)
    assert [len(next(answers).hits) for _ in range(100)] == [1] * 100
    answers.close()  # type: ignore[attr-defined]
    assert user.ground(vector(1)).hits
