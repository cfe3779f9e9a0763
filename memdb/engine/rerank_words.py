"""Candidates of a question with words, ordered again by late interaction: what the words found still counts.

Late interaction looks at pictures alone.  So it takes the place of the similarity of pictures in the weighted mean of
`memdb.index.fusion`, on the same scale, and what was said, heard and labelled keeps its share.  Ordered by late
interaction alone, a question about what somebody said lost most of what words had found (`python -m bench quality`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from memdb.engine.hybrid import Found
from memdb.engine.rerank import Scored
from memdb.index.fusion import ArmScores, similarities
from memdb.types.arm import VECTOR
from memdb.types.word_question import WordQuestion


@dataclass(frozen=True, slots=True)
class WithWords:
    """Candidates in their new order, and what each arm gave to them."""

    ranked: list[Scored]
    """Best first, each with a score."""
    late: ArmScores
    """Late interaction, of the candidates that have short-term memory: in the place of their similarity."""
    others: tuple[ArmScores, ...]
    """The arms beside it."""
    similarity: tuple[ArmScores, ...]
    """That of pictures, where the question has a feature: of the candidates without short-term memory."""

    def arms(self, row: int) -> tuple[ArmScores, ...]:
        """What adds up to the score of a candidate."""
        pictures = self.similarity if self.late.place(row) is None else (self.late,)
        return (*self.others, *pictures)


def with_words(found: Found, words: WordQuestion, ranked: list[Scored]) -> WithWords:
    """Weigh late interaction among the arms."""
    late = {one.row: one.score for one in ranked if one.score is not None}
    rows = np.array(sorted(late), np.int64)
    raw = np.array([late[row] for row in rows.tolist()], np.float64)
    similarity = tuple(arm for arm in found.arms if arm.name == VECTOR)
    total, share = found.weights, 1.0
    if not similarity:
        # The question has no feature, or gives it no weight: one arm more is asked.
        total += words.weights[VECTOR]
        share = found.weights / total
    weight = words.weights[VECTOR] / total
    arm = ArmScores(VECTOR, weight, rows, raw, similarities(raw))
    others = tuple(
        replace(one, weight=one.weight * share) for one in found.arms if one.name != VECTOR
    )
    told = WithWords([], arm, others, similarity)
    scores = {one.row: min(1.0, _score(told.arms(one.row), one.row)) for one in ranked}
    # Stable: equal ones stay as late interaction had them.
    order = sorted(scores, key=lambda row: -scores[row])
    return replace(told, ranked=[Scored(row, scores[row]) for row in order])


def _score(arms: tuple[ArmScores, ...], row: int) -> float:
    places = ((arm, arm.place(row)) for arm in arms)
    # From 0.0: what no arm found has a score that is a float too.
    return sum((arm.weight * float(arm.scaled[at]) for arm, at in places if at is not None), 0.0)
