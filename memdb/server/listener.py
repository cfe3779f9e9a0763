"""Where the server listens, and the options of its connections."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Any, Final

import grpc

from memdb.config import ServerConfig
from memdb.errors import FailedPrecondition, InvalidArgument

UNIX_PREFIX: Final = "unix:"


def channel_options(config: ServerConfig) -> list[tuple[str, Any]]:
    """Options that keep silent, slow and abusive peers from holding the server's resources."""
    return [
        ("grpc.max_receive_message_length", config.message_bytes_max),
        ("grpc.max_send_message_length", config.message_bytes_max),
        ("grpc.max_metadata_size", config.metadata_bytes_max),
        ("grpc.max_concurrent_streams", config.connection_streams_max),
        ("grpc.server_handshake_timeout_ms", config.handshake_timeout_ms),
        ("grpc.max_connection_idle_ms", config.connection_idle_ms),
        ("grpc.keepalive_time_ms", config.keepalive_time_ms),
        ("grpc.keepalive_timeout_ms", config.keepalive_timeout_ms),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", config.ping_interval_ms_min),
        # Two servers on one port would silently share its calls.
        ("grpc.so_reuseport", 0),
    ]


def check_listen(config: ServerConfig) -> None:
    """Refuse an address that cannot be or must not be listened on.

    Raises `InvalidArgument`: ``BAD_ADDRESS``, and ``TLS_REQUIRED`` for an address that other
    machines reach while no certificate is configured.
    """
    if config.listen.startswith(UNIX_PREFIX):
        # Abstract sockets (unix:@name) have no file permissions.
        if not Path(config.listen.removeprefix(UNIX_PREFIX)).name or "@" in config.listen:
            raise _bad_address(config.listen)
        return
    host, colon, port = config.listen.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise _bad_address(config.listen)
    if not config.tls_cert and not _is_loopback(host):
        raise InvalidArgument(
            "this address is reachable from other machines: give --tls-cert and --tls-key, or "
            "listen on 127.0.0.1",
            reason="TLS_REQUIRED",
            field="server.listen",
            value=config.listen,
        )


def bind(server: grpc.aio.Server, config: ServerConfig) -> str:
    """Bind the configured address; returns it with the port that was taken.

    Raises `FailedPrecondition` (``ADDRESS_IN_USE``), `InvalidArgument` (``BAD_CERTIFICATE``).
    """
    try:
        if config.tls_cert:
            port = server.add_secure_port(config.listen, _credentials(config))
        else:
            port = server.add_insecure_port(config.listen)
    except RuntimeError as error:
        raise FailedPrecondition(
            "the address cannot be bound: another server is running there, or it is none of this "
            "machine's",
            reason="ADDRESS_IN_USE",
            field="server.listen",
            value=config.listen,
        ) from error
    if config.listen.startswith(UNIX_PREFIX):
        # Whoever may connect may read everything: the owner alone.
        Path(config.listen.removeprefix(UNIX_PREFIX)).chmod(0o600)
        return config.listen
    return f"{config.listen.rpartition(':')[0]}:{port}"


def _credentials(config: ServerConfig) -> grpc.ServerCredentials:
    try:
        key = Path(config.tls_key).read_bytes()
        certificate = Path(config.tls_cert).read_bytes()
    except OSError as error:
        raise InvalidArgument(
            f"cannot be read: {error.strerror}",
            reason="BAD_CERTIFICATE",
            field="server.tls_cert",
            value=str(error.filename),
        ) from error
    try:
        # gRPC says of a bad one only that it cannot bind.  No password is asked for at a terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            config.tls_cert, config.tls_key, password=""
        )
    except (OSError, ValueError) as error:
        raise InvalidArgument(
            "the certificate and its key cannot be used",
            reason="BAD_CERTIFICATE",
            field="server.tls_cert",
            value=config.tls_cert,
        ) from error
    return grpc.ssl_server_credentials([(key, certificate)])


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def _bad_address(listen: str) -> InvalidArgument:
    return InvalidArgument(
        "an address is HOST:PORT or unix:PATH",
        reason="BAD_ADDRESS",
        field="server.listen",
        value=listen,
    )
