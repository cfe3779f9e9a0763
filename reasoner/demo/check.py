"""Whether an answer of `memdb-ask --json` is the moment that the script laid down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memdb.errors import NotFound
from reasoner.demo.script import Film, Question
from reasoner.wall_clock import time_range

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Moment:
    """A stretch of a camera's time."""

    camera: str
    start_ns: int
    end_ns: int

    def __str__(self) -> str:
        return f"{self.camera} {time_range(self.start_ns, self.end_ns)}"


@dataclass(frozen=True, slots=True)
class Checked:
    """A question with its answer and whether it is right."""

    question: Question
    expected: Moment
    answer: dict[str, Any]

    @property
    def evidence(self) -> dict[str, Any] | None:
        """The first cited evidence, None when nothing was found."""
        cited = self.answer["cited"]
        found: dict[str, Any] | None = self.answer["evidence"][cited[0]] if cited else None
        return found

    @property
    def moment(self) -> Moment | None:
        """The moment answered."""
        found = self.evidence
        return (
            None if found is None else Moment(found["camera"], found["start_ns"], found["end_ns"])
        )

    @property
    def is_right(self) -> bool:
        """Whether it is the right moment."""
        return self.moment is not None and matches(self.moment, self.expected)


def matches(found: Moment, expected: Moment) -> bool:
    """The same camera, and more than half of the shorter of both stretches in common.

    A clip that merely touches the scene next door is thereby wrong.
    """
    common_ns = min(found.end_ns, expected.end_ns) - max(found.start_ns, expected.start_ns)
    shorter_ns = min(found.end_ns - found.start_ns, expected.end_ns - expected.start_ns)
    return found.camera == expected.camera and 2 * common_ns > shorter_ns


def expected_moment(question: Question, films: Sequence[Film], start_ns: int) -> Moment:
    """Where the script put what the question asks for; ``start_ns`` is when the films begin."""
    for film in films:
        if film.camera != question.camera:
            continue
        if question.speech is not None:
            speech = film.speech[question.speech]
            start_s, end_s = speech.at_s, speech.end_s
        elif question.scene is not None:
            start_s, end_s = film.scene_times()[question.scene]
        else:
            break
        return Moment(
            film.camera, start_ns + round(start_s * SECOND_NS), start_ns + round(end_s * SECOND_NS)
        )
    raise NotFound("the script has no such moment", field="question", value=question.text)


def differences(
    before: Sequence[Checked], after: Sequence[Checked], *, same_user: bool
) -> list[str]:
    """The questions whose answers differ: in clip and score for one user, in the moment for
    another.
    """

    def essence(checked: Checked) -> object:
        found = checked.evidence
        if found is None or not same_user:
            return checked.moment
        return [(item["clip_id"], item["score"]) for item in checked.answer["evidence"]]

    return [
        one.question.text
        for one, other in zip(before, after, strict=True)
        if essence(one) != essence(other)
    ]
