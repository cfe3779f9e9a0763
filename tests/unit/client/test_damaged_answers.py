"""Answers whose bytes, or whose number, are wrong are damage, not a fault of the caller."""

from __future__ import annotations

from concurrent import futures
from typing import Any

import grpc
import numpy as np
import pytest

from memdb import Clip
from memdb.codecs.tensors import encode_tensor
from memdb.errors import DataLoss
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import types_pb2 as pb
from memdb.wire.arrays import tensor_to_proto
from memdb_client import User
from tests.unit.client.conftest import Connect


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


def test_fewer_answers_than_questions(connect_to: Connect) -> None:
    def nothing(_data: bytes, _context: Any) -> bytes:
        return b""

    def none(_data: bytes, _context: Any) -> Any:
        return iter(())

    clips: dict[str, Any] = {
        "WriteClips": grpc.unary_unary_rpc_method_handler(nothing),
        "GetClips": grpc.unary_stream_rpc_method_handler(none),
        "GetShortMemory": grpc.unary_stream_rpc_method_handler(none),
    }
    groundings: dict[str, Any] = {"GroundMany": grpc.unary_unary_rpc_method_handler(nothing)}
    services = {"ClipService": clips, "GroundingService": groundings}
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(f"memdb.v1.{name}", methods)
            for name, methods in services.items()
        ]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    vector = np.ones(4, np.float32)
    try:
        with connect_to(f"127.0.0.1:{port}", timeout_s=5.0) as db:
            user = db.user("u")
            door = user.stream("door", space="s")
            clip = Clip(seq=0, start_ns=0, end_ns=1, global_memory=vector)
            for call in (
                lambda: door.write(clip),
                lambda: door.write_many([clip]),
                lambda: user.get_clips(["0" * 32]),
                lambda: user.short_memory(["0" * 32]),
                lambda: user.ground_many(np.stack([vector] * 2)),
            ):
                with pytest.raises(DataLoss, match="BAD_MESSAGE"):
                    call()
    finally:
        server.stop(None).wait(10)
