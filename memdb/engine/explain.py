"""Saying by which arms a hit was found, and where in its clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from memdb.index.fusion import ArmScores
from memdb.index.terms import asked_terms, terms
from memdb.index.text import spoken
from memdb.types.arm import EVENTS, LABELS, TRANSCRIPT, VECTOR, Arm, ArmMatch
from memdb.types.arrays import Array
from memdb.types.clip import StoredClip

MATCHES_MAX: Final = 8
"""Parts of a clip that one arm names."""
TERMS_MAX: Final = 32
"""Words of the question that one part names."""
TERM_CHARS_MAX: Final = 64


def explain(arms: Sequence[ArmScores], row: int, clip: StoredClip, text: str) -> tuple[Arm, ...]:
    """What every arm that found the row gave to its score, the largest share first."""
    asked = asked_terms(text)
    given: list[Arm] = []
    for arm in arms:
        place = arm.place(row)
        if place is None:
            continue
        part = None if arm.parts is None else int(arm.parts[place])
        given.append(
            Arm(
                arm.name,
                float(arm.scaled[place]),
                arm.weight,
                arm.rank(place),
                float(arm.raw[place]),
                _matches(arm.name, clip, asked, part),
            )
        )
    return tuple(sorted(given, key=lambda arm: -arm.weight * arm.score))


def explain_similarity(scores: Array, place: int, rank: int | None = None) -> tuple[Arm, ...]:
    """What the one arm of a question without words found; ``rank``: None where ``scores`` are the best."""
    score = float(scores[place])
    if rank is None:
        better, equal = scores > scores[place], scores[:place] == scores[place]
        rank = int(better.sum()) + int(equal.sum()) + 1
    return (Arm(VECTOR, score, 1.0, rank, score),)


def _matches(
    name: str, clip: StoredClip, asked: dict[str, str], part: int | None
) -> tuple[ArmMatch, ...]:
    if name == VECTOR:
        return ()
    parts: list[tuple[int, int, str]]
    if name == EVENTS:
        parts = [(event.start_ns, event.end_ns, event.label) for event in clip.events]
    elif name == LABELS:
        labels = sorted(clip.labels.items())
        parts = [(clip.start_ns, clip.end_ns, f"{key} {value}") for key, value in labels]
    else:
        parts = [
            (said.start_ns, said.end_ns, spoken(said.text, said.speaker))
            for said in clip.transcript
        ]
    if name not in (EVENTS, LABELS, TRANSCRIPT):
        return tuple(
            ArmMatch(start, end, index)
            for index, (start, end, _) in enumerate(parts)
            if index == part
        )
    found = [
        (index, ArmMatch(start, end, index, common))
        for index, (start, end, text) in enumerate(parts)
        if (common := _common(asked, text))
    ]
    # First the part that the score is of, then those with most of the question.
    found.sort(key=lambda one: (one[0] != part, -len(one[1].terms), one[0]))
    return tuple(match for _, match in found[:MATCHES_MAX])


def _common(asked: dict[str, str], text: str) -> tuple[str, ...]:
    there = set(terms(text))
    words = [word[:TERM_CHARS_MAX] for term, word in asked.items() if term in there]
    return tuple(words[:TERMS_MAX])
