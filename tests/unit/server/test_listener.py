"""Which addresses a server may listen on."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from memdb.config import ServerConfig
from memdb.errors import FailedPrecondition, InvalidArgument
from memdb.server import listener
from memdb.server.edge import Edge
from memdb.server.listener import bind, channel_options, check_bindable, check_listen
from tests.both_edges import KINDS, edge_of

NewServer = Callable[[], Edge]


@pytest.fixture(params=KINDS)
async def new_server(request: pytest.FixtureRequest) -> AsyncIterator[NewServer]:
    """Makes edges, which end with the test."""
    made: list[Edge] = []

    def make() -> Edge:
        made.append(edge_of(request.param))
        return made[-1]

    yield make
    for server in made:
        await server.stop(0)


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:0", "127.8.9.1:7700", "localhost:1", "[::1]:65535", "unix:/tmp/memdb"]
)
def test_loopback_needs_no_certificate(listen: str) -> None:
    check_listen(ServerConfig(listen=listen))


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:7700", "[::]:7700", "10.0.0.1:1", "example.org:1", "localhost.evil:1"]
)
def test_beyond_loopback_needs_a_certificate(listen: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_listen(ServerConfig(listen=listen))
    assert (caught.value.reason, caught.value.field) == ("TLS_REQUIRED", "server.listen")
    assert caught.value.value == listen
    check_listen(ServerConfig(listen=listen, tls_cert="c", tls_key="k"))


@pytest.mark.parametrize(
    "listen",
    [
        "",
        "localhost",
        ":7700",
        "localhost:",
        "localhost:http",
        "localhost:70000",
        "localhost:-1",
        "unix:",
        "unix:@abstract",
        "unix:/tmp/" + "x" * 103,
        "unix:/tmp/a\0b",
        "localhost:١",
    ],
)
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_listen(ServerConfig(listen=listen))
    assert caught.value.reason == "BAD_ADDRESS"


def test_options_bound_what_a_peer_can_hold() -> None:
    options = dict(channel_options(ServerConfig()))
    assert options["grpc.max_receive_message_length"] == 16 * 1024 * 1024
    assert options["grpc.server_handshake_timeout_ms"] == 3000
    assert 64 <= options["grpc.max_concurrent_streams"] <= 256
    assert options["grpc.so_reuseport"] == 0


@pytest.mark.parametrize("content", [b"", b"garbage"], ids=["empty", "garbage"])
async def test_what_is_no_certificate_is_told_as_that(
    tmp_path: Path, content: bytes, new_server: NewServer
) -> None:
    certificate = tmp_path / "cert.pem"
    certificate.write_bytes(content)
    config = ServerConfig(listen="127.0.0.1:0", tls_cert=str(certificate), tls_key=str(certificate))
    with pytest.raises(InvalidArgument) as refused:
        bind(new_server(), config)
    assert (refused.value.reason, refused.value.field) == ("BAD_CERTIFICATE", "server.tls_cert")


@pytest.mark.parametrize("missing", ["tls_cert", "tls_key"])
async def test_which_of_both_files_cannot_be_read_is_told(
    tmp_path: Path, missing: str, new_server: NewServer
) -> None:
    (tmp_path / "there").write_bytes(b"")
    there, absent = str(tmp_path / "there"), str(tmp_path / "absent")
    cert, key = (absent, there) if missing == "tls_cert" else (there, absent)
    with pytest.raises(InvalidArgument) as refused:
        bind(new_server(), ServerConfig(listen="127.0.0.1:0", tls_cert=cert, tls_key=key))
    assert refused.value.field == f"server.{missing}"
    assert refused.value.value == absent


def made_certificate(directory: Path, curve: str) -> ServerConfig:
    """A self-signed certificate on a curve, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("makes its certificate with the openssl command")
    command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:{curve} -nodes -days 1"
    command += " -subj /CN=localhost -keyout key.pem -out cert.pem"
    subprocess.run(command.split(), cwd=directory, check=True, capture_output=True)
    return ServerConfig(
        listen="127.0.0.1:0",
        tls_cert=str(directory / "cert.pem"),
        tls_key=str(directory / "key.pem"),
    )


