"""Which addresses a server may listen on."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from memdb.config import ServerConfig
from memdb.errors import InvalidArgument
from memdb.server.listener import bind, channel_options, check_listen


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
async def test_what_is_no_certificate_is_told_as_that(tmp_path: Path, content: bytes) -> None:
    certificate = tmp_path / "cert.pem"
    certificate.write_bytes(content)
    config = ServerConfig(listen="127.0.0.1:0", tls_cert=str(certificate), tls_key=str(certificate))
    with pytest.raises(InvalidArgument) as refused:
        bind(grpc.aio.server(), config)
    assert (refused.value.reason, refused.value.field) == ("BAD_CERTIFICATE", "server.tls_cert")
