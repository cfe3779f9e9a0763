"""Peers that are slow, silent, impatient or gone: each costs the server little and others nothing."""

from __future__ import annotations

import asyncio
import io
import logging
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from memdb.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from memdb.server.logs import configure_logging
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import grounding_service_pb2 as grounding_pb
from memdb.v1 import user_service_pb2 as user_pb
from memdb.v1.clip_service_pb2_grpc import ClipServiceStub
from memdb.v1.user_service_pb2_grpc import UserServiceStub
from memdb.wire.arrays import vector_to_proto
from memdb.wire.clips import clip_to_proto
from memdb.wire.fields import head, tag_of
from memdb.wire.grounding import ground_request
from memdb.wire.groundings import stream_start
from memdb_client import connect
from tests.both_edges import KINDS
from tests.congruence.server import ServerProcess
from tests.e2e.serving import DIM, Served, clip, error_of, serving, vector

pytestmark = pytest.mark.e2e


@pytest.fixture(params=KINDS)
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Served]:
    """By each edge."""
    options = {"handshake_timeout_ms": 300, "connection_idle_ms": 500, "calls_max": 48}
    with serving(tmp_path / "db", edge=request.param, **options) as running:
        assert running.server.edge == request.param
        running.database.create_space("p", dim=DIM)
        running.database.user("u").stream("cam", space="p").write(clip(0))
        yield running


def asks(served: Served) -> float:
    """Seconds until a question is answered; a connection may just be closed, since nothing came for half a second."""
    begun = time.monotonic()
    for is_last in (False, True):
        try:
            served.grounding.Ground(ground_request("u", vector(0)), timeout=10)
        except grpc.RpcError as error:
            if is_last or error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
        else:
            break
    return time.monotonic() - begun


def test_silent_connections_are_closed(served: Served) -> None:
    host, _, port = served.address.rpartition(":")
    silent = [socket.create_connection((host, int(port)), timeout=10) for _ in range(50)]
    preface = [socket.create_connection((host, int(port)), timeout=10) for _ in range(50)]
    for connection in preface:
        # An HTTP/2 preface, empty settings, and then nothing.
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0")
    assert asks(served) < 5
    for connection in silent + preface:
        while connection.recv(4096):
            pass  # settings and pings, then the end
        connection.close()


def test_watchers_that_wait_or_leave_cost_others_nothing(served: Served) -> None:
    request = user_pb.WatchUserRequest(user="u", follow=True)
    watchers = [served.users.WatchUser(request) for _ in range(30)]
    for watcher in watchers:
        next(watcher)
    assert asks(served) < 5
    for watcher in watchers:
        watcher.cancel()
    # All their places are free again.
    deadline = time.monotonic() + 20
    while True:
        again = [served.users.WatchUser(request) for _ in range(30)]
        refused = [watcher for watcher in again if not begins(watcher)]
        for watcher in again:
            watcher.cancel()
        if not refused:
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)


def begins(watcher: Any) -> bool:
    """Whether a stream was let in."""
    try:
        next(watcher)
    except grpc.RpcError as error:
        return not isinstance(error_of(error), ResourceExhausted)
    return True


def test_too_many_calls_are_refused_and_the_others_go_on(served: Served) -> None:
    request = user_pb.WatchUserRequest(user="u", follow=True)
    watchers = [served.users.WatchUser(request) for _ in range(60)]
    let_in = [watcher for watcher in watchers if begins(watcher)]
    assert len(let_in) == 36  # three quarters
    # Whoever asks for another user, or for the server's health, is answered.
    cam = served.database.user("other").stream("cam", space="p")
    cam.write(clip(0))
    assert served.users.GetUser(user_pb.GetUserRequest(user="other"), timeout=10).revision
    health: Any = HealthStub(served.channel)
    assert health.Check(HealthCheckRequest(), timeout=10).status == HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        served.users.GetUser(user_pb.GetUserRequest(user="u"), timeout=10)
    error = error_of(caught.value)
    assert (error.reason, error.field) == ("OVERLOADED", "server.calls_max")
    # So it is with streams both ways, once they say whose they are.
    with connect(served.address, timeout_s=2) as db:
        front = db.user("other").stream("front", space="p").ingest()
        front.send(clip(0))
        assert len(front.flush()) == 1
        with pytest.raises(Unavailable) as refused:
            db.user("u").stream("front", space="p").ingest()
        assert refused.value.reason == "OVERLOADED"
    for watcher in watchers:
        watcher.cancel()
    deadline = time.monotonic() + 20
    while served.server._resources.open_calls.open:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_watcher_that_does_not_read_holds_nobody_up(served: Served) -> None:
    feed = served.users.WatchUser(user_pb.WatchUserRequest(user="u", follow=True))
    cam = served.database.user("u").stream("cam", space="p")
    large = (b"x" * 1_000_000,) * 4
    for seq in range(1, 13):
        cam.write(clip(seq, keyframes=large))
    assert asks(served) < 5
    seqs = []
    for answer in feed:
        seqs += [item.clip.clip.seq for item in answer.changes if item.kind == "clip"]
        if len(seqs) == 13:
            break
    assert seqs == list(range(13))
    feed.cancel()


def test_a_deadline_ends_the_call_and_the_server_goes_on(served: Served) -> None:
    feed = served.users.WatchUser(user_pb.WatchUserRequest(user="u", follow=True), timeout=0.3)
    with pytest.raises(grpc.RpcError) as caught:
        list(feed)
    assert isinstance(error_of(caught.value), DeadlineExceeded)
    assert asks(served) < 5


