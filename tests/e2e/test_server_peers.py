"""Peers that are slow, silent, impatient or gone: each costs the server little and others nothing."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from memdb.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import user_service_pb2 as user_pb
from memdb.v1.user_service_pb2_grpc import UserServiceStub
from memdb.wire.clips import clip_to_proto
from memdb.wire.fields import head, tag_of
from memdb.wire.grounding import ground_request
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


def test_what_is_refused_of_one_call_is_not_of_the_others(served: Served) -> None:
    feed = served.users.WatchUser(user_pb.WatchUserRequest(user="u", follow=True))
    next(feed)
    unary: Any = served.channel.unary_unary("/memdb.v1.ClipService/WriteClips")
    for data, size in ((bytes(20 << 20), 0), (b"", 21_000), (b"", 30_000), (b"", 100_000)):
        with pytest.raises(grpc.RpcError) as caught:
            unary(data, metadata=(("large", "x" * size),), timeout=30)
        refused: Any = caught.value
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    served.database.user("u").stream("cam", space="p").write(clip(1))
    assert [item.clip.clip.seq for item in next(feed).changes if item.kind == "clip"] == [1]
    feed.cancel()


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
