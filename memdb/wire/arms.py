"""How a question's arms are fused, and what they gave to a hit."""

from __future__ import annotations

from collections.abc import Mapping

from memdb.types.arm import Arm, ArmMatch
from memdb.types.arrays import Array
from memdb.types.word_question import WordQuestion
from memdb.v1 import grounding_service_pb2 as grounding_pb
from memdb.wire.arrays import fill_vector, vector_elements


def fill_words(
    request: grounding_pb.GroundRequest,
    words: WordQuestion | None,
    weights: Mapping[str, float] | None,
) -> None:
    """Put the words of a question into its request; the weights that the caller gave, unless None."""
    if words is None:
        return
    request.text = words.text
    if words.feature is not None:
        fill_vector(request.fusion.text_feature, words.feature)
    for name in weights or ():
        request.fusion.weights[name] = words.weights[name]


def text_feature_of(request: grounding_pb.GroundRequest) -> Array | None:
    """The text's feature that a request carries."""
    if not request.fusion.HasField("text_feature"):
        return None
    return vector_elements(request.fusion.text_feature, "text_feature")


def weights_of(request: grounding_pb.GroundRequest) -> Mapping[str, float] | None:
    """The weights that a request carries; None where it carries none."""
    return dict(request.fusion.weights) or None


def fill_arms(message: grounding_pb.Hit, arms: tuple[Arm, ...]) -> None:
    """Put what explains a hit into its message."""
    for arm in arms:
        part = message.arms.add(
            name=arm.name, score=arm.score, weight=arm.weight, rank=arm.rank, raw=arm.raw
        )
        for match in arm.matches:
            part.matches.add(
                start_ns=match.start_ns,
                end_ns=match.end_ns,
                index=match.index,
                terms=match.terms,
            )


def arms_from_proto(message: grounding_pb.Hit) -> tuple[Arm, ...]:
    """What explains a hit."""
    return tuple(
        [
            Arm(
                arm.name,
                arm.score,
                arm.weight,
                arm.rank,
                arm.raw,
                tuple(
                    [
                        ArmMatch(match.start_ns, match.end_ns, match.index, tuple(match.terms))
                        for match in arm.matches
                    ]
                ),
            )
            for arm in message.arms
        ]
    )
