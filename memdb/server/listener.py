"""Where the server listens, and the options of its connections."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import ssl
from pathlib import Path
from typing import Final

from memdb.config import ServerConfig
from memdb.errors import FailedPrecondition, InvalidArgument
from memdb.server.edge import Certificate, Edge, Option

UNIX_PREFIX: Final = "unix:"
UNIX_PATH_BYTES_MAX: Final = 107
"""What Linux takes as the name of a socket."""
_TAKEN: Final = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES)
UNCOMPRESSED: Final = 1 << 0
"""``grpc.Compression.NoCompression`` alone."""
OTHERS_MAY_NOTHING: Final = 0o077
"""The umask of a bind: whoever may connect may read everything."""


def channel_options(config: ServerConfig) -> list[Option]:
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
        # No compressed messages: 16 kB of zeros would be 16 MB, which gRPC unpacks before anybody counts it, and
        # what vectors, pictures and coded tensors are made of does not get smaller.
        ("grpc.compression_enabled_algorithms_bitset", UNCOMPRESSED),
        # Two servers on one port would silently share its calls.
        ("grpc.so_reuseport", 0),
    ]


def check_listen(config: ServerConfig) -> None:
    """Refuse an address that cannot be or must not be listened on.

    Raises `InvalidArgument`: ``BAD_ADDRESS``, and ``TLS_REQUIRED`` for an address that other
    machines reach while no certificate is configured.
    """
    if config.listen.startswith(UNIX_PREFIX):
        path = config.listen.removeprefix(UNIX_PREFIX)
        # Abstract sockets (unix:@name) have no file permissions.
        if not Path(path).name or "@" in path or "\0" in path:
            raise _bad_address(config.listen)
        if len(os.fsencode(path)) > UNIX_PATH_BYTES_MAX:
            raise _bad_address(
                config.listen, f"the path of a socket has at most {UNIX_PATH_BYTES_MAX} bytes"
            )
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


def check_bindable(config: ServerConfig, *, may_be_taken: bool = False) -> None:
    """Refuse, before anything is made, what `bind` would refuse now: as it raises.

    A data directory that is not there yet is made when it is opened, which comes before the bind.

    may_be_taken: whether another server may have the address, which will be gone.
    """
    if config.tls_cert:
        _certificate(config)
    if may_be_taken:
        # Not bound for a look: another one may be about to take it.
        if config.listen.startswith(UNIX_PREFIX):
            path = Path(config.listen.removeprefix(UNIX_PREFIX))
            if path.exists() and not path.is_socket():
                raise _refusal(config, OSError(errno.EADDRINUSE, ""))
        return
    if config.listen.startswith(UNIX_PREFIX):
        path = Path(config.listen.removeprefix(UNIX_PREFIX))
        _check_nobody_answers(path, config.listen)
        # A socket that a server left behind is taken over.
        error = None if path.is_socket() else _unix_error(config.listen)
    else:
        error = _tcp_error(config.listen)
    # Of what else there is gRPC may think otherwise.
    if error is not None and (error.errno in _TAKEN or config.listen.startswith(UNIX_PREFIX)):
        raise _refusal(config, error)


def bind(edge: Edge, config: ServerConfig) -> str:
    """Bind the configured address; returns it with the port that was taken.

    Raises `FailedPrecondition` (``ADDRESS_IN_USE``; of a unix socket ``NO_DIRECTORY`` and
    ``NOT_WRITABLE``), `InvalidArgument` (``BAD_CERTIFICATE``).
    """
    certificate = _certificate(config) if config.tls_cert else None
    path = None
    if config.listen.startswith(UNIX_PREFIX):
        path = Path(config.listen.removeprefix(UNIX_PREFIX))
        _check_nobody_answers(path, config.listen)
    # Of the whole process, for a moment; what another thread makes meanwhile is only the more private.
    # A chmod afterwards would leave a moment in which anybody connects.
    umask = os.umask(OTHERS_MAY_NOTHING)
    try:
        port = edge.bind(config.listen, certificate)
    except RuntimeError as error:
        raise _why(config) from error
    finally:
        os.umask(umask)
    if path is not None:
        path.chmod(0o600)
        return config.listen
    return f"{config.listen.rpartition(':')[0]}:{port}"


def _check_nobody_answers(path: Path, listen: str) -> None:
    """Refuse a socket that a server listens at: gRPC would take its name away from it."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except TimeoutError:
            pass  # it listens, and has more callers than it takes
        except OSError:
            return  # nothing there, or what a server that was killed left behind
    raise FailedPrecondition(
        "another server is running there",
        reason="ADDRESS_IN_USE",
        field="server.listen",
        value=listen,
    )


