"""`memdb serve` as a process: how it starts, refuses to start, and stops."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from memdb.errors import MemdbError, Unavailable
from memdb.server.app import HARD_EXIT_STATUS
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import database_service_pb2 as db_pb
from memdb.v1 import types_pb2 as pb
from memdb.v1 import user_service_pb2 as user_pb
from memdb.v1.clip_service_pb2_grpc import ClipServiceStub
from memdb.v1.database_service_pb2_grpc import DatabaseServiceStub
from memdb.v1.user_service_pb2_grpc import UserServiceStub
from memdb.wire.clips import clip_to_proto
from tests.both_edges import KINDS
from tests.e2e.serving import DIM, clip, error_of
from tests.forked.command import ForkedCommand, run_command

pytestmark = pytest.mark.e2e

MEMDB = "memdb.cli.main"
WAIT_S = 100
"""No bound on how long anything takes: whatever hangs is a failure, with its stacks."""


class Process:
    """A running `memdb serve`."""

    def __init__(
        self, process: subprocess.Popen[str] | ForkedCommand, ready: dict[str, Any]
    ) -> None:
        self.process = process
        self.address: str = ready["address"]

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, list[dict[str, Any]]]:
        """Signal it and wait; the exit status and its log lines."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=WAIT_S)
        return self.process.wait(), [json.loads(line) for line in errors.splitlines()]


def command(*arguments: str | Path) -> list[str]:
    """`memdb` as an interpreter starts it, for who looks at its start."""
    return [sys.executable, "-m", MEMDB, *map(str, arguments)]


