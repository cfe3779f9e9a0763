"""Questions as bytes: those that a native edge answers without Python, and the same that it does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from memdb.types.arrays import Array
from memdb.v1 import grounding_service_pb2 as pb
from memdb.v1 import types_pb2

GROUND: Final = "/memdb.v1.GroundingService/Ground"
HANGS_S: Final = 30.0


def plain(user: str, feature: Array, **fields: Any) -> bytes:
    """A question that may be answered without Python."""
    vector = types_pb2.Vector(f32=feature.tobytes())
    return pb.GroundRequest(user=user, question_feature=vector, **fields).SerializeToString()


def for_python(data: bytes) -> bytes:
    """The same question: its user is named twice, which means the last, and no plain question does."""
    return data + data[: 2 + data[1]]


def ask_until(ask: Callable[[], object], told: Callable[[], bool]) -> None:
    """Ask over and over."""
    until = time.monotonic() + HANGS_S
    while not told():
        assert time.monotonic() < until
        ask()
