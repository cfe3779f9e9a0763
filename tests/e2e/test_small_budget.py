"""A server that is given little room: who pushes is refused, and nobody's connection ends for it."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from memdb.errors import ResourceExhausted
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import user_service_pb2 as user_pb
from memdb.v1.user_service_pb2_grpc import UserServiceStub
from memdb.wire.clips import clip_to_proto
from tests.both_edges import KINDS
from tests.e2e.serving import DIM, clip, error_of, serving

pytestmark = pytest.mark.e2e

MESSAGE_BYTES_MAX = 1 << 20
QUIET, LOUD, WRITES = 24, 16, 6
OWN = [("grpc.use_local_subchannel_pool", 1)]


@pytest.mark.parametrize("edge", KINDS)
def test_who_pushes_is_refused_and_others_keep_their_connections(tmp_path: Path, edge: str) -> None:
    large = clip(0, keyframes=(b"x" * (MESSAGE_BYTES_MAX - 10_000),))
    request = clip_pb.WriteClipsRequest(
        user="loud", stream="cam", space="p", clips=[clip_to_proto(large)]
    ).SerializeToString()
    limits = {"message_bytes_max": MESSAGE_BYTES_MAX, "bytes_in_flight_max": 2 * MESSAGE_BYTES_MAX}
    left: list[grpc.ChannelConnectivity] = []
    failed: list[Exception] = []
    with serving(tmp_path / "db", edge=edge, **limits) as served, ExitStack() as stack:
        served.database.create_space("p", dim=DIM)
        served.database.user("quiet").put("n", 1)
        asked = user_pb.GetUserRequest(user="quiet")
        quiet: list[Any] = []
        for _ in range(QUIET):
            channel = stack.enter_context(grpc.insecure_channel(served.address, options=OWN))
            quiet.append(UserServiceStub(channel))
            assert quiet[-1].GetUser(asked, timeout=30).revision
            channel.subscribe(
                lambda state: (
                    left.append(state) if state is not grpc.ChannelConnectivity.READY else None
                )
            )

        def push() -> None:
            with grpc.insecure_channel(served.address, options=OWN) as channel:
                write: Any = channel.unary_unary("/memdb.v1.ClipService/WriteClips")
                for _ in range(WRITES):
                    try:
                        write(request, timeout=60)
                    except grpc.RpcError as error:
                        refused = error_of(error)
                        if not isinstance(refused, ResourceExhausted) or not refused.request_id:
                            failed.append(refused)

        threads = [threading.Thread(target=push) for _ in range(LOUD)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for one in quiet:
            assert one.GetUser(asked, timeout=30).revision
        assert left == []
    assert failed == []
