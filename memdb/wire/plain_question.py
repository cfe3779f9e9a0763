"""A question's request read without a message: the user, a feature, and options that came before.

Nearly all requests of `Ground` are the same but for the feature, so what is small is remembered by its bytes, and what
is large is only pointed at::

    GroundRequest  1 user ┃ 2 question_feature ─▶ Vector  1 f32 or 2 f16 ┃ 3 … all others: the options

Whatever is not laid out so (another library may write fields in another order), or is more than a plain question, is
left to the parser and its checks: nothing is refused here, and nothing is taken for plain that they would refuse.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from memdb.errors import MemdbError
from memdb.types.arrays import Array
from memdb.v1 import grounding_service_pb2 as pb
from memdb.v1 import types_pb2 as types_pb
from memdb.wire.fields import VARINT, BadFields, fields, tag_of, varint
from memdb.wire.grounding import GroundArguments, ground_arguments
from memdb.wire.unknown_fields import check_known

OPTIONS_BYTES_MAX: Final = 128
"""Of the options of a plain question; usual ones take some twenty."""
OPTIONS_MAX: Final = 256
"""So many different ones are remembered: all that the programs of a server ask by, but for times."""
_LENGTH_BYTES_MAX: Final = 5
"""In which the parser takes a length."""

_USER: Final = tag_of(pb.GroundRequest.USER_FIELD_NUMBER)
_FEATURE: Final = tag_of(pb.GroundRequest.QUESTION_FEATURE_FIELD_NUMBER)
_F32: Final = tag_of(types_pb.Vector.F32_FIELD_NUMBER)
_F16: Final = tag_of(types_pb.Vector.F16_FIELD_NUMBER)
_DTYPE_F32: Final[np.dtype[Any]] = np.dtype("<f4")
_DTYPE_F16: Final[np.dtype[Any]] = np.dtype("<f2")
_START: Final = tag_of(pb.GroundRequest.START_NS_FIELD_NUMBER, VARINT)
_END: Final = tag_of(pb.GroundRequest.END_NS_FIELD_NUMBER, VARINT)
_TIMES: Final = {_START: "start_ns", _END: "end_ns"}
_START_BYTE, _END_BYTE = bytes((_START,)), bytes((_END,))
NOT_PLAIN: Final = frozenset(
    (
        *("question_tokens", "text", "hours", "weekdays", "zone"),
        *("as_of", "cursor", "min_revision"),
    )
)
"""Options of which any makes a question more than plain: a moment or a page is looked for, or there is more to search
than vectors.  What the native edge answers is less: see `memdb.server.shelf`."""
_64_BITS: Final = (1 << 64) - 1


class AskedQuestion(NamedTuple):
    """What a request asks; `User.ground` checks what it is given."""

    user: str
    feature: Array | None
    """(dim,) float32 or float16, as it lies in the request."""
    options: GroundArguments
    """Without those that have their defaults.  Not to be changed: other questions have the same."""
    is_plain: bool
    """Whether there are a feature and none of `NOT_PLAIN`."""


def asked_question(request: pb.GroundRequest) -> AskedQuestion:
    """The question of a request; raises as `ground_arguments`."""
    feature, options = ground_arguments(request)
    is_plain = feature is not None and NOT_PLAIN.isdisjoint(options)
    return AskedQuestion(request.user, feature, options, is_plain)


def plain_question(data: bytes) -> AskedQuestion | None:
    """The question of a `GroundRequest` that is plain, None of any other bytes."""
    try:
        user_end = 2 + data[1]
        if data[0] != _USER or data[1] > 0x7F or data[user_end] != _FEATURE:
            return None
        size, begin = length_at(data, user_end + 1)
    except (IndexError, BadFields):
        return None
    options_at = begin + size
    elements = elements_at(data, begin, options_at)
    user = data[2:user_end]
    if elements is None or len(data) - options_at > OPTIONS_BYTES_MAX or not user.isascii():
        return None
    options_bytes = data[options_at:]
    if _START_BYTE in options_bytes or _END_BYTE in options_bytes:
        options = _with_times(options_bytes)
    else:
        options = _remembered(options_bytes)
    if options is None:
        return None
    dtype, at, count = elements
    return AskedQuestion(user.decode("ascii"), np.frombuffer(data, dtype, count, at), options, True)


def elements_at(data: bytes, begin: int, end: int) -> tuple[np.dtype[Any], int, int] | None:
    """The dtype of a `Vector` between ``begin`` and ``end``, where its elements begin and how many they are.

    None where it has none, or is anything else than one field with whole elements.
    """
    try:
        tag = data[begin]
        size, at = length_at(data, begin + 1)
    except (IndexError, BadFields):
        return None
    if size == 0 or at + size != end or end > len(data):
        return None
    if tag == _F32:
        return None if size % 4 else (_DTYPE_F32, at, size >> 2)
    if tag == _F16:
        return None if size % 2 else (_DTYPE_F16, at, size >> 1)
    return None


def length_at(data: bytes, at: int) -> tuple[int, int]:
    """The length at ``at`` and where it ends; raises `BadFields` where the parser takes none, `IndexError`."""
    low = data[at]
    if low < 0x80:
        return low, at + 1
    high = data[at + 1]
    if high < 0x80:  # as of nearly all features
        return high << 7 | low & 0x7F, at + 2
    size, end = varint(data, at)
    if end - at > _LENGTH_BYTES_MAX:
        raise BadFields
    return size, end


def _with_times(data: bytes) -> GroundArguments | None:
    """`_remembered`, of options among which there may be times: they differ from question to question, and what
    else is asked for does not.
    """
    times = GroundArguments()
    others: list[bytes] = []
    try:
        for tag, begin, first, end in fields(data, 0, len(data)):
            name = _TIMES.get(tag)
            if name is None or first - begin > 1:
                others.append(data[begin:end])
                continue
            value, _ = varint(data, first)
            if value > _64_BITS:
                return None
            times[name] = (value >> 1) ^ -(value & 1)  # type: ignore[literal-required]  # its names
    except BadFields:
        return None
    options = _remembered(b"".join(others))
    return None if options is None else {**options, **times}


def forget_options() -> None:
    """Let go of the options that are remembered: a user that they were of has been erased."""
    _remembered.cache_clear()


@lru_cache(OPTIONS_MAX)
def _remembered(data: bytes) -> GroundArguments | None:
    """The options that these bytes are, None where the question is not plain."""
    try:
        message = pb.GroundRequest.FromString(data)
        check_known(message, len(data))
        asked = asked_question(message)
    except (DecodeError, MemdbError):
        return None  # for the parser to say what is wrong
    if pb.GroundRequest.FromString(b"\n\x01-" + data).user != "-":
        return None  # a second user, an empty one too
    if asked.user or asked.feature is not None or not NOT_PLAIN.isdisjoint(asked.options):
        return None  # fields that stand there a second time say something else
    return asked.options
