"""Answers whose bytes are wrong are damage, not a fault of the caller."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memdb.codecs.tensors import encode_tensor
from memdb.errors import DataLoss
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import types_pb2 as pb
from memdb.wire.arrays import tensor_to_proto
from memdb_client import User


class Answering:
    """A connection over which short-term memory comes changed."""

    def __init__(self, **changes: Any) -> None:
        message = tensor_to_proto(encode_tensor(np.ones((4, 8), np.float16)))
        for name, value in changes.items():
            setattr(message, name, value)
        self._message: pb.Tensor = message
        self.clips = self

    GetShortMemory = None

    def collect(self, _method: Any, _request: Any) -> list[clip_pb.GetShortMemoryResponse]:
        return [clip_pb.GetShortMemoryResponse(short_memory=self._message)]


@pytest.mark.parametrize(
    "changes", [{"payload": bytes(64)}, {"checksum": 1}, {"codec": 99}, {"payload": b""}]
)
def test_short_memory_that_came_changed(changes: dict[str, Any]) -> None:
    connection: Any = Answering(**changes)
    with pytest.raises(DataLoss):
        User(connection, "alice").short_memory(["a" * 32])


def test_short_memory_that_came_whole() -> None:
    connection: Any = Answering()
    (array,) = User(connection, "alice").short_memory(["a" * 32])
    assert array.tolist() == np.ones((4, 8)).tolist()
