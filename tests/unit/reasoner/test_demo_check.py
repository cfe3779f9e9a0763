"""What the demo counts as a right answer."""

from __future__ import annotations

from typing import Any

import pytest

from memdb import NotFound
from reasoner.demo.check import Checked, Moment, differences, expected_moment, matches
from reasoner.demo.script import FILMS, HELD_OUT, QUESTIONS, Question

SECOND_NS = 1_000_000_000


def moment(start_s: float, end_s: float, camera: str = "porch") -> Moment:
    return Moment(camera, round(start_s * SECOND_NS), round(end_s * SECOND_NS))


@pytest.mark.parametrize(
    ("found", "right"),
    [
        (moment(10, 18), True),
        (moment(12, 14), True),
        (moment(0, 60), True),
        (moment(13, 21), True),
        (moment(17, 25), False),
        (moment(18, 26), False),
        (moment(10, 18, "study"), False),
    ],
)
def test_right_is_the_camera_and_most_of_the_time(found: Moment, right: bool) -> None:
    assert matches(found, moment(10, 18)) is right


def test_the_script_holds_together() -> None:
    for film in FILMS:
        assert 40 <= film.duration_s <= 90
        ends = [0.0, *(speech.end_s for speech in film.speech)]
        starts = [*(speech.at_s for speech in film.speech), film.duration_s]
        assert all(end < start for end, start in zip(ends, starts, strict=True))
    assert len(QUESTIONS) >= 8
    assert not {q.text for q in QUESTIONS} & {q.text for q in HELD_OUT}


@pytest.mark.parametrize("question", [*QUESTIONS, *HELD_OUT], ids=lambda question: question.text)
def test_every_question_has_its_moment(question: Question) -> None:
    found = expected_moment(question, FILMS, 7 * SECOND_NS)
    assert found.camera == question.camera
    assert 7 * SECOND_NS <= found.start_ns < found.end_ns


def test_a_question_about_no_scene_is_refused() -> None:
    with pytest.raises(NotFound):
        expected_moment(Question("?", "cellar", scene="wine"), FILMS, 0)


def checked(clip_id: str | None, score: float = 0.5) -> Checked:
    evidence: list[dict[str, Any]] = []
    if clip_id is not None:
        evidence = [
            {"camera": "porch", "start_ns": 0, "end_ns": 9, "clip_id": clip_id, "score": score}
        ]
    answer = {"cited": [0] if evidence else [], "evidence": evidence}
    return Checked(QUESTIONS[0], moment(0, 1), answer)


def test_nothing_found_is_wrong() -> None:
    assert not checked(None).is_right
    assert checked(None).moment is None


def test_answers_differ_by_clip_and_score_for_one_user_and_by_moment_between_users() -> None:
    assert differences([checked("a")], [checked("a")], same_user=True) == []
    assert differences([checked("a")], [checked("b")], same_user=True) == [QUESTIONS[0].text]
    assert differences([checked("a")], [checked("a", 0.4)], same_user=True) == [QUESTIONS[0].text]
    assert differences([checked("a")], [checked("b")], same_user=False) == []
    assert differences([checked("a")], [checked(None)], same_user=False) == [QUESTIONS[0].text]
