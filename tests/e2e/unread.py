"""A peer that reads nothing."""

from __future__ import annotations

import socket
import struct

from google.protobuf.message import Message


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
