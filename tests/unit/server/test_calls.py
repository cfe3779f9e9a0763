"""The wrapper around every call, with services that fail in every way."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from memdb.config import ServerConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.errors import InvalidArgument, MemdbError, NotFound
from memdb.server.calls import Calls
from memdb.server.methods import commits
from memdb.server.resources import Resources
from memdb.v1 import database_service_pb2 as db_pb
from memdb.v1 import types_pb2, user_service_pb2
from memdb.v1.user_service_pb2_grpc import UserServiceStub
from memdb.wire.status import error_from_call
from tests.both_edges import KINDS, edge_of

SECRET = "secret-path"


class Everything:
    """Stands in for UserService; every way of writing a method occurs."""

    async def get_user(self, request: Any) -> Any:
        return user_service_pb2.GetUserResponse(revision=7)

    def list_users(self, request: Any) -> Any:
        raise RuntimeError(SECRET)

    async def configure_user(self, request: Any) -> Any:
        raise RuntimeError(SECRET)

    @commits
    def erase_user(self, request: Any) -> Any:
        raise NotFound("no such user", reason="USER_NOT_FOUND", field="user", value=request.user)

    @commits
    def erase_clips(self, request: Any) -> Any:
        raise NotFound("no such clip", reason="CLIP_NOT_FOUND", field="clip_ids[0]")

    @commits
    def set_retention(self, request: Any) -> Any:
        return user_service_pb2.SetRetentionResponse()

    def get_retention(self, request: Any) -> Any:
        return user_service_pb2.GetRetentionResponse()

    def create_stream(self, request: Any) -> Any:
        stream = types_pb2.StreamInfo(name="x" * 2000)
        return user_service_pb2.CreateStreamResponse(stream=stream)

    def list_streams(self, request: Any) -> Any:
        return object()

    def create_snapshot(self, request: Any) -> Any:
        raise MemoryError

    def list_snapshots(self, request: Any) -> Iterator[Any]:
        raise StopIteration

    def compact_user(self, request: Any) -> Any:
        return user_service_pb2.CompactUserResponse()

    def release_snapshot(self, request: Any) -> Any:
        raise SystemError("\n" * 10_000)

    def watch_user(self, request: Any) -> Iterator[Any]:
        yield user_service_pb2.WatchUserResponse()
        yield user_service_pb2.WatchUserResponse(changes=[user_service_pb2.Change(revision=1)])
        if request.user:
            raise RuntimeError(SECRET)


@pytest.fixture(params=KINDS)
async def channel(
    tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[grpc.aio.Channel]:
    database = EmbeddedDatabase(tmp_path / "db")
    config = ServerConfig(read_threads=2, write_threads=2, message_bytes_max=1000)
    resources = Resources.make(database, config)
    calls = Calls(resources)
    service = user_service_pb2.DESCRIPTOR.services_by_name["UserService"]
    server = edge_of(request.param, calls.handlers(service, Everything()))
    port = server.bind("127.0.0.1:0", None)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(0)
    resources.pools.shutdown()
    database.close()


async def failure(call: Any) -> tuple[MemdbError, grpc.aio.AioRpcError]:
    """The error that a call ends with, and what carried it."""

    async def finish() -> None:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await finish()
    error = caught.value
    return error_from_call(error.code(), error.details(), error.trailing_metadata() or ()), error


async def test_unexpected_errors_show_nothing_but_the_request_id(
    channel: grpc.aio.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    stub: Any = UserServiceStub(channel)
    calls: dict[str, Any] = {
        "ListUsers": user_service_pb2.ListUsersRequest(),
        "ConfigureUser": user_service_pb2.ConfigureUserRequest(),
        "ListStreams": user_service_pb2.ListStreamsRequest(),
        "CreateSnapshot": user_service_pb2.CreateSnapshotRequest(),
        "ListSnapshots": user_service_pb2.ListSnapshotsRequest(),
        "ReleaseSnapshot": user_service_pb2.ReleaseSnapshotRequest(),
        "WatchUser": user_service_pb2.WatchUserRequest(user="u"),
    }
    for method, request in calls.items():
        with caplog.at_level(logging.ERROR, "memdb.server"):
            caplog.clear()
            error, raw = await failure(getattr(stub, method)(request))
        assert raw.code() is grpc.StatusCode.INTERNAL
        assert SECRET not in f"{raw.details()}{raw.trailing_metadata()}"
        (record,) = caplog.records
        assert record.__dict__["fields"]["request_id"] == error.request_id
        assert record.exc_info is not None


async def test_our_errors_arrive_whole(channel: grpc.aio.Channel) -> None:
    stub: Any = UserServiceStub(channel)
    error, _ = await failure(
        stub.EraseUser(
            user_service_pb2.EraseUserRequest(user="nobody"),
            metadata=(("x-request-id", "my-id.1"),),
        )
    )
    assert isinstance(error, NotFound)
    assert (error.reason, error.field, error.value, error.request_id) == (
        "USER_NOT_FOUND",
        "user",
        "nobody",
        "my-id.1",
    )


@pytest.mark.parametrize(("user", "told_as"), [("ann", "ann"), ("", ""), ("x" * 1000, "")])
async def test_the_log_says_on_whose_memory_a_call_failed(
    channel: grpc.aio.Channel, caplog: pytest.LogCaptureFixture, user: str, told_as: str
) -> None:
    """An error need not name them: who called knows, who reads the log does not."""
    stub: Any = UserServiceStub(channel)
    requests = {
        "EraseClips": user_service_pb2.EraseClipsRequest(user=user),
        "ListSnapshots": user_service_pb2.ListSnapshotsRequest(user=user),
    }
    for method, request in requests.items():
        with caplog.at_level(logging.DEBUG, "memdb.server"):
            caplog.clear()
            await failure(getattr(stub, method)(request))
        fields = [record.__dict__["fields"] for record in caplog.records]
        assert [told.get("user", "") for told in fields if "method" in told] == [told_as]


@pytest.mark.parametrize("method", ["GetUser", "EraseUser", "WatchUser"])
async def test_garbage_is_an_invalid_argument(channel: grpc.aio.Channel, method: str) -> None:
    path = f"/memdb.v1.UserService/{method}"
    opened: Any = channel
    make = opened.unary_stream if method == "WatchUser" else opened.unary_unary
    error, _ = await failure(make(path)(b"\xff\xff"))
    assert isinstance(error, InvalidArgument)
    assert error.reason == "BAD_MESSAGE"


@pytest.mark.parametrize("sent", ["", "x" * 65, "a b", "-ok-", None])
async def test_request_ids_are_answered_and_only_sane_ones_kept(
    channel: grpc.aio.Channel, sent: str | None
) -> None:
    stub: Any = UserServiceStub(channel)
    call = stub.GetUser(
        user_service_pb2.GetUserRequest(),
        metadata=() if sent is None else (("x-request-id", sent),),
    )
    assert (await call).revision == 7
    answered = dict(await call.trailing_metadata())["x-request-id"]
    assert (answered == sent) == (sent == "-ok-")
    assert 0 < len(answered) <= 64


async def test_an_answer_that_is_too_large_is_refused(channel: grpc.aio.Channel) -> None:
    stub: Any = UserServiceStub(channel)
    error, raw = await failure(stub.CreateStream(user_service_pb2.CreateStreamRequest()))
    assert (raw.code(), error.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "MESSAGE_TOO_LARGE",
    )


async def test_pages_arrive_even_when_empty(channel: grpc.aio.Channel) -> None:
    stub: Any = UserServiceStub(channel)
    pages = [page async for page in stub.WatchUser(user_service_pb2.WatchUserRequest())]
    assert [len(page.changes) for page in pages] == [0, 1]


async def test_a_service_must_have_every_method(tmp_path: Path) -> None:
    database = EmbeddedDatabase(tmp_path / "db")
    resources = Resources.make(database, ServerConfig(read_threads=1, write_threads=1))
    service = db_pb.DESCRIPTOR.services_by_name["DatabaseService"]
    with pytest.raises(AttributeError):
        Calls(resources).handlers(service, Everything())
    resources.pools.shutdown()
    database.close()
