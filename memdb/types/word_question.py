"""The words of a question to `ground`, as its callers give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from memdb.errors import InvalidArgument
from memdb.types.arm import ARM_WEIGHTS, TRANSCRIPT_FEATURES
from memdb.types.arrays import Array, VectorLike, as_vector
from memdb.types.checks import check_number, check_text
from memdb.types.grounding import TOKENS_POLICY

WEIGHT_MAX = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class WordQuestion:
    """What is asked in words, and how the arms are weighed."""

    text: str
    feature: Array | None
    """(dim,) of the text in the user's text space."""
    weights: Mapping[str, float]
    """Of every arm; at least one is above 0."""


def wants_text_feature(
    text: str | None, question_feature: object, weights: Mapping[str, float] | None
) -> bool:
    """Whether a feature of the text is worth making: not where no arm would look at it."""
    if text is None:
        return False
    ignored = isinstance(weights, Mapping) and weights.get(TRANSCRIPT_FEATURES) == 0
    return question_feature is None or not ignored


def checked_word_question(
    text: str | None,
    text_feature: VectorLike | None,
    weights: Mapping[str, float] | None,
    policy: str,
    question_feature: object,
) -> WordQuestion | None:
    """The words, or None for a question without; raises `InvalidArgument` naming the field."""
    if text is None:
        if isinstance(question_feature, str):
            raise InvalidArgument(
                "a question in words is asked by text=..., a question feature is an array",
                reason="BAD_DTYPE",
                field="question_feature",
                value=type(question_feature).__name__,
            )
        if question_feature is None and policy != TOKENS_POLICY:
            raise InvalidArgument(
                "a question has a feature, a text, or both",
                reason="QUESTION_REQUIRED",
                field="question_feature",
            )
        for field, value in (("text_feature", text_feature), ("weights", weights)):
            if value is not None:
                raise InvalidArgument(f"{field} needs text", reason="TEXT_REQUIRED", field=field)
        return None
    check_text(text, "text")
    if policy != "top":
        raise InvalidArgument(
            "the published policies compare cosines alone; a question with text takes top",
            reason="BAD_POLICY",
            field="policy",
            value=policy,
        )
    feature = None if text_feature is None else as_vector(text_feature, "text_feature")
    return WordQuestion(text, feature, checked_weights(weights))


def checked_weights(weights: Mapping[str, float] | None) -> Mapping[str, float]:
    """The weight of every arm: those given, and those of `ARM_WEIGHTS` for the others."""
    if weights is None:
        return ARM_WEIGHTS
    if not isinstance(weights, Mapping):
        raise InvalidArgument(
            "weights are a mapping of arms to numbers",
            reason="BAD_TYPE",
            field="weights",
            value=type(weights).__name__,
        )
    checked = dict(ARM_WEIGHTS)
    for name, weight in weights.items():
        if not isinstance(name, str) or name not in ARM_WEIGHTS:
            raise InvalidArgument(
                f"the arms are {', '.join(ARM_WEIGHTS)}",
                reason="BAD_ARM",
                field="weights",
                value=name,
            )
        checked[name] = check_number(weight, f"weights[{name}]", 0.0, WEIGHT_MAX)
    if not any(checked.values()):
        raise InvalidArgument(
            "at least one arm has a weight above 0",
            reason="OUT_OF_RANGE",
            field="weights",
            value=dict(weights),
        )
    return MappingProxyType(checked)
