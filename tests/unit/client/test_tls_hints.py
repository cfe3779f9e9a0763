"""A connection that failed for TLS on one side only says that it may be that, and an outage does not."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from memdb.errors import DeadlineExceeded, Unavailable
from memdb_client._options import Try, likely, tls_hint
from tests.unit.client.conftest import Connect
from tests.unit.client.peer import Peer, Script
from tests.unit.client.test_retry import free_port

MAKE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 "
    "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout {0}.key -out {0}.pem"
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ours.pem and other.pem are, each with its key: both for localhost, each its own authority."""
    if shutil.which("openssl") is None:
        pytest.skip("makes its certificates with the openssl command")
    directory = tmp_path_factory.mktemp("tls")
    for name in ("ours", "other"):
        command = MAKE.format(name).split()
        subprocess.run(command, cwd=directory, check=True, capture_output=True)
    return directory


@pytest.fixture
def secure_port(certificates: Path) -> Iterator[int]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    pair = [(certificates / f"ours.{end}").read_bytes() for end in ("key", "pem")]
    credentials = grpc.ssl_server_credentials([(pair[0], pair[1])])
    port = server.add_secure_port("localhost:0", credentials)
    server.start()
    yield port
    server.stop(None).wait(10)


@contextmanager
def silent(answer: bytes | None) -> Iterator[int]:
    """A port whose connections are answered with ``answer`` and closed, or with None never answered."""
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            held.append(connection)
            if answer is not None:
                connection.sendall(answer)
                connection.close()

    with socket.create_server(("localhost", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    for connection in held:
        connection.close()


def refused(connect_to: Connect, address: str, tls: object = None, timeout_s: float = 1.0) -> str:
    """What a call says that finds no server."""
    with (
        connect_to(address, tls=tls, timeout_s=timeout_s) as db,
        pytest.raises((Unavailable, DeadlineExceeded)) as caught,
    ):
        db.spaces()
    return caught.value.message


def refused_by_tls(connect_to: Connect, address: str, tls: object) -> str:
    """The same once a handshake was seen to fail: on a busy machine a second may end before."""
    told = refused(connect_to, address, tls)
    for timeout_s in (4.0, 16.0):
        if "may be" in told:
            break
        told = refused(connect_to, address, tls, timeout_s)
    return told


def test_a_plain_client_of_a_server_with_tls(connect_to: Connect, secure_port: int) -> None:
    told = refused(connect_to, f"localhost:{secure_port}")
    assert "may speak TLS (connect with tls=...; a command with --tls)" in told


def test_a_client_with_tls_of_a_plain_server(
    connect_to: Connect, certificates: Path, script: Script
) -> None:
    with Peer(script) as peer:
        told = refused(connect_to, f"localhost:{peer.port}", certificates / "ours.pem")
    assert "may not speak TLS (connect without tls=...; a command without --tls)" in told


def test_a_certificate_of_somebody_else_or_for_another_name(
    connect_to: Connect, certificates: Path, secure_port: int
) -> None:
    told = refused_by_tls(connect_to, f"localhost:{secure_port}", certificates / "other.pem")
    assert "may be of another authority" in told
    told = refused_by_tls(connect_to, f"127.0.0.1:{secure_port}", certificates / "ours.pem")
    assert "may be for another name" in told


@pytest.mark.parametrize("secure", [False, True])
def test_an_outage_is_not_taken_for_it(
    connect_to: Connect, certificates: Path, secure: bool
) -> None:
    tls = certificates / "ours.pem" if secure else None
    told = [refused(connect_to, f"localhost:{free_port()}", tls)]
    told.append(refused(connect_to, f"unix:{certificates}/none.sock", tls))
    with silent(None) as port:
        told.append(refused(connect_to, f"localhost:{port}", tls))
    if not secure:
        with silent(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
            told.append(refused(connect_to, f"localhost:{port}", tls))
    assert [one for one in told if "TLS" in one or "certificate" in one] == []
    # The first is refused at once; on a busy machine gRPC may find the time of another over before its connection.
    assert re.search(r"; no server was there in \d+(\.\d)? s$", told[0])


def test_a_call_that_was_cut_off_says_nothing_of_it() -> None:
    """Its connection stood: the server went away."""
    assert tls_hint("Socket closed", is_secure=False) == ""
    assert tls_hint("Connection reset by peer", is_secure=False) == ""


def test_one_try_of_many_says_nothing_of_it() -> None:
    """A server that is being restarted, and a host with an address that nobody listens at."""
    assert likely(tries("TLS", "", "", "", "")) == ""
    assert likely(tries("", "TLS", "", "TLS", "")) == "TLS"
    assert likely([]) == ""


def test_each_address_of_a_host_counts_by_itself() -> None:
    """By chance gRPC tells of the one that refuses nearly each time."""
    refused, ended = (
        f"failed to connect to all addresses; last error: {told}"
        for told in (
            "UNKNOWN: ipv6:%5B::1%5D:7705: Failed to connect to remote host: Connection refused",
            "UNAVAILABLE: ipv4:127.0.0.1:7705: Socket closed",
        )
    )
    by_chance = [Try.of(told, is_secure=False) for told in (ended, *[refused] * 9)]
    assert "may speak TLS" in likely(by_chance)
    gone = ended.replace("Socket closed", "Connection refused")
    restarted = [Try.of(told, is_secure=False) for told in (ended, *[refused] * 5, *[gone] * 4)]
    assert likely(restarted) == ""


def tries(*hints: str) -> list[Try]:
    """Of one address."""
    return [Try("ipv4:127.0.0.1:7700", hint) for hint in hints]
