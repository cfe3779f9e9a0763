"""A connection without calls is left by the client, before the server does and loses a call that is on its way."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from memdb.config import ServerConfig
from memdb_client import _acompat, _compat, _options
from tests.unit.client.conftest import Connect
from tests.unit.client.peer import Peer


class Relay:
    """Leads one connection on, and tells when the client has left it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.left = threading.Event()
        self._thread = threading.Thread(target=self._lead)
        self._thread.start()

    def _lead(self) -> None:
        client, _ = self._listener.accept()
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            back = threading.Thread(target=self._copy, args=(server, client))
            back.start()
            self._copy(client, server)
            self.left.set()
            server.shutdown(socket.SHUT_RDWR)
            back.join()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                target.sendall(data)
        except OSError:
            return  # the other end was closed

    def close(self) -> None:
        self._thread.join()
        self._listener.close()


def test_the_client_leaves_it(
    peer: Peer, connect_to: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorter = tuple(
        (name, 1000 if name == "grpc.client_idle_timeout_ms" else value)
        for name, value in _options.CHANNEL_OPTIONS
    )
    for module in (_compat, _acompat):
        monkeypatch.setattr(module, "CHANNEL_OPTIONS", shorter)
    relay = Relay(peer.port)
    with connect_to(relay.address, timeout_s=5.0) as db:
        # From before the call: gRPC counts from its end, which may be told late.
        called_s = time.monotonic()
        db.user("alice").put("diet", 1)
        assert relay.left.wait(30)
        assert time.monotonic() - called_s > 0.5
    relay.close()


def test_it_does_so_before_the_server() -> None:
    assert ServerConfig(listen="127.0.0.1:0").connection_idle_ms > 2 * _options.IDLE_MS
