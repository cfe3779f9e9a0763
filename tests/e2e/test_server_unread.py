"""Answers that nobody reads: bounded, of who asked for them, and in nobody's way."""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from memdb.server.logs import configure_logging
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import grounding_service_pb2 as grounding_pb
from memdb.v1 import user_service_pb2 as user_pb
from memdb.v1.clip_service_pb2_grpc import ClipServiceStub
from memdb.wire.arrays import vector_to_proto
from memdb.wire.clips import clip_to_proto
from memdb.wire.groundings import stream_start
from memdb_client import connect
from tests.e2e.serving import DIM, clip, error_of, serving, vector
from tests.e2e.unread import Unread

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("method", ["ClipService/GetClip", "ClipService/ListClips"])
def test_answers_that_nobody_reads_are_bounded(tmp_path: Path, method: str) -> None:
    options = {"message_bytes_max": 4 << 20, "bytes_in_flight_max": 16 << 20}
    with serving(tmp_path / "db", **options) as served:
        served.database.create_space("p", dim=DIM)
        cam = served.database.user("u").stream("cam", space="p")
        ack = cam.write(clip(0, keyframes=(b"x" * 1_000_000,) * 2))
        request: Message = clip_pb.GetClipRequest(user="u", clip_id=ack.clip_id)
        unread = clip_pb.ListClipsRequest(user="u") if method.endswith("ListClips") else request
        peer = Unread(served.address)
        for _ in range(20):
            peer.ask(method, unread)
        budget = served.server._resources.budget
        deadline = time.monotonic() + 20
        while budget.answers < 6_000_000 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert 6_000_000 <= budget.answers <= 8 << 20
        with pytest.raises(grpc.RpcError) as caught:
            served.clips.GetClip(request, timeout=10)
        assert error_of(caught.value).reason == "OVERLOADED"
        # Small answers go on.
        assert served.users.GetUser(user_pb.GetUserRequest(user="u"), timeout=10).revision
        peer.close()
        while budget.answers and time.monotonic() < deadline:
            time.sleep(0.02)
        assert served.clips.GetClip(request, timeout=10).clip.id == ack.clip_id
        while budget.answers and time.monotonic() < deadline:
            time.sleep(0.02)
        assert budget.answers == 0


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What a server writes into its log."""
    root, of_grpc = logging.getLogger(), logging.getLogger("grpc._cython.cygrpc")
    handlers, level, filters = root.handlers[:], root.level, of_grpc.filters[:]
    of_asyncio = logging.getLogger("asyncio").level
    text = io.StringIO()
    configure_logging("info", text)
    yield text
    root.handlers[:], of_grpc.filters[:] = handlers, filters
    root.setLevel(level)
    logging.getLogger("asyncio").setLevel(of_asyncio)


def test_a_caller_who_leaves_is_no_error_of_ours(tmp_path: Path, logged: io.StringIO) -> None:
    with serving(tmp_path / "db") as served:
        served.database.create_space("p", dim=DIM)
        cam = served.database.user("u").stream("cam", space="p")
        ack = cam.write(clip(0, keyframes=(b"x" * 1_000_000,)))
        peer = Unread(served.address)
        peer.ask("ClipService/GetClip", clip_pb.GetClipRequest(user="u", clip_id=ack.clip_id))
        budget = served.server._resources.budget
        deadline = time.monotonic() + 20
        while not budget.answers:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        peer.close()
        while budget.answers:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert "ExecuteBatchError" not in logged.getvalue()
    logging.getLogger("grpc._cython.cygrpc").error("anything else")
    assert "anything else" in logged.getvalue()


def test_small_answers_that_nobody_reads_are_calls_of_who_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They fill no budget, but stay with gRPC, which lets in so many for all together."""
    monkeypatch.setattr("memdb.server.app.HEALTH_CALLS_MAX", 8)
    monkeypatch.setattr("memdb.server.app.REFUSED_MAX", 32)
    with serving(tmp_path / "db", calls_max=16) as served:
        for user in "uv":
            served.database.user(user).put("k", "v")
        peer = Unread(served.address)
        for _ in range(80):
            peer.ask("UserService/GetUser", user_pb.GetUserRequest(user="u"))
        open_calls = served.server._resources.open_calls
        deadline = time.monotonic() + 20
        while open_calls.open < 12:  # three quarters
            assert time.monotonic() < deadline, open_calls.open
            time.sleep(0.02)
        # While those that are refused are on their way, gRPC may be full.
        while True:
            with suppress(grpc.RpcError):
                assert served.users.GetUser(user_pb.GetUserRequest(user="v"), timeout=10).revision
                break
            assert time.monotonic() < deadline
            time.sleep(0.02)
        peer.close()
        while open_calls.open:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_answers_of_streams_are_bytes_of_the_user_they_are_for(tmp_path: Path) -> None:
    """Those that one user does not read leave room for another's."""
    options = {"message_bytes_max": 4 << 20, "bytes_in_flight_max": 16 << 20}
    with serving(tmp_path / "db", **options) as served:
        served.database.create_space("p", dim=DIM)
        for user in ("stuck", "other"):
            cam = served.database.user(user).stream("cam", space="p")
            cam.write(clip(0, keyframes=(b"x" * 1_000_000,) * 2))
        questions = grounding_pb.GroundStreamRequest()
        questions.questions.add(question_feature=vector_to_proto(vector(1)))
        peer = Unread(served.address)
        for _ in range(4):
            peer.ask("GroundingService/GroundStream", stream_start("stuck"), questions)
        budget = served.server._resources.budget
        deadline = time.monotonic() + 20
        while budget.answers < 6_000_000:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with connect(served.address, timeout_s=10) as db:
            (answer,) = db.user("other").ground_stream([vector(1)])
            assert len(answer.hits) == 1
        peer.close()