def memdb(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What becomes of a command that ends."""
    return run_command(MEMDB, *arguments, timeout_s=WAIT_S)


@contextmanager
def serve(
    data: Path,
    *arguments: str | Path,
    listen: str = "127.0.0.1:0",
    program: str = MEMDB,
    is_forked: bool = True,
) -> Iterator[Process]:
    """is_forked: or an interpreter is started."""
    given = ("serve", "--data", data, "--listen", listen, *arguments)
    process = (
        ForkedCommand(program, *given)
        if is_forked
        else subprocess.Popen(
            command(*given), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate(timeout=WAIT_S)[1]
        yield Process(process, json.loads(line))
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=WAIT_S)


def refused(*arguments: str | Path, status: int = 1) -> str:
    """What `memdb serve` says when it does not start."""
    done = memdb("serve", *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    # Wrong usage comes with how it is used.
    assert done.stderr.count("\n") == 1 or "usage:" in done.stderr
    return done.stderr


def create_space(channel: grpc.Channel) -> None:
    stub: Any = DatabaseServiceStub(channel)
    space = pb.Space(name="p", dim=DIM, metric="cosine")
    stub.CreateSpace(db_pb.CreateSpaceRequest(space=space), timeout=WAIT_S, wait_for_ready=True)


def test_starts_says_where_and_stops_on_sigterm(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    with serve(tmp_path / "db", "--port-file", port_file, is_forked=False) as server:
        with grpc.insecure_channel(server.address) as channel:
            create_space(channel)
        assert port_file.read_text() == server.address + "\n"
        status, logs = server.stop()
    assert status == 0
    # On a machine that has much to do the loop may be late, which is told as well.
    events = [line["event"] for line in logs if line["event"] != "the event loop was late"]
    assert events == ["listening", "stopping", "stopped"]
    assert logs[0]["address"] == server.address
    # Who has no native edge, and might, is told why.
    assert ("no_native_edge" in logs[0]) == (logs[0]["edge"] == "python")


def test_a_native_edge_of_another_release_is_told_where_people_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "memdb_edge.py").write_text("interface = 1\n")
    others = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'old'}{os.pathsep}{others}")
    metrics = tmp_path / "memdb.prom"
    with serve(tmp_path / "db", "--metrics-file", metrics, is_forked=False) as server:
        until_s = time.monotonic() + WAIT_S
        while not metrics.exists():
            assert time.monotonic() < until_s
            time.sleep(0.02)
        assert "memdb_native_edge 0\n" in metrics.read_text()
        _, logs = server.stop()
    listening = next(line for line in logs if line["event"] == "listening")
    assert listening["edge"] == "python"
    assert listening["no_native_edge"].startswith("it is of another release: pip install")


@pytest.mark.parametrize(
    ("flag", "where"),
    [
        ("--port-file", "nowhere/port"),
        ("--port-file", "folder"),
        ("--metrics-file", "nowhere/memdb.prom"),
        ("--backup-dir", "folder/file"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, flag: str, where: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("kept")
    listen = ("--listen", "127.0.0.1:0")
    said = refused("--data", tmp_path / "db", *listen, flag, tmp_path / where, status=2)
    assert "BAD_CONFIG" in said
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_port_file_in_the_data_directory(tmp_path: Path) -> None:
    with serve(tmp_path / "db", "--port-file", tmp_path / "db" / "port") as server:
        assert (tmp_path / "db" / "port").read_text() == server.address + "\n"


def test_streams_end_and_acknowledged_clips_stay(tmp_path: Path) -> None:
    """SIGTERM ends ingest, feed and health streams as UNAVAILABLE, long before the grace period."""
    with serve(tmp_path / "db", "--grace-s", "3600") as server:
        with grpc.insecure_channel(server.address) as channel:
            create_space(channel)
            health: Any = health_pb2_grpc.HealthStub(channel).Watch(
                health_pb2.HealthCheckRequest(), timeout=WAIT_S
            )
            assert next(health).status == health_pb2.HealthCheckResponse.SERVING
            acked = 0
            answers = ClipServiceStub(channel).IngestClips(endless_clips(), timeout=WAIT_S)
            assert next(answers).WhichOneof("message") == "started"
            acked += len(next(answers).acks.acks)
            feed = UserServiceStub(channel).WatchUser(
                user_pb.WatchUserRequest(user="u", follow=True), timeout=WAIT_S
            )
            next(feed)
            server.process.send_signal(signal.SIGTERM)
            errors = []
            try:
                for answer in answers:
                    acked += len(answer.acks.acks)
            except grpc.RpcError as error:
                errors.append(error_of(error))
            errors.append(end_of(feed))
            assert next(health).status == health_pb2.HealthCheckResponse.NOT_SERVING
        server.process.communicate(timeout=WAIT_S)
    assert [type(error) for error in errors] == [Unavailable, Unavailable]
    assert [error.reason for error in errors] == ["SHUTTING_DOWN", "SHUTTING_DOWN"]
    assert server.process.returncode == 0

    with serve(tmp_path / "db") as server, grpc.insecure_channel(server.address) as channel:
        stub: Any = ClipServiceStub(channel)
        ledger = stub.GetLedger(
            clip_pb.GetLedgerRequest(user="u", stream="cam"), timeout=WAIT_S, wait_for_ready=True
        ).ledger
    assert ledger.next_seq >= acked > 0
    assert not ledger.gaps


def endless_clips() -> Iterator[clip_pb.IngestClipsRequest]:
    start = clip_pb.IngestStart(user="u", stream="cam", space="p")
    yield clip_pb.IngestClipsRequest(start=start)
    for seq in range(1_000_000):
        yield clip_pb.IngestClipsRequest(clips=[clip_to_proto(clip(seq))])
        time.sleep(0.002)


def end_of(answers: Any) -> MemdbError:
    """What a stream ends with."""
    try:
        for _ in answers:
            pass
    except grpc.RpcError as error:
        return error_of(error)
    raise AssertionError("the stream ended well")


def test_refuses_to_start(tmp_path: Path) -> None:
    assert "TLS_REQUIRED" in refused("--data", tmp_path / "a", "--listen", "0.0.0.0:0", status=2)
    assert not (tmp_path / "a").exists()
    assert "BAD_ADDRESS" in refused("--data", tmp_path / "a", "--listen", "nowhere", status=2)
    assert "--data" in refused("--listen", "127.0.0.1:0", status=2)
    assert "BAD_CERTIFICATE" in refused(
        "--data",
        tmp_path / "a",
        "--listen",
        "127.0.0.1:0",
        "--tls-cert",
        "no.pem",
        "--tls-key",
        "no.pem",
        status=2,
    )
    with serve(tmp_path / "b") as server:
        assert "DIRECTORY_LOCKED" in refused("--data", tmp_path / "b", "--listen", "127.0.0.1:0")
        assert "ADDRESS_IN_USE" in refused("--data", tmp_path / "c", "--listen", server.address)
        (tmp_path / "e").mkdir()
        assert "ADDRESS_IN_USE" in refused("--data", tmp_path / "e", "--listen", server.address)
        assert server.stop(signal.SIGINT)[0] == 0
    # Nothing was made where nothing is served.
    assert {path.name for path in tmp_path.iterdir()} == {"b", "e"}
    assert not list((tmp_path / "e").iterdir())


def test_unix_socket(tmp_path: Path) -> None:
    socket = tmp_path / "s"
    with serve(tmp_path / "db", listen=f"unix:{socket}") as server:
        assert server.address == f"unix:{socket}"
        assert socket.stat().st_mode & 0o777 == 0o600
        with grpc.insecure_channel(server.address) as channel:
            create_space(channel)
        assert server.stop()[0] == 0
    # What a crash leaves behind does not stand in the way.
    with serve(tmp_path / "db", listen=f"unix:{socket}") as server:
        server.stop(signal.SIGKILL)
    again = serve(tmp_path / "db", listen=f"unix:{socket}")
    with again as server, grpc.insecure_channel(server.address) as channel:
        create_space(channel)


def test_tls(tmp_path: Path) -> None:
    if ssl.OPENSSL_VERSION_INFO < (1, 1, 1) or not has_openssl():
        pytest.skip("makes its certificate with the openssl command")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    make += " -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make.split(), *files], check=True, capture_output=True)
    with serve(tmp_path / "db", "--tls-cert", certificate, "--tls-key", key) as server:
        port = server.address.rpartition(":")[2]
        trusted = grpc.ssl_channel_credentials(certificate.read_bytes())
        with grpc.secure_channel(f"localhost:{port}", trusted) as channel:
            create_space(channel)
        with grpc.insecure_channel(server.address) as plain:
            stub: Any = DatabaseServiceStub(plain)
            with pytest.raises(grpc.RpcError) as caught:
                stub.ListSpaces(db_pb.ListSpacesRequest(), timeout=WAIT_S)
            assert isinstance(error_of(caught.value), Unavailable)


def has_openssl() -> bool:
    try:
        return (
            subprocess.run(["openssl", "version"], capture_output=True, check=False).returncode == 0
        )
    except FileNotFoundError:
        return False


def test_reflection_only_when_asked(tmp_path: Path) -> None:
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    for arguments, known in (((), False), (("--reflection",), True)):
        with (
            serve(tmp_path / "db", *arguments) as server,
            grpc.insecure_channel(server.address) as channel,
        ):
            opened: Any = channel
            # Field 7 of the request: list the services.
            answers = opened.stream_stream(path)(iter([b"\x3a\x01*"]), timeout=WAIT_S)
            if known:
                assert b"memdb.v1.ClipService" in next(answers)
            else:
                assert end_of(answers).reason == "UNIMPLEMENTED"


def test_verify_a_directory(tmp_path: Path) -> None:
    with serve(tmp_path / "db") as server:
        with grpc.insecure_channel(server.address) as channel:
            create_space(channel)
            stub: Any = ClipServiceStub(channel)
            request = clip_pb.WriteClipsRequest(
                user="u", stream="cam", space="p", clips=[clip_to_proto(clip(0))]
            )
            stub.WriteClips(request, timeout=WAIT_S)
        locked = memdb("verify", tmp_path / "db")
        assert locked.returncode == 1
        assert "DIRECTORY_LOCKED" in locked.stderr
        server.stop()
    done = memdb("verify", tmp_path / "db")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert (report["ok"], report["users"], report["clips"]) == (True, 1, 1)
    absent = memdb("verify", tmp_path / "none")
    assert absent.returncode == 1
    assert not (tmp_path / "none").exists()


def test_a_commit_that_hangs_does_not_keep_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMDB_FAILPOINTS", "commit.before=stall")
    with (
        serve(tmp_path / "db", "--grace-s", "0.1") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub: Any = DatabaseServiceStub(channel)
        space = pb.Space(name="p", dim=DIM)
        call = stub.CreateSpace.future(db_pb.CreateSpaceRequest(space=space))
        stub.ListSpaces(db_pb.ListSpacesRequest(), timeout=WAIT_S)
        write = ClipServiceStub(channel).WriteClips.future(
            clip_pb.WriteClipsRequest(
                user="u", stream="cam", space="p", clips=[clip_to_proto(clip(0))]
            )
        )
        time.sleep(0.5)
        assert not (call.done() and write.done())
        status, logs = server.stop()
    assert status == HARD_EXIT_STATUS
    assert logs[-1]["event"] == "did not stop in time"


def test_the_process_leaves_nothing_behind(tmp_path: Path) -> None:
    with serve(tmp_path / "db") as server:
        assert server.stop()[0] == 0
        with pytest.raises(ProcessLookupError):
            os.kill(server.process.pid, 0)


def write_clips(server: Process, clips: int) -> None:
    """A new user ``u`` with so many."""
    with grpc.insecure_channel(server.address) as channel:
        create_space(channel)
        stub: Any = ClipServiceStub(channel)
        protos = [clip_to_proto(clip(seq)) for seq in range(clips)]
        request = clip_pb.WriteClipsRequest(user="u", stream="cam", space="p", clips=protos)
        stub.WriteClips(request, timeout=WAIT_S)


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, None])
def test_a_stop_writes_what_the_next_start_is_quick_by_unless_another_signal_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: signal.Signals | None
) -> None:
    monkeypatch.setenv("MEMDB_INDEX__CHECKPOINT_ROWS", "1")
    data = tmp_path / "db"
    (tmp_path / "db").mkdir()
    with serve(data, program="tests.e2e.slow_disk") as server:
        write_clips(server, 8)
        server.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + WAIT_S
        while not list(data.rglob(".new-INDEX")):
            assert time.monotonic() < until
            assert server.process.poll() is None
            time.sleep(0.01)
        if again is None:
            _, errors = server.process.communicate(timeout=WAIT_S)
            status, logs = (
                server.process.returncode,
                [json.loads(one) for one in errors.splitlines()],
            )
        else:
            status, logs = server.stop(again)
    assert status == (-signal.SIGKILL if again == signal.SIGKILL else 0)
    if again != signal.SIGKILL:
        assert logs[-1]["event"] == "stopped"
        assert not list(data.rglob(".new-INDEX"))
    assert bool(list(data.rglob("INDEX"))) == (again is None)
    done = memdb("verify", data)
    assert done.returncode == 0
    assert json.loads(done.stdout)["clips"] == 8


@pytest.mark.parametrize("edge", KINDS)
def test_a_faiss_that_cannot_be_loaded_ends_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edge: str
) -> None:
    broken = tmp_path / "path" / "faiss"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libgomp.so.1: no such file')")
    monkeypatch.setenv(
        "PYTHONPATH", f"{broken.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    )
    monkeypatch.setenv("MEMDB_SERVER__EDGE", edge)
    done = subprocess.run(
        command("serve", "--data", tmp_path / "db", "--listen", "127.0.0.1:0"),
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 1
    assert "libgomp.so.1: no such file" in done.stderr
