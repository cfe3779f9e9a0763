"""Requests with many questions read without a message, as `memdb.wire.plain_question` reads that of one::

    GroundManyRequest    1 user ┃ 2 question_features ─▶ Matrix  1 rows, 2 dim, 3 f32 ┃ 3 options ┃
    GroundStreamRequest  2 questions ─▶ StreamedQuestion  1 id ┃ 2 question_feature ─▶ Vector  1 f32 or 2 f16

The parser would copy every vector twice, and that nobody has too many fields, or one that we do not know, would be
looked for message by message: where there are these fields and no others, it is seen on the way.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from memdb.errors import MemdbError
from memdb.types.arrays import Array
from memdb.types.limits import QUESTIONS_MAX
from memdb.v1 import grounding_service_pb2 as pb
from memdb.v1 import types_pb2 as types_pb
from memdb.wire.fields import VARINT, BadFields, tag_of, varint
from memdb.wire.groundings import GroundManyArguments, ground_many_arguments, options_from_proto
from memdb.wire.plain_question import OPTIONS_BYTES_MAX, OPTIONS_MAX, elements_at, length_at
from memdb.wire.unknown_fields import check_known

_USER: Final = tag_of(pb.GroundManyRequest.USER_FIELD_NUMBER)
_FEATURES: Final = tag_of(pb.GroundManyRequest.QUESTION_FEATURES_FIELD_NUMBER)
_ROWS: Final = tag_of(types_pb.Matrix.ROWS_FIELD_NUMBER, VARINT)
_DIM: Final = tag_of(types_pb.Matrix.DIM_FIELD_NUMBER, VARINT)
_F32: Final = tag_of(types_pb.Matrix.F32_FIELD_NUMBER)
_QUESTIONS: Final = tag_of(pb.GroundStreamRequest.QUESTIONS_FIELD_NUMBER)
_ID: Final = tag_of(pb.StreamedQuestion.ID_FIELD_NUMBER, VARINT)
_FEATURE: Final = tag_of(pb.StreamedQuestion.QUESTION_FEATURE_FIELD_NUMBER)
_64_BITS: Final = (1 << 64) - 1


class AskedQuestions(NamedTuple):
    """What a request of ``GroundMany`` asks; `User.ground_many` checks what it is given."""

    user: str
    features: Array
    """(questions, dim) float32, as they lie in the request."""
    options: GroundManyArguments
    """Not to be changed: other questions have the same."""


def asked_questions(request: pb.GroundManyRequest) -> AskedQuestions:
    """The questions of a request; raises as `ground_many_arguments`."""
    return AskedQuestions(request.user, *ground_many_arguments(request))


def plain_questions(data: bytes) -> AskedQuestions | None:
    """The questions of a `GroundManyRequest` that is plain, None of any other bytes."""
    try:
        user_end = 2 + data[1]
        if data[0] != _USER or data[1] > 0x7F or data[user_end] != _FEATURES:
            return None
        size, at = length_at(data, user_end + 1)
        end = at + size
        if data[at] != _ROWS:
            return None
        rows, at = length_at(data, at + 1)
        if data[at] != _DIM:
            return None
        dim, at = length_at(data, at + 1)
        if data[at] != _F32:
            return None
        size, at = length_at(data, at + 1)
    except (IndexError, BadFields):
        return None
    user = data[2:user_end]
    if (
        not rows * dim * 4 == size == end - at
        or size == 0
        or end > len(data)
        or len(data) - end > OPTIONS_BYTES_MAX
        or not user.isascii()
    ):
        return None
    options = _remembered(data[end:])
    if options is None:
        return None
    features = np.frombuffer(data, "<f4", rows * dim, at).reshape(rows, dim)
    return AskedQuestions(user.decode("ascii"), features, options)


def forget_options_of_many() -> None:
    """Let go of the options that are remembered: a user that they were of has been erased."""
    _remembered.cache_clear()


@lru_cache(OPTIONS_MAX)
def _remembered(data: bytes) -> GroundManyArguments | None:
    """The options that these bytes are, None where the questions are not plain."""
    try:
        message = pb.GroundManyRequest.FromString(data)
        check_known(message, len(data))
        if message.user or message.HasField("question_features") or message.question_tokens:
            return None
        return {**options_from_proto(message.options), "question_tokens": None, "rerank": 0}
    except (DecodeError, MemdbError):
        return None  # for the parser to say what is wrong


def plain_streamed(data: bytes) -> list[tuple[int, Array]] | None:
    """The ids and the (dim,) features, not checked, of a `GroundStreamRequest` with questions alone; None of any other
    bytes.
    """
    asked: list[tuple[int, Array]] = []
    at, end = 0, len(data)
    try:
        while at < end:
            if data[at] != _QUESTIONS:
                return None
            size, at = length_at(data, at + 1)
            stop = at + size
            number = 0
            if data[at] == _ID:
                number, at = varint(data, at + 1)
            if data[at] != _FEATURE:
                return None
            size, at = length_at(data, at + 1)
            elements = elements_at(data, at, stop)
            if at + size != stop or elements is None or number > _64_BITS:
                return None
            dtype, first, _ = elements
            # A copy: a question that waits shall not hold the whole message.
            asked.append((number, np.frombuffer(data[first:stop], dtype)))
            at = stop
    except (IndexError, BadFields):
        return None
    return asked if 0 < len(asked) <= QUESTIONS_MAX else None