async def sends_unread(address: str, stream: str, sent: asyncio.Event) -> grpc.StatusCode:
    """How an ingest ends that sends all it may and reads no acknowledgement until ``sent`` is set."""
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        # What it has room for, of answers that it does not ask for.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 16),
    ]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub: Any = ClipServiceStub(channel)
        call = stub.IngestClips()
        start = clip_pb.IngestStart(user="stuck", stream=stream, space="p")
        await call.write(clip_pb.IngestClipsRequest(start=start))
        await call.read()

        async def write() -> None:
            with suppress(grpc.RpcError):
                for seq in range(12):
                    frames = (b"x" * (1_000_000 if seq else 1),) * 2
                    message = clip_to_proto(clip(seq, keyframes=frames))
                    await call.write(clip_pb.IngestClipsRequest(clips=[message]))
                await call.done_writing()  # or one that is let go on would never end

        writing = asyncio.create_task(write())
        await sent.wait()
        with suppress(grpc.RpcError):
            while await call.read() is not grpc.aio.EOF:
                pass
        writing.cancel()
        await asyncio.wait([writing])
        code: grpc.StatusCode = await call.code()
        return code


async def test_acknowledgements_that_nobody_reads_hold_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither another user, nor other cameras of the same one."""
    monkeypatch.setattr("memdb.server.budget.UNREAD_S", 0.2)
    monkeypatch.setattr("memdb.server.budget.LOOK_S", 0.05)
    options = {"message_bytes_max": 4 << 20, "bytes_in_flight_max": 16 << 20}
    with serving(tmp_path / "db", **options) as served:
        served.database.create_space("p", dim=DIM)
        budget = served.server._resources.budget
        sent = asyncio.Event()
        stuck = [
            asyncio.create_task(sends_unread(served.address, f"cam{number}", sent))
            for number in range(4)
        ]
        deadline = time.monotonic() + 20
        while budget.used < 4_000_000:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

        def writes(user: str) -> int:
            with connect(served.address, timeout_s=20) as db:
                writer = db.user(user).stream("front", space="p").ingest()
                for seq in range(4):
                    writer.send(clip(seq, keyframes=(b"x" * 900_000,)))
                return len(writer.flush())

        assert await asyncio.to_thread(writes, "other") == 4
        assert await asyncio.to_thread(writes, "stuck") == 4
        sent.set()
        # Who reads on after all is told, and may send the rest again; what is told to one that sends just then
        # is lost in gRPC (`memdb_client._options.STATUS_LOST`).
        codes = await asyncio.wait_for(asyncio.gather(*stuck), 20)
        assert {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL}.intersection(codes)
        while budget.used:
            assert time.monotonic() < deadline + 20
            await asyncio.sleep(0.01)
