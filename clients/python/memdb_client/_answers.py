"""Answers to several things at once: one for each, or none of them can be told from another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from memdb.errors import DataLoss

_T = TypeVar("_T")


def one_each(answers: Sequence[_T], asked: int) -> Sequence[_T]:
    """``answers``, of which there are as many as was ``asked`` for; raises `DataLoss` (``BAD_MESSAGE``)."""
    if len(answers) != asked:
        raise DataLoss(
            f"{len(answers)} answers came to {asked}", reason="BAD_MESSAGE", value=len(answers)
        )
    return answers
