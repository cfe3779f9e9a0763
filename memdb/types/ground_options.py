"""What several questions that are asked together have in common: the options of `User.ground`, but what
belongs to one question alone (its feature, its tokens, and re-ranking by them).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypedDict

import numpy as np

from memdb.errors import InvalidArgument
from memdb.types.arrays import Array, as_tokens
from memdb.types.calendar import HourOfDay, Weekday
from memdb.types.checks import check_int
from memdb.types.grounding import AsOf
from memdb.types.label_filter import WantedLabels
from memdb.types.limits import LIMIT_MAX, QUESTIONS_MAX, STREAMS_FILTER_MAX
from memdb.types.times import Time


class GroundOptions(TypedDict, total=False):
    """Options of `User.ground_many` and `User.ground_stream`; each means what it means in `User.ground`.

    Those that a question in words has are not among them.
    """

    limit: int
    streams: Sequence[str] | None
    start_ns: Time | None
    end_ns: Time | None
    as_of: AsOf | None
    min_score: float | None
    policy: str
    with_short_memory: bool
    fallback: str
    space: str | None
    min_revision: int | None
    min_relevance: float | None
    hours: Iterable[Sequence[HourOfDay]] | None
    weekdays: Iterable[Weekday] | None
    zone: str | None
    labels: WantedLabels | None
    with_coverage: bool
    weighting: str
    exact: bool
    with_global_memory: bool
    with_keyframes: bool


_FEATURES: Final = "question_features"

DEFAULTS: Final = GroundOptions(
    limit=4,
    streams=None,
    start_ns=None,
    end_ns=None,
    as_of=None,
    min_score=None,
    policy="top",
    with_short_memory=False,
    fallback="none",
    space=None,
    min_revision=None,
    min_relevance=None,
    hours=None,
    weekdays=None,
    zone=None,
    labels=None,
    with_coverage=False,
    weighting="idf",
    exact=False,
    with_global_memory=True,
    with_keyframes=True,
)
"""As in `User.ground`."""


def all_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the defaults of what was not given; `TypeError` for what is none, as of any call."""
    for name in given:
        if name not in DEFAULTS:
            raise TypeError(f"unexpected option {name!r}: questions together have no such option")
    once = {
        # What can be gone through once alone is asked of every group of a stream; one more than are taken.
        name: tuple(islice(value, STREAMS_FILTER_MAX + 1))
        for name, value in given.items()
        if isinstance(value, Iterator)
    }
    return {**DEFAULTS, **given, **once}


def checked_features(question_features: object) -> Array:
    """``question_features`` as a finite (questions, dim) float32 or float16 array.

    Raises `InvalidArgument` as `memdb.types.arrays.as_tokens`, of what is not finite naming the question, and
    (``TOO_LARGE``) above `QUESTIONS_MAX`.
    """
    try:
        features = as_tokens(question_features, _FEATURES)
    except InvalidArgument as error:
        if error.reason != "NOT_FINITE":
            raise
        raise _not_finite(question_features) from None
    if len(features) > QUESTIONS_MAX:
        raise InvalidArgument(
            f"more than {QUESTIONS_MAX} questions",
            reason="TOO_LARGE",
            field=_FEATURES,
            value=len(features),
        )
    return features


def _not_finite(question_features: object) -> InvalidArgument:
    """Of the first question that has such an element."""
    with np.errstate(over="ignore"):
        finite = np.isfinite(np.asarray(question_features, np.float32)).all(axis=1)
    return InvalidArgument(
        "array has NaN or infinite elements",
        reason="NOT_FINITE",
        field=f"{_FEATURES}[{int(np.argmin(finite))}]",
    )


def checked_tokens(question_tokens: object, questions: int) -> list[Array] | None:
    """The (tokens, dim) array of each question, None where there are none.

    Raises `InvalidArgument` (``BAD_SHAPE``) unless there is one for each, and as
    `memdb.types.arrays.as_tokens` naming its place.
    """
    if question_tokens is None:
        return None
    if (
        not isinstance(question_tokens, (Sequence, np.ndarray))
        or isinstance(question_tokens, str)
        or (isinstance(question_tokens, np.ndarray) and question_tokens.ndim == 0)
    ):
        raise InvalidArgument(
            "expected an array for each question",
            reason="BAD_DTYPE",
            field="question_tokens",
            value=type(question_tokens).__name__,
        )
    if len(question_tokens) != questions:
        raise InvalidArgument(
            f"expected an array for each of {questions} questions",
            reason="BAD_SHAPE",
            field="question_tokens",
            value=len(question_tokens),
        )
    return [
        as_tokens(tokens, f"question_tokens[{place}]")
        for place, tokens in enumerate(question_tokens)
    ]


def checked_rerank(rerank: int, *, has_tokens: bool) -> int:
    """How many candidates are re-ranked; raises `InvalidArgument` as `User.ground`."""
    rerank = check_int(rerank, "rerank", 0, LIMIT_MAX)
    if rerank and not has_tokens:
        raise InvalidArgument(
            "rerank needs question_tokens", reason="TOKENS_REQUIRED", field="rerank", value=rerank
        )
    return rerank