@pytest.mark.parametrize("new_server", ["python"], indirect=True)
async def test_a_key_that_grpc_does_not_take_is_told_from_an_address_in_use(
    tmp_path: Path, new_server: NewServer
) -> None:
    config = made_certificate(tmp_path, "secp256k1")
    with socket.create_server(("127.0.0.1", 0)) as other:
        busy = f"127.0.0.1:{other.getsockname()[1]}"
        for listen in ("127.0.0.1:0", "localhost:0", "[::1]:0", f"unix:{tmp_path}/s"):
            config = ServerConfig(listen=listen, tls_cert=config.tls_cert, tls_key=config.tls_key)
            with pytest.raises(InvalidArgument) as refused:
                bind(new_server(), config)
            assert (refused.value.reason, refused.value.field) == (
                "BAD_CERTIFICATE",
                "server.tls_cert",
            )
        assert not (tmp_path / "s").exists()
        good = made_certificate(tmp_path, "prime256v1")
        bind(new_server(), good)
        good = ServerConfig(listen=busy, tls_cert=good.tls_cert, tls_key=good.tls_key)
        with pytest.raises(FailedPrecondition) as in_use:
            bind(new_server(), good)
    assert (in_use.value.reason, in_use.value.value) == ("ADDRESS_IN_USE", busy)


async def test_a_socket_that_cannot_be_made_says_why(tmp_path: Path, new_server: NewServer) -> None:
    (tmp_path / "file").write_text("kept")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    if os.geteuid() == 0:
        locked = Path("/sys")  # which does not let even root
    for path, reason in (
        (tmp_path / "none" / "s", "NO_DIRECTORY"),
        (tmp_path / "file" / "s", "NO_DIRECTORY"),
        (locked / "s", "NOT_WRITABLE"),
        (tmp_path / "file", "ADDRESS_IN_USE"),
    ):
        with pytest.raises(FailedPrecondition) as refused:
            bind(new_server(), ServerConfig(listen=f"unix:{path}"))
        assert (refused.value.reason, refused.value.field) == (reason, "server.listen")
        assert refused.value.value == f"unix:{path}"
    assert (tmp_path / "file").read_text() == "kept"


async def test_a_running_server_keeps_its_socket(tmp_path: Path, new_server: NewServer) -> None:
    config = ServerConfig(listen=f"unix:{tmp_path}/s")
    first = new_server()
    bind(first, config)
    await first.start()
    inode = (tmp_path / "s").stat().st_ino
    with pytest.raises(FailedPrecondition) as refused:
        bind(new_server(), config)
    assert refused.value.reason == "ADDRESS_IN_USE"
    assert (tmp_path / "s").stat().st_ino == inode
    await first.stop(0)
    bind(new_server(), config)


async def test_nobody_else_can_connect_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_server: NewServer
) -> None:
    """Looked at between the bind and the chmod, under a umask that leaves everything."""
    modes: list[int] = []

    class Between(type(tmp_path)):  # type: ignore[misc]  # the path of this system
        def chmod(self, mode: int, **options: bool) -> None:
            modes.append(stat.S_IMODE(self.stat().st_mode))
            super().chmod(mode, **options)

    monkeypatch.setattr(listener, "Path", Between)
    umask = os.umask(0)
    try:
        bind(new_server(), ServerConfig(listen=f"unix:{tmp_path}/s"))
        assert os.umask(0) == 0
    finally:
        os.umask(umask)
    assert [mode & 0o077 for mode in modes] == [0]
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600


async def test_what_a_bind_refuses_is_refused_before_anything_is_made(
    tmp_path: Path, new_server: NewServer
) -> None:
    (tmp_path / "file").write_text("kept")
    running = ServerConfig(listen=f"unix:{tmp_path}/running")
    server = new_server()
    bind(server, running)
    await server.start()
    with socket.create_server(("127.0.0.1", 0)) as other:
        busy = f"127.0.0.1:{other.getsockname()[1]}"
        for listen, reason in (
            (busy, "ADDRESS_IN_USE"),
            ("192.0.2.1:0", "ADDRESS_IN_USE"),  # of no machine (RFC 5737)
            (running.listen, "ADDRESS_IN_USE"),
            (f"unix:{tmp_path}/file", "ADDRESS_IN_USE"),
            (f"unix:{tmp_path}/none/s", "NO_DIRECTORY"),
        ):
            with pytest.raises(FailedPrecondition) as refused:
                check_bindable(ServerConfig(listen=listen))
            assert (refused.value.reason, refused.value.value) == (reason, listen)
    absent = str(tmp_path / "absent.pem")
    with pytest.raises(InvalidArgument, match="BAD_CERTIFICATE"):
        check_bindable(ServerConfig(listen="127.0.0.1:0", tls_cert=absent, tls_key=absent))
    before = sorted(tmp_path.iterdir())
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(tmp_path / "left"))
    for listen in ("127.0.0.1:0", "localhost:0", f"unix:{tmp_path}/s", f"unix:{tmp_path}/left"):
        check_bindable(ServerConfig(listen=listen))
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "left"])