def test_an_agent_that_vanishes_leaves_whole_clips(served: Served) -> None:
    stop = threading.Event()

    def endless() -> Iterator[clip_pb.IngestClipsRequest]:
        start = clip_pb.IngestStart(user="u", stream="cam", space="p")
        yield clip_pb.IngestClipsRequest(start=start)
        seq = 1
        while not stop.is_set():
            yield clip_pb.IngestClipsRequest(clips=[clip_to_proto(clip(seq))])
            seq += 1

    answers: Any = served.clips.IngestClips(endless())
    acked = 0
    while acked < 20:
        acked += len(next(answers).acks.acks)
    answers.cancel()
    stop.set()
    assert asks(served) < 5
    ledger = served.clips.GetLedger(clip_pb.GetLedgerRequest(user="u", stream="cam")).ledger
    assert ledger.next_seq > acked
    assert not ledger.gaps
    assert served.database.verify().ok


class Unread:
    """A peer that asks and lets nothing be sent to it: its windows of HTTP/2 are closed."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        no_window = self._frame(4, 0, 0, struct.pack(">HI", 4, 0))
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + no_window)
        self._streams = 0

    def ask(self, method: str, *requests: Message) -> None:
        stream, self._streams = 2 * self._streams + 1, self._streams + 1
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": f"/memdb.v1.{method}",
            ":authority": "x",
            "content-type": "application/grpc",
            "te": "trailers",
        }
        block = b"".join(
            b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
            for name, value in fields.items()
        )
        body = b"".join(
            b"\0" + struct.pack(">I", len(data)) + data
            for data in (request.SerializeToString() for request in requests)
        )
        self._socket.sendall(self._frame(1, 4, stream, block) + self._frame(0, 1, stream, body))

    def close(self) -> None:
        self._socket.close()

    @staticmethod
    def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
        return head + struct.pack(">I", stream) + payload


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


@pytest.mark.parametrize("name", ["WriteClips", "IngestClips", "IngestClips later"])
def test_a_call_that_is_refused_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    padding = 12_000_000
    # Bytes of a field that nobody knows: parsed, and refused for what is not there.
    large = clip_pb.WriteClipsRequest(user="u", stream="s").SerializeToString()
    large += head(tag_of(1000), padding) + bytes(padding)
    start = clip_pb.IngestClipsRequest(start=clip_pb.IngestStart(user="u", stream="s"))
    messages = [start.SerializeToString(), large] if name.endswith("later") else [large]
    with ServerProcess(tmp_path / "db") as server, grpc.insecure_channel(server.address) as channel:
        unary: Any = channel.unary_unary("/memdb.v1.ClipService/WriteClips")
        stream: Any = channel.stream_stream("/memdb.v1.ClipService/IngestClips")

        def send() -> None:
            if name == "WriteClips":
                unary(large, timeout=30)
            else:
                list(stream(iter(messages), timeout=30))

        statm = Path(f"/proc/{server._process.pid}/statm")
        resident = []
        for count in (5, 25):
            for _ in range(count):
                with pytest.raises(grpc.RpcError) as caught:
                    send()
                assert error_of(caught.value).request_id
            resident.append(int(statm.read_text().split()[1]) * resource.getpagesize())
        # Each left its 12 MB or more until the collector came, after hundreds of calls.
        assert resident[1] - resident[0] < 6 * padding


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


@pytest.mark.parametrize("how", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_what_is_compressed_is_not_unpacked(served: Served, how: grpc.Compression) -> None:
    request = user_pb.GetUserRequest(user="u")
    with grpc.insecure_channel(served.address, compression=how) as channel:
        stub: Any = UserServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetUser(request, timeout=10)
    refused: Any = caught.value
    assert refused.code() is grpc.StatusCode.UNIMPLEMENTED
    assert served.users.GetUser(request, timeout=10).revision


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(range(256)) * 10,
        b"\x16\x03\x01\x02\0" + bytes(600),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(range(256)) * 10,
    ],
    ids=["http/1", "noise", "tls", "noise after the preface"],
)
def test_what_is_not_grpc_is_hung_up_on(served: Served, raw: bytes) -> None:
    host, _, port = served.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as stranger:
        stranger.sendall(raw)
        with suppress(ConnectionResetError):
            while stranger.recv(4096):
                pass
    assert asks(served) < 5


def test_methods_that_are_not_there(served: Served) -> None:
    for path in ("/memdb.v1.ClipService/Nothing", "/memdb.v1.Nothing/GetClip"):
        call: Any = served.channel.unary_unary(path)
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=10)
        refused: Any = caught.value
        assert refused.code() is grpc.StatusCode.UNIMPLEMENTED
        assert refused.details() == "Method not found!"


@pytest.mark.parametrize("edge", KINDS)
def test_more_than_may_be_sent_is_refused(tmp_path: Path, edge: str) -> None:
    # No `served`: a call that is refused at its first bytes is no call to a server that closes idle connections, and
    # its caller may go on sending for longer than that.
    with serving(tmp_path / "db", edge=edge) as running:
        unary: Any = running.channel.unary_unary("/memdb.v1.ClipService/WriteClips")
        for data, metadata in (
            (bytes(20 << 20), ()),
            (b"", (("large", "x" * 30_000),)),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                unary(data, metadata=metadata, timeout=30)
            refused: Any = caught.value
            assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        running.hears()  # and answers


def test_pings_without_end_are_hung_up_on(served: Served) -> None:
    host, _, port = served.address.rpartition(":")
    ping = b"\0\0\x08\x06\0\0\0\0\0" + bytes(8)
    with socket.create_connection((host, int(port)), timeout=10) as stranger:
        stranger.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" + ping * 10)
        came = b""
        with suppress(ConnectionResetError):
            while part := stranger.recv(4096):
                came += part
    assert b"too_many_pings" in came
    assert asks(served) < 5