def _why(config: ServerConfig) -> Exception:
    """Why gRPC, which does not say it, could not bind: found by binding as it does."""
    listen = config.listen
    error = _unix_error(listen) if listen.startswith(UNIX_PREFIX) else _tcp_error(listen)
    return _refusal(config, error)


def _refusal(config: ServerConfig, error: OSError | None) -> Exception:
    """What to raise where the system says that to a bind, or nothing."""
    listen = config.listen
    if error is None and config.tls_cert:
        # The address is free: so it is what it would be served with.
        return _bad_certificate(config, "gRPC does not take this certificate and key")
    reason, why = (
        "ADDRESS_IN_USE",
        "the address cannot be bound: another server is running there, or it is none of this "
        "machine's",
    )
    if error is not None and listen.startswith(UNIX_PREFIX):
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            reason, why = "NO_DIRECTORY", "the directory of the socket is not there"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            reason = "NOT_WRITABLE"
            why = f"the directory of the socket cannot be written to: {error.strerror}"
        elif error.errno == errno.EADDRINUSE:
            why = "something that is not a socket has the name"
    return FailedPrecondition(why, reason=reason, field="server.listen", value=listen)


def _unix_error(listen: str) -> OSError | None:
    """What the system says to binding a unix socket there, None when it lets it."""
    path = listen.removeprefix(UNIX_PREFIX)
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(path)
        except OSError as error:
            return error
    Path(path).unlink(missing_ok=True)
    return None


def _tcp_error(listen: str) -> OSError | None:
    """What the system says to binding the last of the host's addresses, None when it lets any."""
    host, _, port = listen.rpartition(":")
    name = host.removeprefix("[").removesuffix("]")
    refused: OSError | None = None
    try:
        for family, kind, _, _, address in socket.getaddrinfo(
            name, int(port), type=socket.SOCK_STREAM
        ):
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(address)
                    probe.listen(1)
                except OSError as error:
                    refused = error
                else:
                    return None
    except OSError as error:  # the host has no address, or not of a kind that this machine has
        return error
    return refused


def _certificate(config: ServerConfig) -> Certificate:
    chain = _pem(config.tls_cert, "server.tls_cert")
    key = _pem(config.tls_key, "server.tls_key")
    try:
        # gRPC says of a bad one only that it cannot bind.  No password is asked for at a terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            config.tls_cert, config.tls_key, password=""
        )
    except (OSError, ValueError) as error:
        raise _bad_certificate(config, "the certificate and its key cannot be used") from error
    return Certificate(key, chain)


def _pem(file: str, field: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise InvalidArgument(
            f"cannot be read: {error.strerror}", reason="BAD_CERTIFICATE", field=field, value=file
        ) from error


def _bad_certificate(config: ServerConfig, why: str) -> InvalidArgument:
    return InvalidArgument(
        why, reason="BAD_CERTIFICATE", field="server.tls_cert", value=config.tls_cert
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def _bad_address(listen: str, why: str = "an address is HOST:PORT or unix:PATH") -> InvalidArgument:
    return InvalidArgument(why, reason="BAD_ADDRESS", field="server.listen", value=listen)
