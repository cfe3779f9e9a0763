"""A stream of questions in this process: answered as they come, in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np

from memdb.errors import InvalidArgument
from memdb.types.arrays import Array, VectorLike
from memdb.types.checks import check_iterable
from memdb.types.grounding import Grounding
from memdb.types.questions import checked_feature, field_of, group_size

AskTogether = Callable[[Array], list[Grounding]]
"""Answers (n, dim) question features; raises for all when one is at fault."""


def answers(question_features: Iterable[VectorLike], ask: AskTogether) -> Iterator[Grounding]:
    """The answer to each question; the questions before one at fault are answered before its error.

    Raises as `ask`, naming the question by its place in the stream.
    """
    size = group_size(question_features)
    coming = iter(check_iterable(question_features, "question_features"))
    place = 0
    while group := list(islice(coming, size)):
        try:
            features = [checked_feature(one, place + n) for n, one in enumerate(group)]
            together = ask(np.stack(features))
        except (InvalidArgument, ValueError):  # the latter where their dimensions differ
            yield from _one_by_one(group, place, ask)
        else:
            yield from together
        place += len(group)


def _one_by_one(group: list[VectorLike], place: int, ask: AskTogether) -> Iterator[Grounding]:
    for number, one in enumerate(group, place):
        try:
            (answer,) = ask(checked_feature(one, number)[np.newaxis])
        except InvalidArgument as error:
            raise named(error, number) from None
        yield answer


def named(error: InvalidArgument, place: int) -> InvalidArgument:
    """The error of a question that was asked alone, naming its place in the stream."""
    if error.field != field_of(0):
        return error
    other = InvalidArgument(error.message, reason=error.reason, field=field_of(place))
    other.value = error.value
    return other
