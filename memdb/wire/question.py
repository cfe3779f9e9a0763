"""A question to `User.ground` as the bytes of its request.

Most questions differ from the one before in their feature alone.  What they have in common is checked and written
once, and its bytes are put around those of the feature: the user, the feature, the other options, the times.
"""

from __future__ import annotations

from functools import lru_cache
from operator import is_, itemgetter
from typing import Any, Final, Unpack

import numpy as np

from memdb.types.arguments import checked_times
from memdb.types.arrays import VectorLike
from memdb.types.ids import check_id
from memdb.v1 import grounding_service_pb2 as pb
from memdb.wire.arrays import vector_field
from memdb.wire.grounding import GroundArguments, ground_request

_ANY: Final = np.ones(1, np.float32)
"""Stands for a question where there is none yet."""
_FEATURE: Final = pb.GroundRequest.DESCRIPTOR.fields_by_name["question_feature"].number

_TIMES: Final = ("start_ns", "end_ns")
_NOT_REMEMBERED: Final = (
    *("streams", "as_of", "labels", "hours", "weekdays"),
    *("text", "text_feature", "weights", "question_tokens"),
)
"""What may be changed after it was given, or has more to say than its value; and words, with which a question needs
no feature."""
_REMEMBERED: Final = tuple(
    name for name in GroundArguments.__annotations__ if name not in (*_TIMES, *_NOT_REMEMBERED)
)
_remembered_of = itemgetter(*_REMEMBERED)
_others_of = itemgetter(*_NOT_REMEMBERED)
_NONE: Final = (None,) * len(_NOT_REMEMBERED)


def ground_bytes(
    user: str, question_feature: VectorLike | None, **options: Unpack[GroundArguments]
) -> bytes:
    """The request for `User.ground`, serialised; raises `InvalidArgument` as the call would."""
    if type(question_feature) is np.ndarray and all(map(is_, _others_of(options), _NONE)):
        try:
            common = _common(*_remembered_of(options))
        except TypeError:
            pass  # not hashable, so nothing that such an option may be: refused below
        else:
            feature = vector_field(_FEATURE, question_feature, "question_feature")
            start, end = options["start_ns"], options["end_ns"]
            if start is None and end is None:
                return b"".join((_user(user), feature, common))
            start, end = checked_times(start, end)
            times = pb.GroundRequest(start_ns=start, end_ns=end).SerializeToString()
            return b"".join((_user(user), feature, common, times))
    return ground_request(user, question_feature, **options).SerializeToString()


@lru_cache(1024)
def _user(user: str) -> bytes:
    return pb.GroundRequest(user=check_id(user, "user")).SerializeToString()


@lru_cache(256, typed=True)
def _common(*values: Any) -> bytes:
    """What a request says with the options of `_REMEMBERED`, beside its user and its question."""
    options: dict[str, Any] = dict(zip(_REMEMBERED, values, strict=True))
    request = ground_request("any", _ANY, **options)
    request.ClearField("user")
    request.ClearField("question_feature")
    return request.SerializeToString()
