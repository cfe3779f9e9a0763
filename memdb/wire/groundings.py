"""Questions that are asked together, and their answers.

An answer of many names its clips by their place in one list, since the same few clips answer many
questions: each is coded, sent and read once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Unpack

import numpy as np

from memdb.errors import DataLoss, InvalidArgument
from memdb.types.arrays import Array, RowsLike
from memdb.types.clip import StoredClip
from memdb.types.ground_options import (
    DEFAULTS,
    GroundOptions,
    all_options,
    checked_features,
    checked_rerank,
    checked_tokens,
)
from memdb.types.grounding import Grounding
from memdb.v1 import grounding_service_pb2 as pb
from memdb.wire.arrays import fill_matrix, matrix_elements
from memdb.wire.clips import fill_stored_clip, stored_clip_from_proto
from memdb.wire.grounding import (
    fill_grounding,
    ground_arguments,
    ground_request,
    grounding_from_proto,
)
from memdb.wire.streams import gap_from_proto, gap_to_proto

_ANY: Final = np.ones(1, np.float32)
"""Stands for a question where there is none yet."""
_OF_ONE_QUESTION = (
    *("user", "question_feature", "question_tokens", "rerank"),
    *("text", "fusion", "explain", "cursor"),
)
"""Fields of a request that questions do not have in common."""


def ground_many_request(
    user: str,
    question_features: RowsLike,
    *,
    question_tokens: Sequence[RowsLike] | None = None,
    rerank: int = 0,
    **options: Unpack[GroundOptions],
) -> pb.GroundManyRequest:
    """The request for `User.ground_many`; raises `InvalidArgument` as the call would."""
    features = checked_features(question_features)
    tokens = checked_tokens(question_tokens, len(features))
    rerank = checked_rerank(rerank, has_tokens=tokens is not None)
    request = pb.GroundManyRequest(
        user=user, options=options_to_proto(user, features[0], **options)
    )
    request.options.rerank = rerank
    fill_matrix(request.question_features, features)
    for matrix in tokens or ():
        fill_matrix(request.question_tokens.add(), matrix)
    return request


def halves(
    request: pb.GroundManyRequest,
) -> tuple[pb.GroundManyRequest, pb.GroundManyRequest] | None:
    """The first and the other questions of a request as requests, None of a single one."""
    features = matrix_elements(request.question_features, "question_features")
    half = len(features) // 2
    if half == 0:
        return None
    parts: list[pb.GroundManyRequest] = []
    for place in (slice(half), slice(half, None)):
        part = pb.GroundManyRequest(
            user=request.user,
            options=request.options,
            question_tokens=request.question_tokens[place],
        )
        fill_matrix(part.question_features, features[place])
        parts.append(part)
    return parts[0], parts[1]


class GroundManyArguments(GroundOptions, total=False):
    """Options of `User.ground_many`."""

    question_tokens: Sequence[Array] | None
    rerank: int


def ground_many_arguments(request: pb.GroundManyRequest) -> tuple[Array, GroundManyArguments]:
    """The question features and options of `User.ground_many` that a request carries.

    `User.ground_many` checks their elements.  Raises `InvalidArgument` (``NOT_SHARED``).
    """
    features = matrix_elements(request.question_features, "question_features")
    rerank = request.options.rerank
    request.options.ClearField("rerank")
    tokens = [
        matrix_elements(matrix, f"question_tokens[{place}]")
        for place, matrix in enumerate(request.question_tokens)
    ]
    options = options_from_proto(request.options)
    return features, {**options, "question_tokens": tokens or None, "rerank": rerank}


def stream_start(user: str, **options: Unpack[GroundOptions]) -> pb.GroundStreamRequest:
    """The first message of `User.ground_stream`; raises `InvalidArgument` as the call would."""
    start = pb.GroundStreamStart(user=user, options=options_to_proto(user, _ANY, **options))
    return pb.GroundStreamRequest(start=start)


def options_to_proto(
    user: str, feature: Array, **options: Unpack[GroundOptions]
) -> pb.GroundRequest:
    """The options of questions to come, of which ``feature`` is one."""
    request = ground_request(user, feature, **all_options(options))
    for name in _OF_ONE_QUESTION:
        request.ClearField(name)  # type: ignore[arg-type]  # the stubs want literals
    return request


def options_from_proto(message: pb.GroundRequest) -> GroundOptions:
    """The options of a message; raises `InvalidArgument` (``NOT_SHARED``) for what is one question's."""
    for descriptor, _ in message.ListFields():
        if descriptor.name in _OF_ONE_QUESTION:
            raise InvalidArgument(
                "each question has its own; it is no option of all",
                reason="NOT_SHARED",
                field=f"options.{descriptor.name}",
            )
    message.question_feature.f32 = bytes(4)  # which `ground_arguments` reads with the options
    _, arguments = ground_arguments(message)
    return {name: value for name, value in arguments.items() if name in DEFAULTS}  # type: ignore[return-value]  # its names


def groundings_to_proto(groundings: Sequence[Grounding]) -> pb.GroundManyResponse:
    """Answers of one view as a message."""
    message = pb.GroundManyResponse()
    places: dict[int, int] = {}  # by identity: the engine gives the same clip as the same object

    def put_clip(_: pb.Hit, clip: StoredClip) -> None:
        place = places.get(id(clip))
        if place is None:
            place = places[id(clip)] = len(places)
            fill_stored_clip(message.clips.add(), clip)
        message.hit_clips.append(place)

    gaps = groundings[0].gaps if groundings else ()
    common = all(grounding.gaps == gaps for grounding in groundings)
    if common:
        message.gaps.extend(map(gap_to_proto, gaps))
    for grounding in groundings:
        # In place: an answer that is appended is copied.
        answer = message.answers.add()
        fill_grounding(answer, grounding, put_clip)
        if common:
            answer.ClearField("gaps")
    return message


def groundings_from_proto(
    message: pb.GroundManyResponse, *, tells: bool = True, light: bool = False
) -> list[Grounding]:
    """The answers of a message; raises `DataLoss` (``BAD_MESSAGE``) when it names clips it has not.

    tells, light: as in `grounding_from_proto`.
    """
    clips = [stored_clip_from_proto(clip, light) for clip in message.clips[:]]
    take = _taken(clips, message.hit_clips[:])
    gaps = tuple(map(gap_from_proto, message.gaps[:]))
    return [grounding_from_proto(answer, take, gaps, tells=tells) for answer in message.answers[:]]


def _taken(clips: Sequence[StoredClip], places: Iterable[int]) -> Iterator[StoredClip]:
    """The clips at ``places``; raises `DataLoss` at one where there is none, and behind the last."""
    place = 0
    for place in places:
        if place >= len(clips):
            break
        yield clips[place]
    raise DataLoss("an answer names a clip that did not come", reason="BAD_MESSAGE", value=place)
